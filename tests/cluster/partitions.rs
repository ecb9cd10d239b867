//! Networks that lose packets: those who are the most go on, the others
//! acknowledge nothing, and all of them agree afterwards.

use testkit::{
    Client,
    cluster::{Cluster, SILENCE},
    eventually,
    network::Network,
    within,
    workload::{Workload, number},
};

use crate::{ROUNDS, SOME};

#[test]
fn an_isolated_leader_acknowledges_nothing() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let id = cluster.client(0).append(number(0));
        (0..3).for_each(|node| cluster.catches_up(node));
        let leader = cluster.leader();
        network.isolate(leader);
        eventually("another one leads", || cluster.leader() != leader);
        cluster.client(cluster.leader()).append(number(1));

        let written = tried(&cluster, leader, "POST", "/changes", &number(2));
        assert!(matches!(written, None | Some(503 | 504)), "{written:?}");
        let target = format!("/changes?since={id}&consistency=strong");
        let read = tried(&cluster, leader, "GET", &target, "");
        assert!(matches!(read, None | Some(503)), "{read:?}");
        // What it has it still serves.
        assert_eq!(cluster.client(leader).list("?since=0&limit=1")["last"], 1);
        within(SILENCE, "it says that it is not ready", || {
            cluster.client(leader).get("/ready").status == 503
        });

        network.heal();
        cluster.catches_up(leader);
        let list = cluster.agree();
        assert!((2..=3).contains(&list.len()), "{list:?}");
    });
}

/// The status that a node answers with, where it does in time.
fn tried(cluster: &Cluster, node: usize, method: &str, target: &str, body: &str) -> Option<u16> {
    let mut client = Client::try_connect(cluster.address(node), SILENCE)?;
    let answer = client.try_request(method, target, &[], body.as_bytes())?;
    Some(answer.status)
}

#[test]
fn isolated_leaders_lose_nothing() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let workload = Workload::start(&cluster);
        for _ in 0..ROUNDS {
            workload.goes_on(SOME);
            let leader = cluster.leader();
            network.isolate(leader);
            eventually("another one leads", || cluster.leader() != leader);
            workload.goes_on(SOME);
            network.heal();
            cluster.catches_up(leader);
        }
        workload.ends(&cluster);
    });
}

#[test]
fn an_isolated_follower_comes_back() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let workload = Workload::start(&cluster);
        for round in 0..ROUNDS {
            workload.goes_on(SOME);
            let follower = cluster.followers()[round % 2];
            network.isolate(follower);
            workload.goes_on(SOME);
            network.heal();
            cluster.catches_up(follower);
            workload.goes_on(SOME);
        }
        workload.ends(&cluster);
    });
}

#[test]
fn packets_lost_one_way_lose_nothing() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let workload = Workload::start(&cluster);
        workload.goes_on(SOME);

        // A follower that does not hear the leader.
        network.cut(cluster.leader(), cluster.followers()[0]);
        workload.goes_on(SOME);
        network.heal();
        workload.goes_on(SOME);

        // A follower that the leader does not hear.
        network.cut(cluster.followers()[0], cluster.leader());
        workload.goes_on(SOME);
        network.heal();
        workload.goes_on(SOME);

        // A leader that nobody hears.
        let leader = cluster.leader();
        cluster.followers().into_iter().for_each(|follower| network.cut(leader, follower));
        workload.goes_on(SOME);
        network.heal();
        workload.goes_on(SOME);

        // A leader that hears nobody.
        let leader = cluster.leader();
        cluster.followers().into_iter().for_each(|follower| network.cut(follower, leader));
        workload.goes_on(SOME);
        network.heal();
        (0..3).for_each(|node| cluster.catches_up(node));
        workload.ends(&cluster);
    });
}

#[test]
fn the_greater_part_goes_on_without_the_leader() {
    Network::with(5, |network| {
        let cluster = Cluster::inside(network, 5);
        let workload = Workload::start(&cluster);
        for round in 0..ROUNDS {
            workload.goes_on(SOME);
            let leader = cluster.leader();
            let smaller = [leader, cluster.followers()[round % 4]];
            network.split(&smaller);
            eventually("one of the greater part leads", || !smaller.contains(&cluster.leader()));
            workload.goes_on(SOME);
            network.heal();
            smaller.into_iter().for_each(|node| cluster.catches_up(node));
        }
        workload.ends(&cluster);
    });
}

#[test]
fn a_node_killed_in_a_split_comes_back() {
    Network::with(3, |network| {
        let mut cluster = Cluster::inside(network, 3);
        let workload = Workload::start(&cluster);
        workload.goes_on(SOME);
        let leader = cluster.leader();
        network.isolate(leader);
        eventually("another one leads", || cluster.leader() != leader);
        cluster.kill(leader);
        workload.goes_on(SOME);
        cluster.restart(leader);
        network.heal();
        cluster.catches_up(leader);
        workload.ends(&cluster);
    });
}
