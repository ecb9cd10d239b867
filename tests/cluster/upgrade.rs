//! Nodes of a cluster that get another program, one after the other.

use std::{path::PathBuf, process::Command};

use testkit::{cluster::Cluster, eventually, workload::Workload};

use crate::SOME;

/// What `upgrade-check` says at a node, and whether that is yes.
fn check(cluster: &Cluster, node: usize) -> (String, bool) {
    let url = format!("http://{}", cluster.address(node));
    let told = Command::new(testkit::executable())
        .args(["upgrade-check", "--url", &url])
        .output()
        .unwrap();
    let text = [told.stdout, told.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (text.concat(), told.status.success())
}

#[test]
fn upgrade_check_asks_every_member_and_says_who_stands_in_the_way() {
    let mut cluster = Cluster::start(3);
    let last = cluster.followers()[1];
    eventually("all members are ready", || check(&cluster, 0).1);
    for node in [0, last] {
        let (text, _) = check(&cluster, node);
        let fits = text.matches(": ChangeAgent 0.1.0, they would speak version 7\n").count();
        assert_eq!(fits, 3, "{text}");
        assert!(text.contains("may take their place, one node after the other\n"), "{text}");
    }
    let id = cluster.id(last);
    cluster.kill(last);
    let (text, may) = check(&cluster, cluster.leader());
    assert!(!may && text.contains(&format!("node {id} at ")), "{text}");
    assert_eq!(text.matches(": NO: ").count(), 1, "{text}");
    assert!(text.contains("may not take their place now, for 1 member of 3"), "{text}");
}

/// An earlier program, and back: every write that is acknowledged meanwhile stays, once, on every node.
/// `tests/upgrade.sh` names the earlier one; without it, nodes are restarted with the same.
#[test]
fn nodes_get_another_program_one_after_the_other_under_load() {
    let earlier = std::env::var_os("CHANGEAGENT_EARLIER");
    let earlier = earlier.map_or_else(testkit::executable, PathBuf::from);
    let mut cluster = Cluster::start(3);
    for node in 0..3 {
        cluster.stop(node);
        cluster.restart_with(node, |builder| builder.program(&earlier));
        cluster.catches_up(node);
    }
    let workload = Workload::start(&cluster);
    workload.goes_on(SOME);
    for program in [testkit::executable(), earlier, testkit::executable()] {
        for node in 0..3 {
            cluster.stop(node);
            cluster.restart_with(node, |builder| builder.program(&program));
            cluster.catches_up(node);
            // The program that is another may lead, and may follow.
            workload.goes_on(SOME);
        }
    }
    workload.ends(&cluster);
}
