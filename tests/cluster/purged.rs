//! Nodes that lie behind history which is purged are sent a snapshot.

use serde_json::{Value, json};

use testkit::{cluster::Cluster, eventually};

/// Changes that fill some segments.
fn fill(cluster: &Cluster, node: usize) {
    let mut client = cluster.client(node);
    let data = "x".repeat(900);
    let batch: Vec<Value> = (0..500).map(|_| json!({ "data": data })).collect();
    let batch = Value::from(batch).to_string();
    for _ in 0..16 {
        assert_eq!(client.json("POST", "/changes", &batch).status, 201);
    }
}

/// The oldest change that a node holds.
fn first(cluster: &Cluster, node: usize) -> u64 {
    let page = cluster.client(node).page("/changes?limit=1");
    page["changes"][0]["_id"].as_u64().unwrap_or_default()
}

/// The oldest segment of the log that a node has on its disk.
fn oldest_segment(cluster: &Cluster, node: usize) -> String {
    let files = std::fs::read_dir(cluster.node(node).data()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".seg")).min().unwrap()
}

/// Writes until a node has purged changes up to `beyond` and more, and given up
/// the segments that held them.
fn purge(cluster: &Cluster, node: usize, beyond: u64) {
    let before = oldest_segment(cluster, node);
    fill(cluster, node);
    eventually("history is purged", || first(cluster, node) > beyond);
    eventually("its segments are gone", || oldest_segment(cluster, node) > before);
}

#[test]
fn a_node_that_lies_behind_goes_on_from_a_snapshot() {
    let mut cluster = Cluster::with(1, &["--retain-min-changes", "100"]);
    let keys = {
        let mut client = cluster.client(0);
        let foo = client.tenant("foo");
        format!("/collections/{}/keys", client.collection(&foo, "bar"))
    };
    let put = |cluster: &Cluster, node: usize, key: &str, data: u64| {
        let body = json!({ "data": data }).to_string();
        let answer = cluster.client(node).put(&format!("{keys}/{key}"), &body);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.status);
    };
    put(&cluster, 0, "old", 1);
    purge(&cluster, 0, 1);

    // One that comes, and one that was away.
    for _ in 0..2 {
        let node = cluster.grow("voter");
        cluster.catches_up(node);
        assert!(cluster.node(node).stderr().contains("snapshot is taken in"));
    }
    cluster.waits_for(3, 0);
    let away = cluster.followers()[0];
    cluster.kill(away);
    let leader = cluster.leader();
    put(&cluster, leader, "old", 2);
    put(&cluster, leader, "new", 3);
    let last = cluster.view(leader).unwrap()["last"].as_u64().unwrap();
    purge(&cluster, leader, last);
    cluster.restart(away);
    cluster.catches_up(away);
    assert!(cluster.node(away).stderr().contains("snapshot is taken in"));

    let strong = format!("{keys}?consistency=strong");
    let here = |node: usize| cluster.client(node).page(&strong);
    for node in cluster.running() {
        assert_eq!(here(node), here(leader), "node {node}");
        assert_eq!(here(node)["keys"][1]["data"], 2);
        let answer = cluster.client(node).get("/changes?since=1");
        answer.problem(410, "purged");
        put(&cluster, node, "new", node as u64);
    }
}
