//! `changeagent backup` of a cluster: of any of its nodes, one after the other, while it is written to
//! and its leader is killed.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde_json::Value;

use testkit::{
    Client, Node, NodeBuilder, Relay, Stream, cluster::Cluster, eventually, run, temporary,
};

fn lines(node: &Node) -> Vec<String> {
    Stream::open(node.client(), "/changes", "application/x-ndjson").changes()
}

fn backup(url: &str, out: &Path) {
    run(url, &["backup", "--out", out.to_str().unwrap()]).ok_saying(&["backed up changes 1 to "]);
}

fn last(backup: &Path) -> usize {
    let manifest = std::fs::read(backup.join("backup.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["last"].as_u64().unwrap() as usize
}

/// Writes until it is told to stop.
fn write(mut client: Client, stop: &AtomicBool, written: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        client.append(format!("{{\"data\":\"{}\"}}", "z".repeat(2000)));
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn without_a_leader_only_what_the_node_has_is_backed_up_and_only_when_that_is_asked_for() {
    let directory = temporary();
    let out = directory.path().join("backup");
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    for n in 0..20 {
        cluster.client(leader).append(format!("{{\"data\":{n}}}"));
    }
    let survivor = cluster.followers()[0];
    cluster.catches_up(survivor);
    (0..3).filter(|node| *node != survivor).for_each(|node| cluster.kill(node));
    let url = cluster.node(survivor).url();
    let flags = ["backup", "--retries", "1", "--out", out.to_str().unwrap()];
    run(&url, &flags).fails_saying(&["no-leader", "--consistency local"]);
    run(&url, &[&flags[..], &["--consistency", "local"]].concat()).ok();
    assert_eq!(last(&out), 20);
}

#[test]
fn any_node_goes_on_with_the_backup_of_another_under_load() {
    let directory = temporary();
    let out = directory.path().join("backup");
    let mut cluster = Cluster::start(3);
    let learner = cluster.grow("learner");
    let (leader, follower) = (cluster.leader(), cluster.followers()[0]);
    let mut ends = Vec::new();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (stop, written, client) = (&stop, &written, cluster.client(follower));
        scope.spawn(move || write(client, stop, written));
        for node in [leader, follower, learner] {
            let before = written.load(Ordering::Relaxed);
            eventually("it is written to", || written.load(Ordering::Relaxed) > before + 200);
            backup(&cluster.node(node).url(), &out);
            ends.push(last(&out));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(ends.is_sorted() && ends[0] > 0 && ends[1] > ends[0] + 100, "{ends:?}");

    cluster.kill(leader);
    let new = cluster.leader();
    let relay = Relay::start(cluster.node(new).address());
    for n in 0..10 {
        cluster.client(new).append(format!("{{\"data\":{n}}}"));
    }
    backup(&relay.url(), &out);
    let all = lines(cluster.node(new));
    let new_bytes = (all.len() - ends[2]) as u64 * 2300 + 20_000;
    assert!(relay.passed() < new_bytes, "{} of {new_bytes}", relay.passed());
    assert_eq!(last(&out), all.len());

    let data = directory.path().join("data");
    run(
        "http://127.0.0.1:1",
        &["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()],
    )
    .ok();
    let flags = ["--cluster-listen", "127.0.0.1:0"];
    let restored = NodeBuilder::bare(&directory, &data).flags(&flags).start();
    assert_eq!(lines(&restored), all);
    let members = |node: &Node| {
        let members = node.client().get("/cluster").json()["members"].as_array().unwrap().clone();
        members.iter().map(|member| member["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(members(&restored), [5], "no number is given again");
    let join = restored.address().to_string();
    let flags = ["--cluster-listen", "127.0.0.1:0", "--join", &join];
    let empty = directory.path().join("other");
    let other = NodeBuilder::bare(&directory, &empty).flags(&flags).start();
    eventually("another node has the history", || {
        other.client().get("/ready").status == 200 && lines(&other) == all
    });
    assert_eq!(members(&restored), [5, 6]);
    assert_eq!(restored.client().append(r#"{"data":"on"}"#) as usize, all.len() + 1);
}
