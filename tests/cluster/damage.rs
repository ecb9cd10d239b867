//! Damage on the disk of one node of a cluster.

use std::{fs::File, os::unix::fs::FileExt};

use serde_json::json;

use testkit::{
    Client, NodeBuilder, SHORT_SEGMENTS,
    cluster::{Cluster, SILENCE},
    eventually,
};

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
        // It starts anew from the snapshot.
        let client = Client::try_connect(learner.address(), SILENCE);
        let answer =
            client.and_then(|mut it| it.try_request("GET", "/changes?since=now", &[], b""));
        answer.is_some_and(|answer| {
            answer.status == 200 && answer.json()["last"].as_u64() == Some(last)
        })
    });
    let whole = |client: &mut testkit::Client| client.get("/changes?limit=1000").body.clone();
    assert_eq!(whole(&mut learner.client()), whole(&mut cluster.client(0)));
}

#[test]
fn entries_that_rot_on_a_member_are_taken_from_another() {
    let mut cluster = Cluster::with(3, &SHORT_SEGMENTS);
    let mut client = cluster.client(0);
    for n in 0..60 {
        client.append(json!({"data": format!("<{n}>{}", "x".repeat(20_000))}).to_string());
    }
    let last = client.get("/changes?since=now").json()["last"].as_u64().unwrap();
    drop(client);
    let caught_up = |cluster: &Cluster, n: usize| {
        let answer = cluster.client(n).get("/changes?since=now");
        answer.status == 200 && answer.json()["last"].as_u64() == Some(last)
    };
    eventually("all have everything", || (0..3).all(|n| caught_up(&cluster, n)));
    // A page may end early; nothing where a part cannot be read.
    let whole = |cluster: &Cluster, n: usize| {
        let (mut client, mut found, mut since) = (cluster.client(n), Vec::new(), 0);
        while since < last {
            let answer = client.get(&format!("/changes?since={since}&limit=1000"));
            if answer.status != 200 {
                return None;
            }
            let page = answer.json();
            found.extend(page["changes"].as_array().unwrap().clone());
            since = page["last"].as_u64().unwrap();
        }
        Some(found)
    };
    let before = whole(&cluster, 0);
    assert_eq!(before.as_ref().map(Vec::len), Some(60));
    // What they had in memory is gone, and what they have checked, which they trust for a moment.
    for n in 0..3 {
        cluster.stop(n);
        cluster.restart(n);
        eventually("it is there again", || caught_up(&cluster, n));
    }
    for n in 0..3 {
        let segment = cluster.node(n).data().join("00000000000000000002.seg");
        let sound = std::fs::read(&segment).unwrap();
        let file = File::options().write(true).open(&segment).unwrap();
        // Within the texts of two changes.
        let texts: Vec<usize> =
            (0..sound.len() - 5).filter(|at| &sound[*at..*at + 2] == b"\"<").collect();
        assert!(texts.len() > 4, "{}", texts.len());
        file.write_all_at(b"rotten", texts[1] as u64 + 300).unwrap();
        file.write_all_at(&[0; 5000], texts[2] as u64 + 9_000).unwrap();
        let mut client = cluster.client(n);
        eventually("it is noticed", || whole(&cluster, n).is_none());
        eventually("it is as it was", || std::fs::read(&segment).unwrap() == sound);
        eventually("nothing is damaged", || {
            client.get("/health").json() == json!({"status": "ok"})
        });
        assert!(whole(&cluster, n) == before);
        let said = cluster.node(n).stderr();
        assert_eq!(said.matches("what was damaged is made anew").count(), 1, "{said}");
    }
}

#[test]
fn a_segment_is_put_together_again_whatever_of_it_rotted_on_a_member() {
    let mut flags = SHORT_SEGMENTS.to_vec();
    flags.extend(["--scrub-period", "200ms"]);
    let mut cluster = Cluster::with(3, &flags);
    let mut client = cluster.client(0);
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(
            client.append(json!({"data": format!("<{n}>{}", "x".repeat(20_000))}).to_string()),
        );
    }
    let second = |cluster: &Cluster, n: usize| {
        std::fs::read(cluster.node(n).data().join("00000000000000000002.seg")).unwrap()
    };
    let holds =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    let texts = (0..60).map(|n| (n, format!("\"<{n}>x")));
    let in_second = texts.filter(|(_, text)| holds(&second(&cluster, 0), text)).nth(2);
    let (n, secret) = in_second.expect("several are in it");
    // Nobody is to bring back what was redacted.
    let redact = format!("/changes/{}/redact", ids[n]);
    assert_eq!(client.request("POST", &redact, &[], b"").status, 200);
    let last = client.get("/changes?since=now").json()["last"].as_u64().unwrap();
    drop(client);
    let healthy = |cluster: &Cluster, n: usize| {
        cluster.client(n).get("/health").json() == json!({"status": "ok"})
    };
    let whole = |cluster: &Cluster, n: usize| {
        let (mut client, mut found, mut since) = (cluster.client(n), Vec::new(), 0);
        while since < last {
            let answer = client.get(&format!("/changes?since={since}&limit=1000&min_id={last}"));
            if answer.status != 200 {
                return None;
            }
            let page = answer.json();
            found.extend(page["changes"].as_array().unwrap().clone());
            since = page["last"].as_u64().unwrap();
        }
        Some(found)
    };
    let before = whole(&cluster, 0);
    assert_eq!(before.as_ref().map(Vec::len), Some(60));
    for n in 0..3 {
        eventually("all is erased", || {
            healthy(&cluster, n)
                && whole(&cluster, n) == before
                && !holds(&second(&cluster, n), &secret)
        });
        let segment = cluster.node(n).data().join("00000000000000000002.seg");
        let bytes = std::fs::metadata(&segment).unwrap().len();
        let file = File::options().write(true).open(&segment).unwrap();
        match n {
            // All of it.
            0 => file.write_all_at(&vec![0; bytes as usize], 0).unwrap(),
            // The header, and the first groups with what is in them.
            1 => file.write_all_at(&[0xA5; 70_000], 8).unwrap(),
            // A half.
            _ => file.set_len(bytes / 8192 * 4096).unwrap(),
        }
        let made_anew = || {
            let said = cluster.node(n).stderr();
            said.matches("what was damaged is made anew").count() == 1
        };
        eventually("it is made anew", made_anew);
        eventually("nothing is damaged", || healthy(&cluster, n));
        assert!(whole(&cluster, n) == before);
        // A start goes on from it, and need not have the index.
        cluster.stop(n);
        std::fs::remove_file(segment.with_extension("index")).unwrap();
        cluster.restart(n);
        eventually("it has everything", || whole(&cluster, n) == before);
        assert!(!holds(&second(&cluster, n), &secret), "what was redacted is back");
    }
}
