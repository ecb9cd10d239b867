//! The examples every user starts from.

use serde_json::json;

use testkit::Node;

#[test]
fn a_posted_change_gets_the_next_id() {
    let node = Node::start();
    let mut client = node.client();
    for id in 1..=3 {
        let answer = client.post(r#"{ "data": { "This": "is", "some": "JSON" } }"#);
        assert_eq!(answer.status, 201);
        assert_eq!(answer.text(), format!("{{\"_id\":{id}}}"));
        assert_eq!(answer.header("location"), Some(format!("/changes/{id}").as_str()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn curl_without_a_content_type_of_json_is_understood() {
    let node = Node::start();
    let body = br#"{ "data": { "This": "is", "some": "JSON" } }"#;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut client = node.client();
    assert_eq!(client.request("POST", "/changes", &form, body).text(), r#"{"_id":1}"#);
    assert_eq!(client.request("POST", "/changes", &[], body).text(), r#"{"_id":2}"#);
}

#[test]
fn get_changes_with_a_limit_lists_from_the_start() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{ "data": { "This": "is", "some": "JSON" } }"#);
    let list = client.list("?limit=100");
    let ts = list["changes"][0]["_ts"].as_u64().expect("a time");
    assert_eq!(
        list,
        json!({
            "changes": [{"_id": 1, "_ts": ts, "data": {"This": "is", "some": "JSON"}}],
            "atStart": true,
            "atEnd": true,
            "last": 1,
        })
    );
    let seconds = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(ts / 1_000_000 <= seconds && ts / 1_000_000 + 60 > seconds, "{ts} is not now");
}

#[test]
fn get_changes_since_an_id_lists_what_follows() {
    let node = Node::start();
    let mut client = node.client();
    for n in 1..=3 {
        client.append(format!("{{\"data\":{n}}}"));
    }
    let list = client.list("?since=2&limit=100");
    assert_eq!(list["changes"].as_array().unwrap().len(), 1);
    assert_eq!(list["changes"][0]["_id"], 3);
    assert_eq!(list["last"], 3);
}

#[test]
fn get_changes_with_block_waits_for_the_next_change() {
    let node = Node::start();
    node.client().append(r#"{"data":"old"}"#);
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?since=1&limit=100&block=60", &[], b"");
    node.client().append(r#"{"data":"new"}"#);
    let list = waiting.answer().json();
    assert_eq!(list["changes"][0]["_id"], 2);
    assert_eq!(list["changes"][0]["data"], "new");
}

#[test]
fn health_ready_and_the_index_answer() {
    let node = Node::start();
    let mut client = node.client();
    for path in ["/health", "/ready", "/"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.json().is_object(), "{path}");
    }
    let index = client.get("/").json();
    let resources = index["resources"].as_array().unwrap();
    for path in ["/changes", "/tenants", "/tokens", "/session", "/tickets", "/cluster"] {
        assert!(resources.contains(&json!(path)), "{path}: {index}");
    }
}
