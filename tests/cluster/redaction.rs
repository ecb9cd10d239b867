//! What is redacted is gone from every node: also from one that was down then, and from one that
//! comes later.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use testkit::{cluster::Cluster, eventually};

const SECRET: &str = "a-secret-of-somebody";

/// Whether a file of a node holds the secret.
fn holds(data: &Path) -> bool {
    let files = std::fs::read_dir(data).unwrap().map(|file| file.unwrap().path());
    // They may be removed meanwhile.
    let mut bytes = files.map(|path| std::fs::read(path).unwrap_or_default());
    bytes.any(|bytes| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()))
}

/// Waits until no file of a node holds the secret.
fn is_erased(cluster: &Cluster, node: usize) {
    let data = cluster.node(node).data();
    for _ in 0..4 {
        let begun = std::time::Instant::now();
        while holds(&data) && begun.elapsed() < Duration::from_secs(25) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(!holds(&data), "node {node} holds it still");
}

fn check_shown(cluster: &Cluster, node: usize, secrets: &[u64]) {
    let page = cluster.client(node).page("/changes?limit=10000");
    let all = page["changes"].as_array().unwrap();
    let redacted = |change: &&Value| change["redacted"] == true;
    let redacted: Vec<u64> =
        all.iter().filter(redacted).map(|change| change["_id"].as_u64().unwrap()).collect();
    assert_eq!(redacted, secrets, "node {node}");
    assert!(!page.to_string().contains(SECRET), "node {node}");
}

#[test]
fn every_node_erases_what_is_redacted_also_one_that_was_down_or_comes_later() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut secrets = Vec::new();
    for n in 0..40 {
        let text = if n % 4 == 0 { SECRET } else { "nothing" };
        let body = json!({"data": format!("{text}{}", "z".repeat(3_000)), "tags": [text]});
        let id = cluster.client(leader).append(body.to_string());
        if n % 4 == 0 {
            secrets.push(id);
        }
    }
    (0..3).for_each(|node| cluster.catches_up(node));
    let down = cluster.followers()[0];
    cluster.kill(down);
    let asked = cluster.followers()[0];
    for id in &secrets {
        let path = format!("/changes/{id}/redact");
        let answer = cluster.client(asked).request("POST", &path, &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        // Who said so shows it no more, and nobody does in a strong read.
        assert!(!cluster.client(asked).get(&format!("/changes/{id}")).text().contains(SECRET));
        let strong = format!("/changes/{id}?consistency=strong");
        assert!(!cluster.client(leader).get(&strong).text().contains(SECRET));
    }
    // It comes while the others hold the bytes, or are about to erase them.
    let later = cluster.grow("voter");
    cluster.catches_up(later);
    for node in [leader, asked, later] {
        is_erased(&cluster, node);
        check_shown(&cluster, node, &secrets);
    }
    cluster.restart(down);
    cluster.catches_up(down);
    eventually("it has applied the redactions", || {
        let page = cluster.client(down).page("/changes?limit=10000");
        !page.to_string().contains(SECRET)
    });
    is_erased(&cluster, down);
    check_shown(&cluster, down, &secrets);
    cluster.agree();
}

#[test]
fn a_node_that_never_hears_of_a_redaction_erases_what_is_purged() {
    let mut cluster = Cluster::with(3, &["--retain-min-changes", "100"]);
    let leader = cluster.leader();
    let secret = cluster.client(leader).append(json!({ "data": SECRET }).to_string());
    (0..3).for_each(|node| cluster.catches_up(node));
    let down = cluster.followers()[0];
    assert!(holds(&cluster.node(down).data()), "it is written there");
    cluster.kill(down);
    let path = format!("/changes/{secret}/redact");
    assert_eq!(cluster.client(leader).request("POST", &path, &[], b"").status, 200);
    let data = "x".repeat(900);
    let batch: Vec<Value> = (0..500).map(|_| json!({ "data": data })).collect();
    let batch = Value::from(batch).to_string();
    eventually("it is purged, and what says that it is redacted", || {
        assert_eq!(cluster.client(leader).json("POST", "/changes", &batch).status, 201);
        let page = cluster.client(leader).page("/changes?limit=1");
        page["changes"][0]["_id"].as_u64().unwrap_or_default() > secret + 1
    });
    let first = cluster.node(leader).data().join(format!("{:020}.seg", 1));
    eventually("its segment is gone", || !first.exists());
    cluster.restart(down);
    cluster.catches_up(down);
    assert!(cluster.node(down).stderr().contains("snapshot is taken in"));
    is_erased(&cluster, down);
}
