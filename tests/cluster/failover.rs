//! Leadership that moves: by an orderly stop, by order, and by death.

use std::time::{Duration, Instant};

use serde_json::json;

use testkit::{
    cluster::Cluster,
    eventually,
    workload::{Workload, number},
};

use crate::SOME;

/// How long a stop may take, and how long the others may be without a leader.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_rolling_restart_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for node in 0..3 {
        workload.goes_on(SOME);
        cluster.stop(node);
        workload.goes_on(SOME);
        cluster.restart(node);
        cluster.catches_up(node);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_leader_that_is_stopped_hands_over() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    cluster.client(leader).append(number(0));
    let start = Instant::now();
    cluster.stop(leader);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_ne!(cluster.leader(), leader);
    cluster.client(cluster.leader()).append(number(1));
    assert!(start.elapsed() < 2 * SOON, "{:?}", start.elapsed());
    cluster.restart(leader);
    assert_eq!(cluster.agree().len(), 2);
}

#[test]
fn leadership_is_handed_to_the_node_that_is_named() {
    let cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    for node in [0, 1, 2, 2] {
        workload.goes_on(SOME);
        let id = cluster.id(node);
        // It may be refused while the node is behind, or be overtaken by an election.
        eventually("the node leads", || {
            cluster.orders("POST", "/cluster/leader", &json!({"id": id}));
            cluster.leader() == node
        });
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn only_a_voter_is_made_leader() {
    let mut cluster = Cluster::start(1);
    let learner = cluster.grow("learner");
    for id in [cluster.id(learner), 4711] {
        let mut client = cluster.client(0);
        let answer = client.json("POST", "/cluster/leader", json!({"id": id}).to_string());
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(cluster.leader(), 0);
}

#[test]
fn a_repeated_write_is_answered_alike_after_a_fail_over() {
    let mut cluster = Cluster::start(3);
    let headers = [("Idempotency-Key", "once")];
    let body = number(0);
    let mut client = cluster.client(0);
    let first = client.json_with("POST", "/changes", &headers, &body).id();
    client.append(number(1));
    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.leader();
    for node in cluster.running() {
        let mut client = cluster.client(node);
        let repeated = client.json_with("POST", "/changes", &headers, &body);
        assert_eq!((repeated.status, repeated.id()), (201, first));
        let other = client.json_with("POST", "/changes", &headers, number(2));
        other.problem(422, "idempotency-mismatch");
    }
    cluster.restart(leader);
    cluster.catches_up(leader);
    let repeated = cluster.client(leader).json_with("POST", "/changes", &headers, &body);
    assert_eq!((repeated.status, repeated.id()), (201, first));
    assert_eq!(cluster.agree().len(), 2);
}
