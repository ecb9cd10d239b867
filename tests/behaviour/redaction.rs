//! A redaction takes the data and the tags of a change away: from every answer, and for ever.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually, run, temporary, within};

fn redact(client: &mut Client, id: u64) -> testkit::Answer {
    client.request("POST", &format!("/changes/{id}/redact"), &[], b"")
}

fn redacted(client: &mut Client, id: u64) {
    let answer = redact(client, id);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), json!({"_id": id, "redacted": true}));
}

fn write(client: &mut Client, path: &str, body: &Value) -> Value {
    let headers = [("Content-Type", "application/json")];
    let answer = client.request("POST", path, &headers, body.to_string().as_bytes());
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    answer.json()
}

/// A tenant `t` with a collection `c`.
fn furnish(client: &mut Client) {
    write(client, "/tenants", &json!({"name": "t"}));
    write(client, "/tenants/t/collections", &json!({"name": "c"}));
}

/// Every answer that might show a change.
fn everywhere(client: &mut Client, id: u64) -> Vec<String> {
    let page = format!("/changes?since={}&limit=1", id - 1);
    let paths = [
        format!("/changes/{id}"),
        page,
        "/changes?tag=hidden&limit=10000".into(),
        "/changes?limit=10000".into(),
        "/tenants/t/changes?limit=10000".into(),
        "/tenants/t/changes?limit=10000&tag=hidden".into(),
        "/tenants/t/collections/c/changes?limit=10000".into(),
        "/tenants/t/collections/c/keys".into(),
        "/tenants/t/collections/c/keys/k".into(),
    ];
    paths.iter().map(|path| client.get(path).text().into()).collect()
}

