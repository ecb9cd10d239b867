//! Processes that die or stand still under load from every node: every write that
//! was acknowledged is there once, and all nodes hold the same list.

use serde_json::json;

use testkit::{
    cluster::Cluster,
    eventually,
    workload::{Workload, number},
};

use crate::{ROUNDS, SOME, leader_dies_and_returns};

#[test]
fn nodes_grow_to_one_list() {
    let cluster = Cluster::start(3);
    for n in 0..30 {
        cluster.client(n as usize % 3).append(number(n));
    }
    assert_eq!(cluster.agree().len(), 30);
}

#[test]
fn an_answer_comes_when_the_write_is_applied_on_its_node() {
    let cluster = Cluster::start(3);
    for node in 0..3 {
        let mut client = cluster.client(node);
        for n in 0..20 {
            let id = client.append(number(n));
            let change = client.page(&format!("/changes/{id}"));
            assert_eq!(change["data"], json!({"number": n}));
        }
    }
}

#[test]
fn a_node_waits_for_what_another_one_took() {
    let cluster = Cluster::start(3);
    for n in 0..20 {
        let id = cluster.client(n as usize % 3).append(number(n));
        for node in 0..3 {
            let query = format!("?since={}&min_id={id}", id - 1);
            let list = cluster.client(node).list(&query);
            assert_eq!(list["changes"][0]["data"]["number"], n, "{list}");
            let target = format!("/changes?since={}&consistency=strong", id - 1);
            assert_eq!(cluster.client(node).page(&target)["changes"][0]["data"]["number"], n);
        }
    }
}

#[test]
fn a_killed_leader_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for _ in 0..ROUNDS {
        leader_dies_and_returns(&mut cluster, &workload);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_killed_follower_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for round in 0..ROUNDS {
        workload.goes_on(SOME);
        let follower = cluster.followers()[round % 2];
        cluster.kill(follower);
        workload.goes_on(SOME);
        cluster.restart(follower);
        cluster.catches_up(follower);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_leader_that_was_paused_follows() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.pause(leader);
        let next = cluster.leader();
        assert_ne!(next, leader);
        workload.goes_on(SOME);
        cluster.resume(leader);
        eventually("it knows of a leader of a later term", || {
            cluster.view(leader).is_some_and(|view| view["term"].as_u64() >= term(&cluster))
        });
        cluster.catches_up(leader);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

/// The term of the leader.
fn term(cluster: &Cluster) -> Option<u64> {
    cluster.view(cluster.leader())?["term"].as_u64()
}

#[test]
fn nodes_killed_in_turn_lose_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for _ in 0..ROUNDS {
        for node in 0..3 {
            workload.goes_on(SOME);
            cluster.kill(node);
            cluster.restart(node);
            cluster.catches_up(node);
        }
    }
    workload.ends(&cluster);
}

#[test]
fn nodes_killed_at_once_lose_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        (0..3).for_each(|node| cluster.kill(node));
        (0..3).for_each(|node| cluster.restart(node));
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_restarted_node_shows_nothing_older_than_before() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    let mut seen = [0; 3];
    for round in 0..6 * ROUNDS {
        workload.goes_on(SOME / 2);
        let node = round % 3;
        for _ in 0..20 {
            let list = cluster.client(node).list("?since=now");
            seen[node] = list["last"].as_u64().unwrap().max(seen[node]);
        }
        cluster.kill(node);
        cluster.restart(node);
        // From its first answer on, and not only once it has caught up.
        eventually("the node serves", || {
            let answer = cluster.client(node).get("/changes?since=now");
            let last = (answer.status == 200).then(|| answer.json()["last"].as_u64().unwrap());
            assert!(last.is_none_or(|last| last >= seen[node]), "{last:?} after {}", seen[node]);
            last.is_some()
        });
    }
    workload.ends(&cluster);
}

#[test]
fn a_follower_that_stands_still_costs_the_leader_bounded_memory() {
    const WRITTEN_MIB: usize = 160;
    let mut cluster = Cluster::start(3);
    let follower = cluster.followers()[0];
    let leader = cluster.leader();
    let mut client = cluster.client(leader);
    let batch = vec![json!({ "data": "x".repeat(10_000) }); 100];
    let batch = serde_json::Value::from(batch).to_string();
    let mut write = |mib: usize| {
        for _ in 0..mib {
            assert_eq!(client.json("POST", "/changes", &batch).status, 201);
        }
    };
    write(16);
    cluster.pause(follower);
    let before = cluster.node(leader).memory();
    write(WRITTEN_MIB);
    let grown = cluster.node(leader).memory().saturating_sub(before) >> 20;
    // The window of what is under way to it, and what the kernel does not take.
    assert!(grown < WRITTEN_MIB / 3, "{grown} MiB more than before");
    cluster.resume(follower);
    cluster.catches_up(follower);
}
