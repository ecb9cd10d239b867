//! How much of its history a tenant keeps: its lists begin later, on every way of reading them,
//! over kills, purges and copies; the whole list and keys are as they were.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use testkit::{Bar, Client, NodeBuilder, SHORT_SEGMENTS, Stream, eventually, ids, run, temporary};

fn retain(client: &mut Client, what: &Value) {
    let answer = client.put("/tenants/foo/retention", what.to_string());
    assert_eq!((answer.status, &answer.json()), (200, what));
}

/// Appends changes of the tenant, some in the collection, and of nobody.
fn fill(bar: &mut Bar, count: u64) {
    for n in 0..count {
        let collection = if n % 2 == 0 {
            format!("\"collection\":\"{}\",", bar.collection)
        } else {
            String::new()
        };
        let body =
            format!("{{\"tenant\":\"foo\",{collection}\"tags\":[\"t{}\"],\"data\":{n}}}", n % 3);
        bar.client.append(body);
        bar.client.append("{\"data\":0}");
    }
}

/// The ids of a list of the tenant from its start.
fn list(client: &mut Client, target: &str) -> Vec<u64> {
    ids(&client.page(&format!("{target}?limit=10000")))
}

fn first(client: &mut Client) -> u64 {
    client.page("/tenants/foo")["first"].as_u64().unwrap_or(0)
}

#[test]
fn a_tenant_keeps_its_newest_changes() {
    let mut bar = Bar::start();
    fill(&mut bar, 50);
    let before = list(&mut bar.client, "/tenants/foo/changes");
    let of_collection = list(&mut bar.client, &format!("/collections/{}/changes", bar.collection));
    assert_eq!(bar.client.page("/tenants/foo"), json!({"tenant": bar.tenant, "name": "foo"}));
    assert_eq!(bar.client.page("/tenants/foo/retention"), json!({}));
    retain(&mut bar.client, &json!({"changes": 10}));
    assert_eq!(bar.client.page("/tenants/foo/retention"), json!({"changes": 10}));
    eventually("its list begins later", || first(&mut bar.client) > 0);
    let tenant = bar.client.page("/tenants/foo");
    let begin = before[39] + 1;
    let wanted = json!({
        "tenant": bar.tenant, "name": "foo", "retention": {"changes": 10}, "first": begin,
    });
    assert_eq!(tenant, wanted);
    for (target, all) in [
        ("/tenants/foo/changes".to_owned(), &before),
        (format!("/collections/{}/changes", bar.collection), &of_collection),
    ] {
        let kept: Vec<u64> = all.iter().copied().filter(|id| *id >= begin).collect();
        assert_eq!(list(&mut bar.client, &target), kept);
        let page = bar.client.page(&format!("{target}?limit=1"));
        assert_eq!((&page["atStart"], &page["atEnd"]), (&json!(true), &json!(false)));
        let page = bar.client.page(&format!("{target}?since={}", begin - 1));
        assert_eq!((ids(&page), &page["atStart"]), (kept.clone(), &json!(true)));
        let after = bar.client.page(&format!("{target}?since={}", kept[0]));
        assert_eq!(after["atStart"], false);
        let problem = bar.client.get(&format!("{target}?since=1")).problem(410, "purged");
        assert_eq!(problem["first"], begin);
        let lines = Stream::open(bar.node.client(), &target, "application/x-ndjson").changes();
        assert_eq!(lines.len(), kept.len());
        let mut events =
            Stream::open(bar.node.client(), &format!("{target}?since=1"), "text/event-stream");
        assert_eq!(events.message().unwrap().name, "reset");
    }
    let tagged = bar.client.page("/tenants/foo/changes?tag=t1&limit=100");
    assert!(ids(&tagged).iter().all(|id| *id >= begin) && !ids(&tagged).is_empty());
    // The whole list has them all, and so has each by its id.
    assert_eq!(list(&mut bar.client, "/changes").len(), 100);
    assert_eq!(bar.client.get(&format!("/changes/{}", before[0])).status, 200);

    // It goes on as more comes, and stops where nothing is set.
    fill(&mut bar, 5);
    eventually("it goes on", || first(&mut bar.client) == before[44] + 1);
    retain(&mut bar.client, &json!({}));
    let tenant = bar.client.page("/tenants/foo");
    assert_eq!((tenant.get("retention"), &tenant["first"]), (None, &json!(before[44] + 1)));
    fill(&mut bar, 5);
    retain(&mut bar.client, &json!({"changes": 15}));
    assert_eq!(list(&mut bar.client, "/tenants/foo/changes").len(), 15);
}

