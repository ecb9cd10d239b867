//! `changeagent drain`: a node hands leadership over, and says when it may stop.

use testkit::{Ended, cluster::Cluster, eventually, run, workload::number};

/// Runs it on a node.
fn drain(cluster: &Cluster, node: usize, timeout: &str) -> Ended {
    let url = cluster.node(node).url();
    run(&url, &["drain", "--timeout", timeout])
}

#[test]
fn a_leader_hands_over_and_may_stop_once_the_others_are_a_quorum() {
    let mut cluster = Cluster::start(3);
    cluster.client(0).append(number(0));
    let leader = cluster.leader();
    let said = drain(&cluster, leader, "20s").ok();
    assert!(
        said.starts_with(&format!("member {} may stop: member ", cluster.id(leader))),
        "{said}"
    );
    let next = cluster.leader();
    assert_ne!(next, leader);
    // A follower that may stop says so at once, and is no other than before.
    drain(&cluster, leader, "20s").ok();
    assert_eq!(cluster.leader(), next);
    cluster.stop(leader);
    cluster.client(next).append(number(1));
    eventually("the leader knows", || {
        let view = cluster.view(next).unwrap_or_default();
        let mut members = view["members"].as_array().into_iter().flatten();
        members.any(|member| member["reachable"] == false)
    });

    let ended = drain(&cluster, next, "3s");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let missing = "1 of the 2 other voters answer the leader";
    assert!(ended.stderr.contains(missing), "{ended:?}");
    assert!(ended.stderr.contains("it may not stop after 3s"), "{ended:?}");
    assert_eq!(cluster.leader(), next, "it leads as before");
}
