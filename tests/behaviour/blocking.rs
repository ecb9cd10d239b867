//! `block`: lists that wait for what is not there yet.

use std::time::{Duration, Instant};

use serde_json::json;

use testkit::Node;

#[test]
fn a_blocked_list_answers_at_once_when_there_is_something() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    let start = Instant::now();
    assert_eq!(client.list("?block=60")["last"], 1);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_blocked_list_answers_at_once_on_a_commit() {
    let node = Node::start();
    let mut client = node.client();
    let mut waiting = node.client();
    for id in 1..=20 {
        waiting.send_request("GET", &format!("/changes?since={}&block=300", id - 1), &[], b"");
        client.sees_parked(1);
        assert_eq!(client.append(format!("{{\"data\":{id}}}")), id);
        let list = waiting.answer().json();
        assert_eq!(list["changes"][0]["data"], id, "{list}");
        assert_eq!(list["atEnd"], true);
        assert_eq!(list["last"], id);
    }
}

#[test]
fn a_blocked_list_times_out_empty_at_its_time() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    for seconds in ["0.3", "1", "1.25"] {
        let start = Instant::now();
        let list = client.list(&format!("?since=1&block={seconds}"));
        let took = start.elapsed();
        let wanted = Duration::from_secs_f64(seconds.parse().unwrap());
        assert_eq!(list, json!({"changes": [], "atStart": false, "atEnd": true, "last": 1}));
        assert!(took >= wanted, "{took:?} for block={seconds}");
        assert!(took < wanted + Duration::from_secs(3), "{took:?} for block={seconds}");
    }
}

#[test]
fn block_zero_does_not_wait() {
    let node = Node::start();
    let mut client = node.client();
    for query in ["?block=0", "?block=0.0"] {
        let start = Instant::now();
        assert_eq!(client.list(query)["changes"], json!([]));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_block_above_300_seconds_is_taken() {
    let node = Node::start();
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?block=99999999999999999999999999", &[], b"");
    let mut client = node.client();
    client.sees_parked(1);
    client.append(r#"{"data":1}"#);
    assert_eq!(waiting.answer().json()["last"], 1);
}

#[test]
fn a_refused_write_wakes_nobody() {
    let node = Node::start();
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?block=300", &[], b"");
    let mut client = node.client();
    client.sees_parked(1);
    for _ in 0..100 {
        client.post(r#"{"dat":1}"#).problem(400, "unknown-member");
        client.post(r#"[{"data":1},{}]"#).problem(400, "missing-member");
    }
    assert_eq!(client.parked(), 1, "it waits still");
    // Whoever was woken before would have answered without it.
    client.append(r#"{"data":"taken"}"#);
    assert_eq!(waiting.answer().json()["changes"][0]["data"], "taken");
}

#[test]
fn a_filtered_list_sleeps_through_commits_of_other_tags() {
    let node = Node::start();
    let mut waiting = node.client();
    let start = Instant::now();
    waiting.send_request("GET", "/changes?tag=a&block=3", &[], b"");
    let mut client = node.client();
    client.sees_parked(1);
    let mut newest = 0;
    for _ in 0..100 {
        newest = client.append(r#"{"tags":["b"],"data":1}"#);
    }
    let list = waiting.answer().json();
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(list["changes"], json!([]));
    assert_eq!(list["last"], newest, "what was examined need not be examined again");
}

#[test]
fn a_filtered_list_answers_when_its_tag_comes() {
    let node = Node::start();
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?tag=a&tag=z&block=60", &[], b"");
    let mut client = node.client();
    client.sees_parked(1);
    for _ in 0..10 {
        client.append(r#"{"tags":["b"],"data":1}"#);
    }
    client.append(r#"{"tags":["b","z"],"data":2}"#);
    let list = waiting.answer().json();
    assert_eq!(list["changes"].as_array().unwrap().len(), 1);
    assert_eq!(list["changes"][0]["_id"], 11);
}

#[test]
fn since_now_waits_for_what_comes_after() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":"before"}"#);
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?since=now&block=60", &[], b"");
    client.sees_parked(1);
    client.append(r#"{"data":"after"}"#);
    let list = waiting.answer().json();
    assert_eq!(list["changes"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["changes"][0]["data"], "after");
}

#[test]
fn a_thousand_blocked_lists_are_answered_by_one_change() {
    const WAITING: usize = 1000;
    let node = Node::start();
    let mut waiting: Vec<_> = (0..WAITING).map(|_| node.client()).collect();
    for client in &mut waiting {
        client.send_request("GET", "/changes?block=300", &[], b"");
    }
    let mut client = node.client();
    client.sees_parked(WAITING);
    client.append(r#"{"data":"for all"}"#);
    let mut first = None;
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        let body = first.get_or_insert_with(|| answer.body.clone());
        assert_eq!(&answer.body, body);
    }
    assert!(String::from_utf8(first.unwrap()).unwrap().contains("for all"));
}

#[test]
fn a_request_behind_a_blocked_list_is_answered_after_it() {
    let node = Node::start();
    let mut client = node.client();
    client.send(
        "GET /changes?block=60 HTTP/1.1\r\nHost: a\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let mut other = node.client();
    other.sees_parked(1);
    other.append(r#"{"data":1}"#);
    assert_eq!(client.answer().json()["last"], 1);
    assert_eq!(client.answer().json(), json!({"status": "ok"}));
}

#[test]
fn an_answer_before_a_blocked_list_does_not_wait_for_it() {
    let node = Node::start();
    let mut client = node.client();
    client.send(
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /changes?block=60 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().json(), json!({"status": "ok"}));
    node.client().append(r#"{"data":1}"#);
    assert_eq!(client.answer().json()["last"], 1);
}

#[test]
fn a_blocked_head_request_waits_like_a_get() {
    let node = Node::start();
    let mut client = node.client();
    client.send_request("HEAD", "/changes?block=60", &[], b"");
    let mut other = node.client();
    other.sees_parked(1);
    other.append(r#"{"data":1}"#);
    let answer = client.answer_to_head();
    assert_eq!((answer.status, answer.last()), (200, 1));
}
