//! `prev`: each change of a key says which version it replaced, wherever it is read, from memory
//! and from the disk.

use std::collections::HashMap;

use serde_json::{Value, json};

use testkit::{Bar, Client, Node, SHORT_SEGMENTS, Stream, eventually, files, ids};

#[test]
fn a_change_of_a_key_says_which_version_it_replaced() {
    let mut bar = Bar::start();
    let (k, collection) = (bar.key("k"), bar.collection.clone());
    let client = &mut bar.client;
    let mut put = |data: u64| client.put(&k, json!({"data": data}).to_string()).id();
    assert_eq!((put(1), put(2)), (1, 2));
    // In one batch, with changes of no key and of another one.
    let lines = format!(
        "{{\"data\":0}}\n{{\"collection\":\"{collection}\",\"key\":\"k\",\"data\":3}}\n\
         {{\"collection\":\"{collection}\",\"key\":\"other\",\"data\":3}}\n\
         {{\"collection\":\"{collection}\",\"key\":\"k\",\"data\":4}}"
    );
    assert_eq!(client.post_lines("/changes", &lines).json()["first"], 3);
    assert_eq!(client.delete(&k).id(), 7);
    assert_eq!(client.put(&k, r#"{"data":"new"}"#).id(), 8);

    let wanted = [
        json!(null),
        json!(1),
        json!(null),
        json!(2),
        json!(null),
        json!(4),
        json!(6),
        // There was none any more.
        json!(null),
    ];
    let shown = |page: &Value| -> Vec<Value> {
        page["changes"].as_array().unwrap().iter().map(|change| change["prev"].clone()).collect()
    };
    let path = format!("/collections/{collection}/changes");
    assert_eq!(shown(&client.list("")), wanted);
    assert_eq!(shown(&client.list("?before=now")), wanted);
    assert_eq!(shown(&client.page(&path)).len(), 7);
    for id in 1..=8_u64 {
        let change = client.get(&format!("/changes/{id}")).json();
        assert_eq!(change["prev"], wanted[id as usize - 1], "{id}");
    }
    let text = client.get("/changes/2").text().to_owned();
    assert!(text.starts_with("{\"_id\":2,\"_ts\":") && text.contains(",\"prev\":1,\"tenant\":"));
    let mut events = Stream::open(bar.node.client(), "/changes?since=1", "text/event-stream");
    assert_eq!(events.event().map(|event| event.data), Some(text.clone()));
    let mut lines = Stream::open(bar.node.client(), "/changes?since=1", "application/x-ndjson");
    assert_eq!(lines.change(), Some(text));

    let client = &mut bar.client;
    assert_eq!(client.put(&k, r#"{"data":"newer"}"#).id(), 9);
    assert_eq!(client.get(&k).json()["prev"], 8);
    let listed = client.page(&format!("/collections/{collection}/keys"));
    assert_eq!((&listed["keys"][0]["prev"], &listed["keys"][1]["prev"]), (&json!(8), &json!(null)));
    assert_eq!(client.request("POST", "/changes/9/redact", &[], b"").status, 200);
    let redacted = client.get("/changes/9").json();
    assert_eq!((&redacted["prev"], &redacted["redacted"]), (&json!(8), &json!(true)));
}

/// The whole list, every change of which must say what the ones before it imply.
fn checked(client: &mut Client) -> Vec<Value> {
    let (mut all, mut since, mut current) = (Vec::new(), 0, HashMap::new());
    loop {
        let page = client.list(&format!("?since={since}&limit=1000"));
        all.extend(page["changes"].as_array().unwrap().iter().cloned());
        since = page["last"].as_u64().unwrap();
        if page["atEnd"] == true {
            break;
        }
    }
    for change in &all {
        let Some(key) = change["key"].as_str() else { continue };
        let id = change["_id"].clone();
        let before = match change["deleted"].is_null() {
            true => current.insert(key.to_owned(), id),
            false => current.remove(key),
        };
        assert_eq!(change["prev"], before.unwrap_or_default(), "{change}");
    }
    all
}

fn fill(bar: &mut Bar, batches: usize) {
    let collection = bar.collection.clone();
    for n in 0..batches {
        let lines: Vec<String> = (0..40)
            .map(|m| match (n * 7 + m * 3) % 11 {
                0 | 5 => format!("{{\"data\":\"{}\"}}", "x".repeat(300)),
                key => format!(
                    "{{\"collection\":\"{collection}\",\"key\":\"k{key}\",\"data\":\"{}\"}}",
                    "y".repeat(300)
                ),
            })
            .collect();
        assert_eq!(bar.client.post_lines("/changes", &lines.join("\n")).status, 201);
        if n % 9 == 0 {
            let key = bar.key("k3");
            assert_eq!(bar.client.delete(&key).status, 200);
        }
    }
}

#[test]
fn it_is_the_same_from_memory_from_index_files_and_after_a_kill() {
    let mut bar = Bar::on(Node::with(&SHORT_SEGMENTS));
    fill(&mut bar, 200);
    let before = checked(&mut bar.client);
    let data = bar.node.data();
    eventually("complete segments have an index", || {
        let count = |end| files(&data).keys().filter(|name| name.extension() == Some(end)).count();
        let indexes = count(std::ffi::OsStr::new("index"));
        indexes > 2 && indexes + 2 >= count(std::ffi::OsStr::new("seg"))
    });
    assert_eq!(checked(&mut bar.client), before);
    let mut bar = bar.again(Node::kill);
    assert_eq!(checked(&mut bar.client), before, "from index files, and from the last segment");
    fill(&mut bar, 3);
    checked(&mut bar.client);
}

#[test]
fn the_current_version_of_a_key_says_it_after_its_change_is_purged() {
    let flags: Vec<&str> =
        SHORT_SEGMENTS.iter().copied().chain(["--retain-min-changes", "100"]).collect();
    let mut bar = Bar::on(Node::with(&flags));
    let (one, two) = (bar.key("one"), bar.key("two"));
    for key in [&one, &two, &one] {
        bar.client.put(key, r#"{"data":1}"#);
    }
    let before = [one.clone(), two.clone()].map(|key| bar.client.get(&key).text().to_owned());
    fill(&mut bar, 200);
    eventually("history is purged", || ids(&bar.client.list("?limit=1"))[0] > 1000);
    let held = [one.clone(), two.clone()].map(|key| bar.client.get(&key).text().to_owned());
    assert_eq!(held, before);
    assert_eq!(bar.client.put(&one, r#"{"data":2}"#).status, 200);
    assert_eq!(bar.client.get(&one).json()["prev"], 3);
    let mut bar = bar.again(Node::kill);
    assert_eq!(bar.client.get(&two).text(), before[1]);
    assert_eq!(bar.client.get(&one).json()["prev"], 3);
}
