//! Nodes that speak TLS to each other.

use std::path::Path;

use testkit::{
    Node, NodeBuilder, PATIENCE, Temporary,
    cluster::Cluster,
    eventually, run, temporary,
    workload::{Workload, number},
};

use crate::{SOME, leader_dies_and_returns, strangers::is_let_in};

/// Certificates of a cluster, all nodes of which show the same.
struct Certificates {
    directory: Temporary,
}

impl Certificates {
    fn new() -> Self {
        let directory = temporary();
        let out = directory.path().join("tls").display().to_string();
        run(
            "",
            &[
                "tls",
                "self-signed",
                "--out",
                &out,
                "--name",
                "127.0.0.1",
                "--name",
                "nodes.internal",
            ],
        )
        .ok();
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = self.directory.path();
        path.join("tls").join(name).display().to_string()
    }

    /// How a node is started that shows them.
    fn on(&self, builder: NodeBuilder) -> NodeBuilder {
        let [certificate, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| self.path(name));
        builder.flags(&[
            "--cluster-tls-cert",
            &certificate,
            "--cluster-tls-key",
            &key,
            "--cluster-tls-ca",
            &ca,
        ])
    }

    fn cluster(&self, count: usize) -> Cluster {
        Cluster::of((0..count).map(|_| self.on(NodeBuilder::new())).collect())
    }
}

fn warnings(node: &Node, words: &[&str]) -> usize {
    let text = node.stderr();
    let is_one =
        |line: &&str| line.contains("WARN") && words.iter().all(|word| line.contains(word));
    text.lines().filter(is_one).count()
}

#[test]
fn a_cluster_loses_its_leader_and_nothing_else() {
    let certificates = Certificates::new();
    let mut cluster = certificates.cluster(3);
    assert!((0..3).all(|node| !is_let_in(&cluster, node)), "nothing plain is answered");
    let workload = Workload::start(&cluster);
    leader_dies_and_returns(&mut cluster, &workload);
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_node_with_the_certificate_of_another_cluster_is_kept_out_and_told() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let mut cluster = ours.cluster(3);
    cluster.client(0).append(number(0));
    let member = cluster.followers()[0];
    cluster.stop(member);
    cluster.restart_with(member, |builder| theirs.on(builder));
    cluster.client(cluster.leader()).append(number(1));
    eventually("each side says why", || {
        let told = warnings(cluster.node(member), &["node was refused", "UnknownCA"]);
        assert!(told <= 1, "it is told once: {}", cluster.node(member).stderr());
        let leader = cluster.leader();
        told == 1 && warnings(cluster.node(leader), &["cannot be reached", "UnknownIssuer"]) >= 1
    });
    let held = cluster.client(member).get("/health").last();
    assert!(held <= 1, "it was sent nothing: {held}");
    cluster.stop(member);
    cluster.restart_with(member, |builder| ours.on(builder));
    cluster.catches_up(member);
    assert_eq!(cluster.agree().len(), 2);

    // So is one that would join.
    let stranger = theirs.on(NodeBuilder::new()).flags(&[
        "--cluster-listen",
        "127.0.0.1:0",
        "--join",
        &cluster.address(0).to_string(),
    ]);
    let stranger = stranger.start();
    eventually("it is refused", || {
        warnings(&stranger, &["node was refused"]) >= 1
            || (0..3).any(|node| warnings(cluster.node(node), &["UnknownIssuer"]) >= 2)
    });
    cluster.waits_for(3, 0);
}

#[test]
fn a_cluster_moves_to_tls_by_two_rolling_restarts() {
    let certificates = Certificates::new();
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    let optional = "CHANGEAGENT_CLUSTER_TLS_OPTIONAL";
    for (stage, is_plain) in [("true", true), ("false", false)] {
        for node in 0..3 {
            workload.goes_on(SOME);
            cluster.stop(node);
            workload.goes_on(SOME);
            cluster.restart_with(node, |builder| {
                certificates.on(builder).environment(optional, stage)
            });
            cluster.catches_up(node);
        }
        workload.goes_on(SOME);
        assert!((0..3).all(|node| is_let_in(&cluster, node) == is_plain), "{stage}");
    }
    workload.ends(&cluster);
}

#[test]
fn a_certificate_has_the_name_of_its_host_or_one_that_all_have() {
    let certificates = Certificates::new();
    let builder = || certificates.on(NodeBuilder::new());
    let elsewhere = ["--cluster-listen", "127.0.0.1:0", "--cluster-advertise", "127.0.0.2:1"];
    let node = builder().flags(&elsewhere).launch();
    let stderr = node.stderr.clone();
    let (status, _builder) = node.ends_within(PATIENCE);
    let said = std::fs::read_to_string(stderr).unwrap();
    assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("does not have the name \"127.0.0.2\""), "{said}");

    let shared = ["--cluster-tls-name", "nodes.internal"];
    let cluster = Cluster::of((0..3).map(|_| builder().flags(&shared)).collect());
    cluster.client(1).append(number(0));
    assert_eq!(cluster.agree().len(), 1);
}
