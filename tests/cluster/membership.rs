//! Clusters that grow and shrink.

use std::{fs, process::Command};

use serde_json::{Value, json};

use testkit::{
    NodeBuilder,
    cluster::Cluster,
    eventually, temporary,
    workload::{Workload, number},
};

use crate::SOME;

#[test]
fn a_cluster_grows_and_shrinks_under_load() {
    let mut cluster = Cluster::start(1);
    let mut workload = Workload::start(&cluster);
    for step in 0..4 {
        workload.goes_on(SOME);
        let node = if step < 2 { cluster.grow("voter") } else { cluster.take_in("voter") };
        workload.comes(cluster.address(node));
        cluster.catches_up(node);
        cluster.waits_for(step + 2, 0);
    }
    // The leader goes, then one that follows, and so on.
    for step in 0..4 {
        workload.goes_on(SOME);
        let node = if step % 2 == 0 { cluster.leader() } else { cluster.followers()[0] };
        cluster.remove(node);
        cluster.waits_for(4 - step, 0);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_cluster_that_shrank_to_one_needs_no_other() {
    let mut cluster = Cluster::start(2);
    let follower = cluster.followers()[0];
    cluster.remove(follower);
    let left = cluster.leader();
    cluster.client(left).append(number(0));
    cluster.kill(left);
    cluster.restart(left);
    cluster.leader();
    cluster.client(left).append(number(1));
    assert_eq!(cluster.agree().len(), 2);
}

/// How a node stands in the list of members.
fn entry(cluster: &Cluster, number: usize) -> Value {
    let target = format!("/cluster/members/{}", cluster.id(number));
    cluster.client(cluster.leader()).page(&target)
}

#[test]
fn a_learner_serves_reads_and_hands_writes_on() {
    let mut cluster = Cluster::start(1);
    cluster.client(0).append(number(0));
    let learner = cluster.grow("learner");
    cluster.waits_for(1, 1);
    assert_eq!(entry(&cluster, learner)["role"], "learner");
    assert_eq!(cluster.view(learner).unwrap()["state"], "learner");
    let mut client = cluster.client(learner);
    let id = client.append(number(1));
    assert_eq!(client.page(&format!("/changes/{id}"))["data"]["number"], 1);
    assert_eq!(client.page("/changes?consistency=strong")["last"], id);
    let id = cluster.client(0).append(number(2));
    assert_eq!(client.list(&format!("?since={}&min_id={id}", id - 1))["last"], id);
    assert_eq!(cluster.agree().len(), 3);

    // The voter does not need it.
    cluster.kill(learner);
    cluster.client(0).append(number(3));
    cluster.restart(learner);
    cluster.catches_up(learner);

    // Alone it takes nothing, but serves.
    cluster.kill(0);
    let mut client = cluster.client(learner);
    eventually("the write is refused", || client.post(number(4)).status == 503);
    assert_eq!(client.list("")["last"], 4);
    cluster.restart(0);
    cluster.waits_for(1, 1);
    let list = cluster.agree();
    assert!((4..=5).contains(&list.len()), "{list:?}");
}

#[test]
fn a_learner_becomes_a_voter_and_back() {
    let mut cluster = Cluster::start(1);
    let workload = Workload::start(&cluster);
    let node = cluster.grow("learner");
    let target = format!("/cluster/members/{}", cluster.id(node));
    for role in ["voter", "learner", "voter"] {
        workload.goes_on(SOME);
        cluster.orders("PATCH", &target, &json!({"role": role}));
        eventually("the role is changed", || entry(&cluster, node)["role"] == role);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_wiped_node_does_not_come_back_as_the_one_it_was() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    workload.goes_on(SOME);
    let node = cluster.followers()[0];
    let (id, address) = (cluster.id(node), cluster.address(node));
    let door = cluster.address(cluster.leader()).to_string();
    let data = cluster.node(node).data();
    cluster.kill(node);
    fs::remove_dir_all(data).unwrap();
    // Under the ports of the old one, which is taken out.
    let builder = cluster.leave(node).flags(&["--join", &door]);
    cluster.orders("DELETE", &format!("/cluster/members/{id}"), &Value::Null);
    let node = cluster.comes(builder);
    assert_eq!(cluster.address(node), address);
    assert_ne!(cluster.id(node), id);
    cluster.waits_for(3, 0);
    workload.goes_on(SOME);
    cluster.catches_up(node);
    workload.ends(&cluster);
}

#[test]
fn a_node_that_forgot_everything_does_not_vote() {
    let mut cluster = Cluster::start(3);
    cluster.client(0).append(number(0));
    let (leader, followers) = (cluster.leader(), cluster.followers());
    let data = cluster.node(followers[0]).data();
    cluster.kill(followers[0]);
    fs::remove_dir_all(data).unwrap();
    // Two that forgot would be a quorum without the change.
    let other = cluster.node(followers[1]).data();
    cluster.kill(followers[1]);
    fs::remove_dir_all(other).unwrap();
    cluster.kill(leader);
    let wiped = followers.iter().map(|&node| cluster.leave(node).launch()).collect::<Vec<_>>();
    cluster.restart(leader);
    // It asks them for their votes, again and again, while it holds the write.
    cluster.client(leader).post(number(1)).problem(503, "no-leader");
    let view = cluster.view(leader).unwrap();
    assert_ne!(view["state"], "leader", "{view}");
    drop(wiped);
}

#[test]
fn a_second_process_is_refused() {
    let cluster = Cluster::start(2);
    cluster.client(0).append(number(0));
    for node in 0..2 {
        let directory = temporary();
        let data = cluster.node(node).data();
        let second = NodeBuilder::bare(&directory, &data)
            .flags(&["--cluster-listen", "127.0.0.1:0"])
            .fails();
        second.says(&["in use", data.to_str().unwrap()]);
    }
    assert_eq!(cluster.agree().len(), 1);
}

#[test]
fn a_node_with_changes_is_not_taken_in() {
    let cluster = Cluster::start(1);
    cluster.client(0).append(number(0));
    let other = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]).start();
    other.client().append(number(1));
    let body = json!({"address": other.address().to_string(), "role": "voter"}).to_string();
    let answer = cluster.client(0).json("POST", "/cluster/members", body);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    other.holds(1);
    cluster.waits_for(1, 0);
    cluster.client(0).append(number(2));
}

#[test]
fn a_cluster_that_is_not_there_is_not_joined() {
    let mut cluster = Cluster::start(1);
    let missing =
        NodeBuilder::new().flags(&["--join", "127.0.0.1:1", "--cluster-listen", "127.0.0.1:0"]);
    let node = missing.start();
    assert_eq!(node.client().get("/health").status, 200);
    let waits = node.client().post(number(0));
    assert_eq!(waits.status, 503, "{waits:?}");
    // Others are not disturbed.
    let next = cluster.grow("voter");
    cluster.waits_for(2, 0);
    cluster.client(next).append(number(1));
    assert_eq!(cluster.agree().len(), 1);
}

#[test]
fn a_learner_that_moves_while_leadership_does_is_found() {
    let mut cluster = Cluster::start(2);
    let learner = cluster.grow("learner");
    cluster.waits_for(2, 1);
    cluster.kill(learner);
    let next = cluster.followers()[0];
    cluster.orders("POST", "/cluster/leader", &json!({"id": cluster.id(next)}));
    cluster.client(next).append(number(0));
    let elsewhere = ["--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"];
    let builder = cluster.leave(learner).flags(&elsewhere);
    let moved = cluster.comes(builder);
    assert_eq!(cluster.id(moved), cluster.id(learner));
    cluster.catches_up(moved);
    cluster.waits_for(2, 1);
}

#[test]
fn a_member_that_is_not_reached_is_listed_as_that() {
    let mut cluster = Cluster::start(3);
    cluster.client(0).append(number(0));
    cluster.agree();
    let leader = cluster.leader();
    let [gone, other] = cluster.followers()[..] else { panic!("two followers") };
    let states = |cluster: &Cluster, node: usize| {
        let view = cluster.view(node).unwrap_or_default();
        let state_of = |member: usize| {
            let id = cluster.id(member);
            let mut members = view["members"].as_array().into_iter().flatten();
            let member = members.find(|member| member["id"] == id);
            member.and_then(|member| member["state"].as_str()).unwrap_or("missing").to_owned()
        };
        [leader, gone, other].map(state_of)
    };
    eventually("all are well", || states(&cluster, leader) == ["leader", "follower", "follower"]);

    cluster.pause(gone);
    // Nothing is written meanwhile.
    eventually("one is not reached", || {
        states(&cluster, leader) == ["leader", "unreachable", "follower"]
    });
    eventually("a follower shows what the leader knows", || {
        states(&cluster, other) == ["leader", "unreachable", "follower"]
    });
    let members = |target: &str| cluster.client(other).page(target)["members"].clone();
    let of = |members: &Value, id: u64| {
        let mut all = members.as_array().unwrap().iter();
        all.find(|member| member["id"] == id).expect("the member").clone()
    };
    let own = members("/cluster?view=local");
    assert_eq!(of(&own, cluster.id(gone))["state"], "unknown");
    assert_eq!(of(&own, cluster.id(gone))["reachable"], Value::Null);
    let led = members("/cluster/members");
    assert_eq!(of(&led, cluster.id(gone))["reachable"], false);
    assert!(of(&led, cluster.id(gone))["last_heard_ms"].as_u64().unwrap() >= 1200, "{led}");
    assert_eq!(of(&led, cluster.id(leader))["reachable"], true);
    let metrics = cluster.client(leader).get("/metrics");
    for (node, up) in [(gone, 0), (other, 1)] {
        let line = format!("changeagent_raft_peer_up{{member=\"{}\"}} {up}", cluster.id(node));
        assert!(metrics.text().contains(&line), "{line}");
    }
    cluster.client(leader).get("/cluster?view=mine").problem(400, "invalid-parameter");
    let url = format!("http://{}", cluster.address(leader));
    let list = Command::new(testkit::executable())
        .args(["members", "list", "--url", &url])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let id = cluster.id(gone).to_string();
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(&*id));
    assert!(line.is_some_and(|line| line.contains("unreachable")), "{list}");

    cluster.resume(gone);
    eventually("it is reached again", || {
        states(&cluster, leader) == ["leader", "follower", "follower"]
    });
}
