//! `GET …/keys?prefix=P&since=N`: which keys under a prefix moved.

use std::time::Duration;

use serde_json::{Value, json};

use testkit::{Bar, Client, NodeBuilder, eventually, ids};

fn moved(client: &mut Client, target: &str) -> (Vec<(String, u64, bool)>, bool, u64) {
    let page = client.page(target);
    let keys = page["keys"].as_array().unwrap().iter().map(|change: &Value| {
        let deleted = change["deleted"] == json!(true);
        (change["key"].as_str().unwrap().to_owned(), change["_id"].as_u64().unwrap(), deleted)
    });
    (keys.collect(), page["atEnd"] == true, page["last"].as_u64().unwrap())
}

fn key(name: &str, id: u64) -> (String, u64, bool) {
    (name.to_owned(), id, false)
}

#[test]
fn each_key_that_moved_is_told_once_with_its_newest_change() {
    let mut bar = Bar::start();
    let keys = bar.keys.clone();
    for (n, name) in ["a/1", "b/1", "a/2", "a/1", "a/3", "b/1"].into_iter().enumerate() {
        assert_eq!(bar.put(name, n), n as u64 + 1);
    }
    bar.client.append(r#"{"data":7}"#);
    let gone = bar.key("a/3");
    assert_eq!(bar.client.delete(&gone).id(), 8);
    let client = &mut bar.client;
    let deleted = ("a/3".to_owned(), 8, true);
    for (query, wanted) in [
        ("since=0&prefix=a/", (vec![key("a/2", 3), key("a/1", 4), deleted.clone()], true, 8)),
        ("since=3&prefix=a/", (vec![key("a/1", 4), deleted.clone()], true, 8)),
        ("since=4&prefix=b", (vec![key("b/1", 6)], true, 8)),
        ("since=4", (vec![key("b/1", 6), deleted.clone()], true, 8)),
        ("since=8&prefix=a/", (vec![], true, 8)),
        ("since=0&prefix=none", (vec![], true, 8)),
        ("since=0&prefix=a/&limit=2", (vec![key("a/2", 3), key("a/1", 4)], false, 4)),
        ("since=4&prefix=a/&limit=2", (vec![deleted.clone()], true, 8)),
    ] {
        assert_eq!(moved(client, &format!("{keys}?{query}")), wanted, "{query}");
    }
    let problem = client.get(&format!("{keys}?since=1&after=a")).problem(400, "invalid-parameter");
    assert_eq!(problem["parameter"], "after");
    // Without `since` it is the list of keys, as ever.
    assert_eq!(client.page(&format!("{keys}?prefix=a/"))["atEnd"], true);
}

#[test]
fn a_key_that_was_deleted_more_than_once_is_told_of_with_each_and_with_the_last_of_them_last() {
    let mut bar = Bar::start();
    let (keys, gone) = (bar.keys.clone(), bar.key("gone"));
    for _ in 0..2 {
        bar.put("gone", 1);
        bar.client.delete(&gone).id();
    }
    let deleted = |id| ("gone".to_owned(), id, true);
    let all = moved(&mut bar.client, &format!("{keys}?since=0"));
    assert_eq!(all, (vec![deleted(2), deleted(4)], true, 4));
    // Whoever has the first is told that it moved once more.
    let rest = moved(&mut bar.client, &format!("{keys}?since=2"));
    assert_eq!(rest, (vec![deleted(4)], true, 4));
    // Once it is there, its newest change is all that is told.
    assert_eq!(bar.put("gone", 2), 5);
    assert_eq!(moved(&mut bar.client, &format!("{keys}?since=0")), (vec![key("gone", 5)], true, 5));
}

#[test]
fn a_wait_ends_when_a_key_under_the_prefix_moves() {
    let mut bar = Bar::start();
    let keys = bar.keys.clone();
    let since = bar.put("a/1", 1);
    let mut waiting = bar.node.client();
    waiting.send_request("GET", &format!("{keys}?prefix=a/&since={since}&block=60"), &[], b"");
    bar.client.sees_parked(1);
    bar.put("b/1", 1);
    bar.client.append(r#"{"data":1}"#);
    assert!(!waiting.hears_within(Duration::from_millis(200)), "others do not concern it");
    let id = bar.put("a/2", 1);
    let page = waiting.answer().json();
    assert_eq!((&page["keys"][0]["key"], &page["last"]), (&json!("a/2"), &json!(id)));
    assert_eq!(page["keys"].as_array().unwrap().len(), 1);

    let target = format!("{keys}?prefix=a/&since={id}&block=0.2");
    assert_eq!(moved(&mut bar.client, &target), (vec![], true, id));
    let mut waiting = bar.node.client();
    waiting.send_request("GET", &format!("{keys}?prefix=a/&since={id}&block=60"), &[], b"");
    bar.client.sees_parked(1);
    let collection = bar.collection.clone();
    bar.client.delete(&format!("/collections/{collection}")).id();
    waiting.answer().problem(404, "not-found");
}

#[test]
fn what_is_purged_is_told() {
    let node = NodeBuilder::new().flags(&["--retain-min-changes", "1000"]).start();
    let mut bar = Bar::on(node);
    bar.put("k", 1);
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
    (0..16).for_each(|_| assert_eq!(bar.client.post_lines("/changes", &batch).status, 201));
    let mut first = 1;
    eventually("history is purged", || {
        first = ids(&bar.client.list("?limit=1"))[0];
        first > 4000
    });
    let keys = bar.keys.clone();
    for since in [0, first - 2] {
        let problem = bar.client.get(&format!("{keys}?since={since}")).problem(410, "purged");
        assert_eq!(problem["first"], first);
    }
    assert_eq!(moved(&mut bar.client, &format!("{keys}?since={}", first - 1)).0, []);
}