#[test]
fn a_redacted_change_keeps_its_place_and_shows_neither_data_nor_tags() {
    let node = Node::start();
    let client = &mut node.client();
    furnish(client);
    let plain = client.append(r#"{"data":"secret","tags":["hidden","other"]}"#);
    let key = json!({"key": "k", "data": {"secret": 1}, "tags": ["hidden"]});
    let keyed = write(client, "/tenants/t/collections/c/keys", &key)["_id"].as_u64().unwrap();
    let before = client.list("?limit=100");
    assert!(everywhere(client, keyed).concat().contains("secret"));
    // Whoever asks the same again is not given the page from before.
    for id in [plain, keyed] {
        redacted(client, id);
        redacted(client, id);
    }
    let all = everywhere(client, keyed);
    assert!(!all.concat().contains("secret") && !all.concat().contains("hidden"), "{all:#?}");
    let after = client.list("?limit=100");
    for (before, after) in
        before["changes"].as_array().unwrap().iter().zip(after["changes"].as_array().unwrap())
    {
        let mut want = before.clone();
        let members = want.as_object_mut().unwrap();
        members.remove("data");
        members.remove("tags");
        members.insert("redacted".into(), true.into());
        assert_eq!(after, &want);
    }
    let current = client.get("/tenants/t/collections/c/keys/k");
    assert_eq!(current.header("etag"), Some(format!("\"{keyed}\"").as_str()));
    assert_eq!(current.json()["redacted"], true);
    assert_eq!(client.list("?tag=hidden")["changes"], json!([]));
    assert_eq!(client.list("?limit=1")["last"], 1, "a redaction takes no id");
    assert_eq!(client.append(r#"{"data":1}"#), keyed + 1);
}

#[test]
fn a_deletion_that_is_redacted_stays_one() {
    let node = Node::start();
    let client = &mut node.client();
    furnish(client);
    let path = "/tenants/t/collections/c/keys";
    write(client, path, &json!({"key": "k", "data": 1}));
    let deleted = client.request("DELETE", &format!("{path}/k"), &[], b"").json();
    let id = deleted["_id"].as_u64().unwrap();
    redacted(client, id);
    let shown = client.get(&format!("/changes/{id}")).json();
    assert_eq!((&shown["deleted"], &shown["redacted"]), (&json!(true), &json!(true)));
    assert_eq!(client.get(&format!("{path}/k")).status, 404);
}

#[test]
fn what_cannot_be_redacted_is_refused_and_a_repeat_gets_the_first_answer() {
    let node = Node::start();
    let client = &mut node.client();
    redact(client, 1).problem(404, "not-found");
    redact(client, 0).problem(404, "not-found");
    let id = client.append(r#"{"data":"secret"}"#);
    let path = format!("/changes/{id}/redact");
    client.request("POST", "/changes/x1/redact", &[], b"").problem(404, "not-found");
    client.request("GET", &path, &[], b"").problem(405, "method-not-allowed");
    client.request("POST", &path, &[], br#"{"why":"so"}"#).problem(400, "unknown-member");
    client.request("POST", &format!("{path}?now=1"), &[], b"").problem(400, "invalid-parameter");
    assert!(client.get(&format!("/changes/{id}")).text().contains("secret"));
    let key = [("Idempotency-Key", "once")];
    let first = client.request("POST", &path, &key, b"{}");
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let again = client.request("POST", &path, &key, b"{}");
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(first.body, again.body);
    client.request("POST", "/changes/2/redact", &key, b"{}").problem(422, "idempotency-mismatch");
}

#[test]
fn a_redaction_outlives_kills_and_the_loss_of_indexes() {
    let mut node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    furnish(&mut node.client());
    let mut ids = Vec::new();
    for n in 0..60 {
        let client = &mut node.client();
        let filler = format!("secret{}", "x".repeat(9_000));
        let body = json!({"key": format!("k{n}"), "data": filler, "tags": ["hidden"]});
        let id = write(client, "/tenants/t/collections/c/keys", &body)["_id"].as_u64().unwrap();
        if n % 5 == 0 {
            ids.push(id);
        }
        if n % 20 == 19 {
            ids.iter().for_each(|id| redacted(client, *id));
            node = node.kill().start();
        }
    }
    for without in [&[][..], &["index"], &["index", "state"]] {
        let data = node.data();
        let builder = node.kill();
        for file in std::fs::read_dir(&data).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| without.iter().any(|gone| end == *gone)) {
                std::fs::remove_file(path).unwrap();
            }
        }
        node = builder.start();
        let client = &mut node.client();
        for change in client.list("?limit=10000")["changes"].as_array().unwrap() {
            let is_redacted = ids.contains(&change["_id"].as_u64().unwrap());
            assert_eq!(change["redacted"] == true, is_redacted, "{change}");
            assert_eq!(change.get("data").is_none(), is_redacted);
        }
        let tagged = client.list("?tag=hidden&limit=10000");
        assert_eq!(tagged["changes"].as_array().unwrap().len(), 60 - ids.len());
    }
}

/// The files that hold `text`.
fn holding(data: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        // It may be removed meanwhile.
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files.filter(holds).collect()
}

/// A node with secrets in all its segments, the one that is written to included; and which they are.
fn filled(builder: NodeBuilder, count: usize) -> (Node, Vec<u64>) {
    let node = builder.start();
    let client = &mut node.client();
    furnish(client);
    let mut secrets = Vec::new();
    for n in 0..count {
        let text = if n % 3 == 0 { "secret" } else { "public" };
        let data = format!("{text}{}", "x".repeat(12_000));
        let body = json!({"key": format!("k{n}"), "data": data, "tags": [format!("{text}-tag")]});
        let written = write(client, "/tenants/t/collections/c/keys", &body);
        if n % 3 == 0 {
            secrets.push(written["_id"].as_u64().unwrap());
        }
    }
    (node, secrets)
}

/// Everything that is shown, and that the secrets are not.
fn shown(client: &mut Client, secrets: &[u64]) -> String {
    let list = client.list("?limit=10000");
    for change in list["changes"].as_array().unwrap() {
        let is_secret = secrets.contains(&change["_id"].as_u64().unwrap());
        assert_eq!(change["redacted"] == true, is_secret, "{change}");
    }
    let keys = client.get("/tenants/t/collections/c/keys?limit=10000").text().to_owned();
    let tagged = client.get("/changes?tag=public-tag&limit=10000").text().to_owned();
    format!("{list}{keys}{tagged}")
}

fn waiting(client: &mut Client) -> u64 {
    client.get("/health").json()["erasing"].as_u64().unwrap_or(0)
}

#[test]
fn what_is_redacted_is_in_no_file_after_a_moment() {
    let (node, secrets) = filled(NodeBuilder::new().flags(&SHORT_SEGMENTS), 80);
    let data = node.data();
    assert!(holding(&data, "secret-tag").len() > 3, "several segments hold it");
    let client = &mut node.client();
    secrets.iter().for_each(|id| redacted(client, *id));
    let before = shown(client, &secrets);
    within(Duration::from_secs(60), "the bytes are gone", || holding(&data, "secret").is_empty());
    eventually("none waits", || waiting(client) == 0);
    assert_eq!(shown(client, &secrets), before);
    let metrics = client.get("/metrics").text().to_owned();
    assert!(metrics.contains("\nchangeagent_redactions_waiting 0\n"), "{metrics}");
    client.append(r#"{"data":"after"}"#);
    let node = node.stop().start();
    let client = &mut node.client();
    assert!(holding(&node.data(), "secret").is_empty());
    shown(client, &secrets);
    let builder = node.stop();
    run("", &["check", "--data", data.to_str().unwrap()]).ok();
    let node = builder.start();
    // What a start has to look up first.
    eventually("none waits", || waiting(&mut node.client()) == 0);
}

/// How long the segments are together, and how much room they take on the disk, in bytes.
fn segments(data: &Path) -> (u64, u64) {
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap());
    // It may be removed meanwhile.
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    segments
        .filter_map(|file| file.metadata().ok())
        .fold((0, 0), |(long, room), file| (long + file.len(), room + file.blocks() * 512))
}

#[test]
fn what_is_erased_in_whole_blocks_takes_no_room_and_a_start_reads_on() {
    const BYTES: u64 = 30_000;
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let data = node.data();
    let client = &mut node.client();
    let body = format!(r#"{{"data":"secret{}"}}"#, "x".repeat(BYTES as usize));
    let ids: Vec<u64> = (0..20).map(|_| client.append(&body)).collect();
    ids.iter().for_each(|id| redacted(client, *id));
    within(Duration::from_secs(60), "the bytes are gone", || holding(&data, "secret").is_empty());
    eventually("none waits", || waiting(client) == 0);
    let (long, room) = segments(&data);
    // Of the data of each change all blocks but the first and the last, which others share.
    let freed = ids.len() as u64 * (BYTES - 2 * 4096);
    assert!(room + freed <= long, "{long} bytes take {room}, and {freed} of them are erased");
    let before = client.list("?limit=100");
    let node = node.kill().start();
    assert_eq!(node.client().list("?limit=100"), before);
    let _directory = node.stop();
    run("", &["check", "--data", data.to_str().unwrap()]).ok();
}

#[test]
fn kills_while_it_is_erased_lose_nothing_and_it_is_erased_in_the_end() {
    let (mut node, secrets) = filled(NodeBuilder::new().flags(&SHORT_SEGMENTS), 300);
    let data = node.data();
    secrets.iter().for_each(|id| redacted(&mut node.client(), *id));
    let before = shown(&mut node.client(), &secrets);
    // Each kill comes when some segment has just been written anew.
    let (mut kills, mut there) = (0, holding(&data, "secret").len());
    assert!(there > 8, "{there} files hold it");
    while there > 0 {
        eventually("less is left", || holding(&data, "secret").len() < there);
        there = holding(&data, "secret").len();
        kills += usize::from(there > 0);
        node = node.kill().start();
        assert_eq!(shown(&mut node.client(), &secrets), before);
    }
    assert!(kills > 0, "killed {kills} times while some was erased and some was not");
    within(Duration::from_secs(60), "the bytes are gone", || holding(&data, "secret").is_empty());
    assert_eq!(shown(&mut node.client(), &secrets), before);
    let _directory = node.stop();
    run("", &["check", "--data", data.to_str().unwrap()]).ok();
}

#[test]
fn it_is_erased_of_a_checkpoint_too() {
    let flags = ["--retain-min-changes", "10", "--retain-min-age", "1ms"];
    let builder = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags);
    let (node, secrets) = filled(builder, 120);
    let data = node.data();
    let client = &mut node.client();
    let checkpoint = |path: &PathBuf| path.extension().is_some_and(|end| end == "checkpoint");
    eventually("a checkpoint holds some", || holding(&data, "secret").iter().any(checkpoint));
    secrets.iter().for_each(|id| {
        // What is purged and the version of no key is told so; here each is one.
        redacted(client, *id);
    });
    within(Duration::from_secs(60), "the bytes are gone", || holding(&data, "secret").is_empty());
    for n in 0..120 {
        let key = client.get(&format!("/tenants/t/collections/c/keys/k{n}")).json();
        assert_eq!(key["redacted"] == true, n % 3 == 0, "{key}");
    }
    let node = node.kill().start();
    let keys = node.client().get("/tenants/t/collections/c/keys?limit=1000").text().to_owned();
    assert!(!keys.contains("secret") && keys.matches("redacted").count() == 40);
}

#[test]
fn what_is_purged_and_redacted_is_told_so() {
    let flags = ["--retain-min-changes", "10", "--retain-min-age", "1ms"];
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start();
    let client = &mut node.client();
    let filler = json!({"data": "x".repeat(9_000)}).to_string();
    eventually("something is purged", || {
        client.append(&filler);
        client.get("/changes/1").status == 410
    });
    redact(client, 1).problem(410, "purged");
}

#[test]
fn a_backup_holds_nothing_that_is_redacted() {
    let (node, secrets) = filled(NodeBuilder::new().flags(&SHORT_SEGMENTS), 60);
    let client = &mut node.client();
    secrets.iter().for_each(|id| redacted(client, *id));
    // At once: the node's own files hold it still.
    let to = temporary();
    let out = to.path().join("copy");
    run(&node.url(), &["backup", "--out", out.to_str().unwrap()]).ok();
    assert!(holding(&out, "secret").is_empty());
    assert!(!holding(&out, "public").is_empty());
    let restored = to.path().join("restored");
    let arguments =
        ["restore", "--from", out.to_str().unwrap(), "--data", restored.to_str().unwrap()];
    run("", &arguments).ok();
    let again = NodeBuilder::bare(&to, &restored).flags(&SHORT_SEGMENTS).start();
    assert_eq!(shown(&mut again.client(), &secrets), shown(client, &secrets));
}