#[test]
fn the_values_of_keys_stay() {
    let mut bar = Bar::start();
    for key in ["a", "b", "a", "c", "c"] {
        let target = bar.key(key);
        assert!(bar.client.put(&target, r#"{"data":1}"#).status < 300);
    }
    retain(&mut bar.client, &json!({"changes": 1}));
    eventually("its list begins later", || first(&mut bar.client) == 5);
    assert_eq!(list(&mut bar.client, "/tenants/foo/changes"), [5]);
    let keys = bar.client.page(&bar.keys.clone());
    let keys: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["_id"]).collect();
    assert_eq!(keys, [3, 2, 5]);
    let target = bar.key("b");
    assert_eq!(bar.client.get(&target).json()["_id"], 2);
}

#[test]
fn a_tenant_keeps_what_is_young() {
    let mut bar = Bar::on(NodeBuilder::new().flags(&SHORT_SEGMENTS).start());
    fill(&mut bar, 20);
    let filler = format!("{{\"data\":\"{}\"}}", "x".repeat(20_000));
    for _ in 0..30 {
        bar.client.append(&filler);
    }
    let old = list(&mut bar.client, "/tenants/foo/changes");
    let written = Instant::now();
    eventually("they are two seconds old", || written.elapsed() > Duration::from_secs(2));
    fill(&mut bar, 3);
    let all = list(&mut bar.client, "/tenants/foo/changes");
    // Both must be over.
    retain(&mut bar.client, &json!({"changes": 100, "age": 1}));
    retain(&mut bar.client, &json!({"changes": 1, "age": 3600}));
    retain(&mut bar.client, &json!({"age": 1000}));
    assert_eq!(list(&mut bar.client, "/tenants/foo/changes"), all);
    assert_eq!(first(&mut bar.client), 0);
    retain(&mut bar.client, &json!({"changes": 21, "age": 1}));
    eventually("what is old and too many goes", || first(&mut bar.client) == all[1] + 1);
    retain(&mut bar.client, &json!({"age": 1}));
    // All get old, the last ones in memory.
    eventually("what is old goes", || first(&mut bar.client) > *old.last().unwrap());
    eventually("all goes", || first(&mut bar.client) == all.last().unwrap() + 1);
    assert_eq!(list(&mut bar.client, "/tenants/foo/changes"), [0; 0]);
    let page = bar.client.page("/tenants/foo/changes");
    assert_eq!((&page["atStart"], &page["atEnd"]), (&json!(true), &json!(true)));
    fill(&mut bar, 1);
    assert_eq!(list(&mut bar.client, "/tenants/foo/changes").len(), 1);
}

#[test]
fn where_a_list_begins_outlives_kills_index_files_purges_and_backups() {
    let flags = ["--retain-min-changes", "400"];
    let mut bar = Bar::on(NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start());
    fill(&mut bar, 250);
    let all = list(&mut bar.client, "/tenants/foo/changes");
    retain(&mut bar.client, &json!({"changes": 30}));
    let begins = all[all.len() - 30];
    eventually("its list begins later", || first(&mut bar.client) > 0);
    let mut node = bar.node;
    let check = |client: &mut Client| {
        assert_eq!(client.page("/tenants/foo/retention"), json!({"changes": 30}));
        assert_eq!(list(client, "/tenants/foo/changes"), all[all.len() - 30..]);
        let problem = client.get("/tenants/foo/changes?since=1").problem(410, "purged");
        assert!(problem["first"].as_u64().unwrap() <= begins);
    };
    check(&mut node.client());
    node = node.kill().start();
    check(&mut node.client());
    let filler = format!("{{\"data\":\"{}\"}}", "x".repeat(40_000));
    let mut client = node.client();
    for _ in 0..100 {
        client.append(&filler);
    }
    let oldest = |client: &mut Client| ids(&client.list("?limit=1"))[0];
    eventually("history is purged", || oldest(&mut client) > 1);
    node = node.kill().start();
    check(&mut node.client());
    let directory = temporary();
    let (out, data) = (directory.path().join("backup"), directory.path().join("data"));
    run(&node.url(), &["backup", "--out", out.to_str().unwrap()]).ok();
    let arguments = ["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run("http://127.0.0.1:1", &arguments).ok();
    let restored = NodeBuilder::bare(&directory, &data).flags(&SHORT_SEGMENTS).start();
    check(&mut restored.client());
}

#[test]
fn what_cannot_be_kept_is_refused_and_told() {
    let mut bar = Bar::start();
    for (body, status, code) in [
        (r#"{"changes":0}"#, 400, "invalid-parameter"),
        (r#"{"age":-1}"#, 400, "invalid-json"),
        (r#"{"days":7}"#, 400, "unknown-member"),
        ("[]", 400, "invalid-json"),
    ] {
        bar.client.put("/tenants/foo/retention", body).problem(status, code);
    }
    bar.client.put("/tenants/none/retention", "{}").problem(404, "not-found");
    bar.client.get("/tenants/none/retention").problem(404, "not-found");
    let refused = bar.client.delete("/tenants/foo/retention");
    refused.problem(405, "method-not-allowed");
    // A repeat is answered as before, though something else is set by then.
    let headers = [("Idempotency-Key", "once")];
    let mut put = |body| bar.client.json_with("PUT", "/tenants/foo/retention", &headers, body);
    assert_eq!(put(r#"{"changes":7}"#).json(), json!({"changes": 7}));
    put(r#"{"changes":8}"#).problem(422, "idempotency-mismatch");
    retain(&mut bar.client, &json!({"age": 60}));
    let repeat =
        bar.client.json_with("PUT", "/tenants/foo/retention", &headers, r#"{"changes":7}"#);
    assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
    assert_eq!(bar.client.page("/tenants/foo/retention"), json!({"age": 60}));
    bar.node.holds(0);
}
