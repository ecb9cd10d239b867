//! Damage on the disk of one node of a cluster.

use std::{fs::File, os::unix::fs::FileExt};

use serde_json::json;

use testkit::{NodeBuilder, SHORT_SEGMENTS, cluster::Cluster, eventually};

#[test]
fn a_leader_with_a_damaged_segment_goes_on_and_whoever_needs_it_waits() {
    let mut cluster = Cluster::with(1, &SHORT_SEGMENTS);
    let mut client = cluster.client(0);
    for n in 0..60 {
        client.append(json!({"data": format!("{n}-{}", "x".repeat(20_000))}).to_string());
    }
    drop(client);
    // What it had in memory is gone.
    cluster.stop(0);
    cluster.restart(0);
    let segment = cluster.node(0).data().join("00000000000000000002.seg");
    let file = File::options().read(true).write(true).open(segment).unwrap();
    let flip = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 100_000).unwrap();
    };
    flip();
    let learner = NodeBuilder::new()
        .flags(&SHORT_SEGMENTS)
        .flags(&["--cluster-listen", "127.0.0.1:0"])
        .start();
    let address = learner.address().to_string();
    cluster.orders("POST", "/cluster/members", &json!({"address": address, "role": "learner"}));
    let health = || cluster.client(0).get("/health").json();
    eventually("it comes to the damage", || health()["damaged"].is_array());
    assert_eq!(health()["damaged"][0]["file"], "00000000000000000002.seg");
    // The leader leads on.
    let mut client = cluster.client(0);
    let last = (0..40).map(|n| client.append(json!({"data": n}).to_string())).max().unwrap();
    let said = cluster.node(0).stderr();
    assert_eq!(said.matches("a part of the log is damaged on the disk").count(), 1, "{said}");
    assert_eq!(cluster.client(0).get("/ready").status, 200);
    assert_ne!(learner.client().get("/ready").status, 200);
    flip();
    eventually("the learner has everything", || {
        let answer = learner.client().get("/changes?since=now");
        answer.status == 200 && answer.json()["last"].as_u64() == Some(last)
    });
    let whole = |client: &mut testkit::Client| client.get("/changes?limit=1000").body.clone();
    assert_eq!(whole(&mut learner.client()), whole(&mut cluster.client(0)));
}
