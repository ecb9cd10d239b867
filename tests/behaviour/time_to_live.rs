//! Keys with a time to live: each version expires once, after its time, by a change that says
//! so, over kills, restarts, purges and copies, and never in the place of a newer one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use testkit::{Bar, Client, Node, NodeBuilder, SHORT_SEGMENTS, Stream, eventually, run, temporary};

/// All changes of a node.
fn changes(node: &Node) -> Vec<Value> {
    let lines = Stream::open(node.client(), "/changes", "application/x-ndjson").changes();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The key that a change is the expiry of.
fn expired(change: &Value) -> Option<&str> {
    let key = change["key"].as_str()?;
    change.get("expired")?;
    assert_eq!((&change["deleted"], &change["expired"]), (&json!(true), &json!(true)));
    assert!(change.get("data").is_none() && change.get("ttl").is_none(), "{change}");
    Some(key)
}

/// Checks that each key expired as often as `times` says, and each time as the version before
/// had lived as long as it was to live.
fn expired_each(changes: &[Value], times: &BTreeMap<&str, usize>) {
    let (mut found, mut current) = (BTreeMap::new(), BTreeMap::<&str, &Value>::new());
    for (place, change) in changes.iter().enumerate() {
        assert_eq!(change["_id"], place + 1, "ids are dense");
        if let Some(key) = expired(change) {
            *found.entry(key).or_insert(0) += 1;
            let before = current.remove(key).expect("it was there");
            let ttl = before["ttl"].as_u64().expect("it had a time to live");
            let due = before["_ts"].as_u64().unwrap() + ttl * 1_000_000;
            assert!(change["_ts"].as_u64().unwrap() >= due, "{change} is not early for {before}");
        } else if let Some(key) = change["key"].as_str() {
            current.insert(key, change);
        }
    }
    assert_eq!(&found, times);
}

fn put(bar: &mut Bar, key: &str, ttl: Option<u64>) -> u64 {
    let target = bar.key(key);
    let body = ttl.map_or(json!({ "data": 1 }), |ttl| json!({ "data": 1, "ttl": ttl }));
    bar.client.put(&target, body.to_string()).id()
}

/// Waits until a key is not there.
fn is_gone(client: &mut Client, target: &str) {
    eventually("it expires", || client.get(target).status == 404);
}

/// Writes keys `k0` on with a time to live of a second.
fn put_many(bar: &mut Bar, count: usize) {
    for from in (0..count).step_by(1000) {
        let item = |n: usize| format!("{{\"key\":\"k{n}\",\"data\":{n},\"ttl\":1}}\n");
        let lines: String = (from..count.min(from + 1000)).map(item).collect();
        assert_eq!(bar.client.post_lines(&bar.keys.clone(), &lines).status, 201);
    }
}

#[test]
fn a_key_expires_by_a_change_that_says_so() {
    let mut bar = Bar::start();
    let forever = put(&mut bar, "forever", None);
    let body = json!({ "key": "baz", "ttl": 1, "tags": ["t"], "data": 1 }).to_string();
    let id = bar.client.json("POST", &bar.keys.clone(), body).id();
    let written = bar.client.get(&bar.key("baz"));
    assert_eq!(written.json()["ttl"], 1);
    let head =
        format!(r#""collection":"{}","key":"baz","ttl":1,"tags":["t"],"data":1}}"#, bar.collection);
    assert!(written.text().ends_with(&head), "{}", written.text());
    assert_eq!(bar.client.metric("expiring_keys"), 1);

    // A wait for the key ends with it.
    let target = bar.key("baz");
    assert_eq!(bar.client.get(&format!("{target}?since={id}&block=30")).status, 404);
    let change = bar.client.page(&format!("/changes/{}", id + 1));
    let at = |change: &Value| change["_ts"].as_u64().unwrap();
    let wanted = json!({
        "_id": id + 1, "_ts": at(&change), "tenant": bar.tenant, "collection": bar.collection,
        "key": "baz", "prev": id, "deleted": true, "expired": true,
    });
    assert_eq!(change, wanted);
    assert!(at(&change) >= at(&written.json()) + 1_000_000, "it is not early");
    let keys = bar.client.page(&bar.keys.clone());
    assert_eq!(
        (keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["_id"]),
        (1, &json!(forever))
    );
    let list = bar.client.page(&format!("/collections/{}/changes?since={id}", bar.collection));
    assert_eq!(list["changes"], json!([change]));
    assert_eq!(bar.client.metric("expiring_keys"), 0);
    // It is not there for conditions, either.
    let (is_it, is_absent) = ([("If-Match", "*")], [("If-None-Match", "*")]);
    let refused = bar.client.json_with("PUT", &target, &is_it, r#"{"data":2}"#);
    assert_eq!(refused.problem(412, "precondition-failed")["current"], Value::Null);
    let created = bar.client.json_with("PUT", &target, &is_absent, r#"{"data":2}"#);
    assert_eq!(created.status, 201);
}

#[test]
fn a_later_write_shortens_lengthens_or_removes_a_time_to_live() {
    let mut bar = Bar::start();
    for (key, ttls) in [
        ("lengthened", [Some(1), Some(3600)]),
        ("shortened", [Some(3600), Some(1)]),
        ("removed", [Some(1), None]),
        ("added", [None, Some(1)]),
        ("same", [Some(1), Some(1)]),
        ("deleted", [Some(1), Some(2)]),
    ] {
        for ttl in ttls {
            put(&mut bar, key, ttl);
        }
    }
    let target = bar.key("deleted");
    assert_eq!(bar.client.delete(&target).status, 200);
    assert_eq!(bar.client.metric("expiring_keys"), 4);
    // What was due before it has expired before it.
    put(&mut bar, "last", Some(3));
    let target = bar.key("last");
    is_gone(&mut bar.client, &target);
    let once = ["shortened", "added", "same", "last"];
    expired_each(&changes(&bar.node), &once.into_iter().map(|key| (key, 1)).collect());
    for (key, status) in [("lengthened", 200), ("removed", 200), ("shortened", 404)] {
        let target = bar.key(key);
        assert_eq!(bar.client.get(&target).status, status, "{key}");
    }
}

#[test]
fn what_expires_is_gone_once_over_kills() {
    const COUNT: usize = 20_000;
    let mut bar = Bar::start();
    put(&mut bar, "forever", Some(100_000));
    put_many(&mut bar, COUNT);
    let live = |client: &mut Client| client.metric("expiring_keys") as usize;
    // First before anything is due, as far as the machine is quick enough, then on the way.
    let mut builder = bar.node.kill();
    let mut killed_halfway = 0;
    let node = loop {
        let node = builder.start();
        let mut client = node.client();
        eventually("some expire", || live(&mut client) <= COUNT * 4 / 5);
        match live(&mut client) {
            1 => break node,
            left if killed_halfway < 2 => {
                killed_halfway += 1;
                assert!(left > 1);
                builder = node.kill();
                continue;
            }
            _ => eventually("all expire", || live(&mut client) == 1),
        }
        break node;
    };
    assert!(killed_halfway > 0, "no kill was on the way");
    let names: Vec<String> = (0..COUNT).map(|n| format!("k{n}")).collect();
    expired_each(&changes(&node), &names.iter().map(|name| (&**name, 1)).collect());
    // And it stays so.
    let node = node.kill().start();
    assert_eq!(live(&mut node.client()), 1);
    assert_eq!(changes(&node).len(), 2 * COUNT + 1);
}

#[test]
fn what_is_due_while_the_node_is_down_expires_when_it_is_back() {
    let mut bar = Bar::start();
    let written = put(&mut bar, "k", Some(1));
    let (target, due) =
        (bar.key("k"), std::time::Instant::now() + std::time::Duration::from_secs(1));
    let builder = bar.node.kill();
    eventually("it is due", || std::time::Instant::now() > due);
    let node = builder.start();
    is_gone(&mut node.client(), &target);
    expired_each(&changes(&node), &[("k", 1)].into());
    assert_eq!(changes(&node).len() as u64, written + 1);
}

#[test]
fn a_time_to_live_outlives_index_files_purges_and_restarts() {
    let flags = ["--retain-min-changes", "10"];
    let mut bar = Bar::on(NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start());
    put(&mut bar, "forever", Some(100_000));
    put(&mut bar, "soon", Some(15));
    put(&mut bar, "once", Some(20));
    put(&mut bar, "once", None);
    for _ in 0..100 {
        bar.client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
    let start =
        |client: &mut Client| client.list("?limit=1")["changes"][0]["_id"].as_u64().unwrap();
    eventually("they are purged", || start(&mut bar.client) > 4);
    let (soon, once) = (bar.key("soon"), bar.key("once"));
    let node = bar.node.kill().start();
    let mut client = node.client();
    assert!(start(&mut client) > 4, "the keys are in the checkpoint alone");
    assert_eq!((client.metric("expiring_keys"), client.get(&soon).status), (2, 200));
    is_gone(&mut client, &soon);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    assert_eq!(expired(&client.page(&format!("/changes/{last}"))), Some("soon"));
    assert_eq!((client.get(&once).status, client.metric("expiring_keys")), (200, 1));
}

#[test]
fn what_is_no_time_to_live_is_refused_and_told() {
    let mut bar = Bar::start();
    let (keys, key) = (bar.keys.clone(), bar.key("k"));
    for ttl in ["0", "-1", "1.5", "3153600001", "1e3"] {
        for (method, target, member) in [("POST", &keys, r#""key":"k","#), ("PUT", &key, "")] {
            let body = format!("{{{member}\"data\":1,\"ttl\":{ttl}}}");
            let problem = bar.client.json(method, target, &body).problem(400, "invalid-parameter");
            assert_eq!((&problem["member"], problem["offset"].is_u64()), (&json!("ttl"), true));
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("1 to 3153600000"), "{detail}");
        }
    }
    for ttl in ["\"60\"", "null", "[1]"] {
        let body = format!("{{\"data\":1,\"ttl\":{ttl}}}");
        let problem = bar.client.put(&key, &body).problem(400, "invalid-json");
        assert_eq!(problem["member"], "ttl");
    }
    let of_none = format!(r#"{{"collection":"{}","data":1,"ttl":1}}"#, bar.collection);
    for body in [r#"{"data":1,"ttl":1}"#, &*of_none] {
        let problem = bar.client.json("POST", "/changes", body).problem(400, "missing-member");
        assert_eq!(problem["member"], "key");
    }
    bar.client.put(&format!("{key}?ttl=1"), r#"{"data":1}"#).problem(400, "invalid-parameter");
    let expired = r#"{"data":1,"expired":true}"#;
    assert_eq!(bar.client.put(&key, expired).problem(400, "unknown-member")["member"], "expired");
    bar.node.holds(0);
}

#[test]
fn a_repeat_with_another_time_to_live_is_another_request() {
    let mut bar = Bar::start();
    let (key, headers) = (bar.key("k"), [("Idempotency-Key", "once")]);
    let mut put = |body| bar.client.json_with("PUT", &key, &headers, body);
    let id = put(r#"{"data":1,"ttl":100}"#).id();
    assert_eq!(put(r#"{"data":1,"ttl":100}"#).id(), id);
    put(r#"{"data":1,"ttl":101}"#).problem(422, "idempotency-mismatch");
    put(r#"{"data":1}"#).problem(422, "idempotency-mismatch");
}

#[test]
fn a_backup_has_what_is_to_expire_and_a_restored_node_has_it_expire() {
    let mut bar = Bar::start();
    put(&mut bar, "later", Some(100_000));
    put(&mut bar, "soon", Some(5));
    let directory = temporary();
    let (out, data) = (directory.path().join("backup"), directory.path().join("data"));
    run(&bar.node.url(), &["backup", "--out", out.to_str().unwrap()]).ok();
    let arguments = ["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run("http://127.0.0.1:1", &arguments).ok();
    let restored = NodeBuilder::bare(&directory, &data).start();
    let mut client = restored.client();
    assert!(client.metric("expiring_keys") > 0);
    for (node, client) in [(&bar.node, &mut bar.client), (&restored, &mut client)] {
        is_gone(client, &format!("{}/soon", bar.keys));
        expired_each(&changes(node), &[("soon", 1)].into());
        assert_eq!(client.metric("expiring_keys"), 1);
    }
}

#[test]
fn an_import_has_keys_live_from_then_on_and_minds_none_that_is_gone() {
    let mut bar = Bar::start();
    put(&mut bar, "later", Some(100_000));
    put(&mut bar, "soon", Some(1));
    let target = bar.key("soon");
    is_gone(&mut bar.client, &target);
    let directory = temporary();
    let file = directory.path().join("all");
    let file = file.to_str().unwrap();
    run(&bar.node.url(), &["export", "--out", file]).ok();
    let mut other = Bar::start();
    let maps = [
        format!("{}={}", bar.tenant, other.tenant),
        format!("{}={}", bar.collection, other.collection),
    ];
    let import = ["import", file, "--map", &maps[0], "--map", &maps[1]];
    run(&other.node.url(), &import).ok_saying(&["3 lines", "every line acknowledged"]);
    let target = other.key("soon");
    is_gone(&mut other.client, &target);
    let imported = changes(&other.node);
    assert_eq!((&imported[0]["ttl"], &imported[0]["key"]), (&json!(100_000), &json!("later")));
    assert_eq!(other.client.metric("expiring_keys"), 1);
    // The deletion alone, of what is gone.
    let lines = std::fs::read_to_string(file).unwrap();
    let alone = directory.path().join("alone");
    std::fs::write(&alone, lines.lines().last().unwrap()).unwrap();
    let import = ["import", alone.to_str().unwrap(), "--map", &maps[0], "--map", &maps[1]];
    run(&other.node.url(), &import).ok_saying(&["1 skipped", "every line acknowledged"]);
}
