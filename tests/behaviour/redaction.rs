//! A redaction takes the data and the tags of a change away: from every answer, and for ever.

use serde_json::{Value, json};

use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS};

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
    let mut all: Vec<String> = paths.iter().map(|path| client.get(path).text().into()).collect();
    let lines = [("Accept", "application/x-ndjson")];
    all.push(client.request("GET", "/changes", &lines, b"").text().into());
    all
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
