//! `changeagent recover`: a cluster of one is made of what a survivor has, and grows again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use testkit::{Ended, Node, NodeBuilder, cluster::Cluster, eventually, files, run};

fn recover(data: &Path, flags: &[&str]) -> Ended {
    let arguments = [&["recover", "--data", data.to_str().unwrap()], flags].concat();
    run("http://127.0.0.1:1", &arguments)
}

fn beside(data: &Path, end: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The files of a directory, whatever it is called.
fn contents(directory: &Path) -> Vec<Vec<u8>> {
    files(directory).into_values().collect()
}

/// All changes that a node holds.
fn held(node: &Node) -> Vec<Value> {
    let (mut client, mut all) = (node.client(), Vec::new());
    let mut target = "?limit=1000".to_owned();
    loop {
        let page = client.list(&target);
        all.extend(page["changes"].as_array().unwrap().iter().cloned());
        if page["atEnd"] == true {
            return all;
        }
        target = format!("?limit=1000&since={}", page["last"]);
    }
}

fn identity(node: &Node) -> String {
    let answer = node.client().get("/cluster");
    answer.header("changeagent-cluster").expect("it says of which cluster it is").to_owned()
}

/// A node of three that died, the others of which are gone, with what it held.
fn survivor(
    flags: &[&'static str],
    write: impl FnOnce(&Cluster),
) -> (NodeBuilder, PathBuf, Vec<Value>, String) {
    let mut cluster = Cluster::with(3, flags);
    write(&cluster);
    cluster.catches_up(1);
    let (all, before) = (held(cluster.node(1)), identity(cluster.node(1)));
    let data = cluster.node(1).data();
    (0..3).for_each(|node| cluster.kill(node));
    (cluster.leave(1), data, all, before)
}

fn keyed(cluster: &Cluster) {
    let mut client = cluster.client(0);
    client.tenant("t");
    client.json("POST", "/tenants/t/collections", r#"{"name":"c"}"#);
    for n in 0..60 {
        let answer = client.put(
            &format!("/tenants/t/collections/c/keys/{}", n % 7),
            json!({"data": n}).to_string(),
        );
        assert!(answer.status < 300, "{}", answer.text());
    }
}

#[test]
fn a_survivor_goes_on_with_all_that_it_has_as_another_cluster_and_others_join_it() {
    let (builder, data, all, before) = survivor(&[], keyed);
    let old = contents(&data);
    let said = recover(&data, &["--yes"]).ok();
    assert!(said.contains(&before) && said.contains("changes up to"), "{said}");
    assert_eq!(contents(&beside(&data, ".before-recovery")), old, "what was there is kept");
    let node = builder.start();
    assert_eq!(held(&node), all);
    assert_ne!(identity(&node), before);
    let mut client = node.client();
    assert_eq!(client.append(r#"{"data":"on"}"#), all.len() as u64 + 1);
    let key = client.get("/tenants/t/collections/c/keys/3").json();
    assert_eq!(key["data"], 59);
    let members = client.get("/cluster").json()["members"].as_array().unwrap().clone();
    assert_eq!(members.len(), 1);
    assert_eq!((&members[0]["id"], &members[0]["role"]), (&json!(2), &json!("voter")));
    let join = node.address().to_string();
    let other =
        NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0", "--join", &join]).start();
    eventually("the other has the history", || {
        other.client().get("/ready").status == 200 && held(&other).len() == all.len() + 1
    });
    assert_eq!(identity(&other), identity(&node));
    let members = node.client().get("/cluster").json()["members"].as_array().unwrap().clone();
    assert!(
        members.iter().any(|member| member["id"] == 4),
        "no number is given again: {members:?}"
    );
}

#[test]
fn purged_history_and_what_stands_for_it_are_taken_along() {
    let flags = ["--retain-min-changes", "500"];
    let (builder, data, all, before) = survivor(&flags, |cluster| {
        keyed(cluster);
        let lines = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
        eventually("history is purged", || {
            assert_eq!(cluster.client(0).post_lines("/changes", &lines).status, 201);
            let page = cluster.client(1).list("?limit=1");
            page["changes"][0]["_id"].as_u64().unwrap_or_default() > 100
        });
    });
    recover(&data, &["--yes"]).ok();
    let node = builder.start();
    let found = held(&node);
    // Retention may have gone on between.
    assert!(all.ends_with(&found) && found.len() >= 500, "{} of {}", found.len(), all.len());
    assert_ne!(identity(&node), before);
    assert_eq!(node.client().get("/tenants/t/collections/c/keys/3").json()["data"], 59);
}

#[test]
fn nothing_is_changed_unless_it_is_asked_for_and_can_be_done() {
    let (builder, data, all, _) = survivor(&[], keyed);
    let old = contents(&data);
    recover(&data, &[]).fails_saying(&["--yes"]);
    std::fs::create_dir(beside(&data, ".recovering")).unwrap();
    recover(&data, &["--yes"]).fails_saying(&["recovering exists already"]);
    std::fs::remove_dir(beside(&data, ".recovering")).unwrap();
    assert_eq!(contents(&data), old);
    recover(&data, &["--yes"]).ok();
    let node = builder.start();
    recover(&data, &["--yes"]).fails_saying(&["in use"]);
    assert_eq!(held(&node), all);
    let _stopped = node.stop();
    recover(&data, &["--yes"]).fails_saying(&["before-recovery exists already"]);
}
