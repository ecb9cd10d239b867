//! A checkpoint that rots on a member of a cluster, under it or before its start, is made anew by another.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};

use testkit::{NodeBuilder, SHORT_SEGMENTS, cluster::Cluster, eventually, within};

const KEYS: usize = 40;

/// Three nodes, of which the last one alone purges, and so has a checkpoint; and where its keys are.
fn with_checkpoint() -> (Cluster, String, PathBuf) {
    let plain = || NodeBuilder::new().flags(&SHORT_SEGMENTS);
    let purging = plain().flags(&["--scrub-period", "200ms", "--retain-min-changes", "20"]);
    let cluster = Cluster::of(vec![plain(), plain(), purging]);
    let mut client = cluster.client(0);
    let tenant = client.tenant("kept");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "shelf"));
    for n in 0..KEYS {
        let body = json!({ "data": format!("<{n}>{}", "y".repeat(2000)) }).to_string();
        assert_eq!(client.put(&format!("{keys}/{n}"), &body).status, 201);
    }
    // What was redacted is not to come back.
    let answer = client.get(&format!("{keys}/3"));
    let redact = format!("/changes/{}/redact", answer.json()["_id"]);
    assert_eq!(client.request("POST", &redact, &[], b"").status, 200);
    let filling = json!({ "data": "x".repeat(20_000) }).to_string();
    eventually("the keys are in a checkpoint", || {
        client.append(&filling);
        checkpoint(&cluster).is_some_and(|path| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.windows(5).any(|it| it == b"<39>y") && !bytes.windows(4).any(|it| it == b"<3>y")
        })
    });
    drop(client);
    // Nothing is purged any more from here on.
    let mut found = None;
    eventually("it is the newest", || {
        found = checkpoint(&cluster);
        let ended = || cluster.client(2).metric("scrub_ended_timestamp_seconds");
        let before = ended();
        eventually("some rounds", || ended() > before + 2);
        found.is_some() && found == checkpoint(&cluster)
    });
    (cluster, keys, found.unwrap())
}

fn checkpoint(cluster: &Cluster) -> Option<PathBuf> {
    let all = fs::read_dir(cluster.node(2).data()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "checkpoint")).max()
}

/// All keys with their changes, as a node has them.
fn state(cluster: &Cluster, node: usize, keys: &str) -> Vec<Option<Value>> {
    let mut client = cluster.client(node);
    let get = |n: usize| {
        let answer = client.get(&format!("{keys}/{n}"));
        (answer.status == 200).then(|| answer.json())
    };
    (0..KEYS).map(get).collect()
}

#[test]
fn a_checkpoint_that_rots_on_a_member_is_made_anew_by_another() {
    let (mut cluster, keys, path) = with_checkpoint();
    let (whole, before) = (fs::read(&path).unwrap(), state(&cluster, 0, &keys));
    assert!(before.iter().all(Option::is_some));
    assert_eq!(state(&cluster, 2, &keys), before);
    let at =
        |text: &str| whole.windows(text.len()).position(|it| it == text.as_bytes()).unwrap() as u64;
    let health = |cluster: &Cluster| cluster.client(2).get("/health").json();
    let healed = |cluster: &Cluster| cluster.client(2).metric("healed_files");
    // Some changes; and all of it.
    let damage: [(u64, Vec<u8>); 2] =
        [(at("<7>y") + 100, vec![b'n'; 5000]), (0, vec![0; whole.len()])];
    for (n, (offset, bytes)) in damage.into_iter().enumerate() {
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&bytes, offset).unwrap();
        // It is tried again after a while.
        within(Duration::from_secs(60), "it is made anew", || healed(&cluster) > n as u64);
        eventually("nothing is damaged", || health(&cluster) == json!({"status": "ok"}));
        assert!(fs::read(&path).unwrap() == whole, "it is what it was");
        assert_eq!(state(&cluster, 2, &keys), before);
    }
    // A start goes on from it, and so does the next purge.
    cluster.stop(2);
    cluster.restart(2);
    eventually("it has everything", || state(&cluster, 2, &keys) == before);
    let filling = json!({ "data": "x".repeat(20_000) }).to_string();
    eventually("history is purged again", || {
        cluster.client(0).append(&filling);
        checkpoint(&cluster).is_some_and(|newest| newest != path)
    });
    assert_eq!(state(&cluster, 2, &keys), before);
}

#[test]
fn a_member_that_is_started_without_its_checkpoint_gets_it_from_another() {
    let (mut cluster, keys, path) = with_checkpoint();
    let (whole, before) = (fs::read(&path).unwrap(), state(&cluster, 0, &keys));
    let segments = |cluster: &Cluster| {
        let all = fs::read_dir(cluster.node(2).data()).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> =
            all.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        all.sort();
        all
    };
    let held = segments(&cluster);
    // It rots in the middle; all of it does; it is gone.
    for n in 0..3 {
        cluster.stop(2);
        let mut rotten = whole.clone();
        match n {
            0 => rotten[whole.len() / 2] ^= 1,
            _ => rotten.fill(0),
        }
        match n {
            2 => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, rotten).unwrap(),
        }
        // Another one is down: the third has it as well.
        cluster.stop(n % 2);
        cluster.restart(2);
        cluster.restart(n % 2);
        let said = cluster.node(2).stderr();
        assert!(said.contains("is as another member made it"), "{said}");
        eventually("it has everything", || state(&cluster, 2, &keys) == before);
        // What was redacted here is not back, at the latest once it is erased again.
        eventually("it is what it was", || fs::read(&path).unwrap() == whole);
        // The log is its own, with what it voted for and acknowledged.
        assert!(segments(&cluster).starts_with(&held));
    }
    let added = cluster.client(0).append(json!({ "data": "more" }).to_string());
    let newest = || cluster.client(2).get("/changes?since=now").json()["last"].as_u64();
    eventually("it goes on", || newest() == Some(added));
}
