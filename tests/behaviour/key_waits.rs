//! Waiting for one key to change.

use std::time::{Duration, Instant};

use testkit::{Bar, Client, eventually};

/// A client whose request waits, which the node says itself.
fn waiter(bar: &mut Bar, target: &str) -> Client {
    let before = bar.client.parked();
    let mut client = bar.node.client();
    client.send_request("GET", target, &[], b"");
    eventually("it waits", || bar.client.parked() == before + 1);
    client
}

#[test]
fn since_without_block_tells_whether_the_key_has_moved() {
    let mut bar = Bar::start();
    bar.put("other", 0);
    let id = bar.put("k", 1);
    let path = bar.key("k");
    let etag = format!("\"{id}\"");
    for since in [0, 1, 2, 3, i64::MAX as u64] {
        let target = format!("{path}?since={since}");
        let answer = bar.client.get(&target);
        assert_eq!((answer.status, &answer.json()["_id"]), (200, &id.into()), "since {since}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        // Only who says that it has the version is spared it.
        let known = bar.client.request("GET", &target, &[("If-None-Match", &etag)], b"");
        assert_eq!((known.status, known.body.len()), (304, 0), "since {since}");
    }
}

#[test]
fn a_waiting_reader_is_answered_when_its_key_changes() {
    let mut bar = Bar::start();
    let mut id = bar.put("k", 0);
    let path = bar.key("k");
    for n in 1..=10 {
        let target = format!("{path}?since={id}&block=60");
        let mut waiting = waiter(&mut bar, &target);
        id = bar.put("k", n);
        let answer = waiting.answer();
        assert_eq!((answer.status, answer.json()["_id"].as_u64()), (200, Some(id)));
        assert_eq!(answer.json()["data"], n);
        assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
    }
}

#[test]
fn a_waiting_reader_is_answered_at_once_when_the_key_is_newer() {
    let mut bar = Bar::start();
    let old = bar.put("k", 0);
    bar.put("k", 1);
    let start = Instant::now();
    let answer = bar.client.get(&format!("{}?since={old}&block=60", bar.key("k")));
    assert_eq!((answer.status, answer.json()["data"].as_u64()), (200, Some(1)));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_change_of_another_key_wakes_no_reader() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let second = bar.client.collection("foo", "second");
    let target = format!("{}?since={id}&block=60", bar.key("k"));
    let mut waiting = waiter(&mut bar, &target);
    for n in 0..20 {
        bar.put("kk", n);
        bar.client.put(&format!("/collections/{second}/keys/k"), r#"{"data":1}"#).id();
        bar.client.append(format!("{{\"data\":1,\"collection\":\"{}\"}}", bar.collection));
    }
    assert_eq!(bar.client.parked(), 1, "it waits still");
    let id = bar.put("k", "\"mine\"");
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.json()["_id"].as_u64()), (200, Some(id)));
}

#[test]
fn the_time_without_a_change_ends_in_the_version_that_is_current() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let path = bar.key("k");
    for block in ["0.3", "0"] {
        let start = Instant::now();
        let target = format!("{path}?since={id}&block={block}");
        let answer = bar.client.get(&target);
        assert!(start.elapsed() >= Duration::from_secs_f64(block.parse().unwrap()));
        assert_eq!((answer.status, &answer.json()["_id"]), (200, &id.into()), "block {block}");
        let etag = format!("\"{id}\"");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        let start = Instant::now();
        let known = bar.client.request("GET", &target, &[("If-None-Match", &etag)], b"");
        assert!(start.elapsed() >= Duration::from_secs_f64(block.parse().unwrap()));
        assert_eq!((known.status, known.body.len()), (304, 0), "block {block}");
        assert_eq!(known.header("etag"), Some(etag.as_str()));
    }
    // The connection is in order behind an answer without a body.
    assert_eq!(bar.client.get("/health").status, 200);
}

#[test]
fn a_deletion_answers_a_waiting_reader_404_at_once() {
    for what in 0..3 {
        let mut bar = Bar::start();
        let id = bar.put("k", 0);
        let target = format!("{}?since={id}&block=300", bar.key("k"));
        let mut waiting = waiter(&mut bar, &target);
        let gone =
            [bar.key("k"), format!("/collections/{}", bar.collection), "/tenants/foo".into()];
        bar.client.delete(&gone[what]).id();
        waiting.answer().problem(404, "not-found");
    }
}

#[test]
fn a_key_that_is_not_there_is_404_at_once() {
    let mut bar = Bar::start();
    let id = bar.put("deleted", 0);
    bar.client.delete(&bar.key("deleted")).id();
    let start = Instant::now();
    for key in ["absent", "deleted"] {
        for since in [0, id, 100] {
            let target = format!("{}?since={since}&block=300", bar.key(key));
            bar.client.get(&target).problem(404, "not-found");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_key_made_again_in_the_same_batch_as_its_waiter_sees_the_last() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let target = format!("{}?since={id}&block=60", bar.key("k"));
    let mut waiting = waiter(&mut bar, &target);
    let body = r#"[{"key":"k","data":1},{"key":"l","data":2},{"key":"k","data":3}]"#;
    assert_eq!(bar.client.json("POST", &bar.keys, body).status, 201);
    assert_eq!(waiting.answer().json()["data"], 3);
}

#[test]
fn a_hundred_readers_of_one_key_are_answered_by_one_change() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let target = format!("{}?since={id}&block=300", bar.key("k"));
    let mut waiting: Vec<_> = (0..100).map(|_| bar.node.client()).collect();
    for client in &mut waiting {
        client.send_request("GET", &target, &[], b"");
    }
    bar.client.sees_parked(waiting.len());
    bar.put("k", 1);
    for client in &mut waiting {
        assert_eq!(client.answer().json()["data"], 1);
    }
}

#[test]
fn min_id_and_consistency_hold_for_a_key() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let path = bar.key("k");
    for query in ["min_id=1", "consistency=strong", "min_id=0&consistency=local"] {
        assert_eq!(bar.client.page(&format!("{path}?{query}"))["_id"], id, "{query}");
    }
    bar.client.get(&format!("{path}?min_id=2&block=0")).problem(503, "behind");
    let mut waiting = bar.node.client();
    waiting.send_request("GET", &format!("{path}?min_id={}", id + 1), &[], b"");
    bar.put("k", 1);
    assert_eq!(waiting.answer().json()["data"], 1);
}

#[test]
fn a_stopping_node_answers_readers_who_wait_for_a_key() {
    let mut bar = Bar::start();
    let id = bar.put("k", 0);
    let target = format!("{}?since={id}&block=300", bar.key("k"));
    let mut waiting = waiter(&mut bar, &target);
    bar.node.signal(libc::SIGTERM);
    let answer = waiting.answer();
    assert_eq!((answer.status, &answer.json()["_id"]), (200, &id.into()), "{answer:?}");
    let (status, builder) = bar.node.ends_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    drop(builder);
}

#[test]
fn a_reader_that_leaves_frees_its_connection() {
    let mut bar = Bar::on(testkit::Node::with(&["--max-connections", "8"]));
    let id = bar.put("k", 0);
    let target = format!("{}?since={id}&block=300", bar.key("k"));
    let waiting: Vec<_> = (0..7).map(|_| waiter(&mut bar, &target)).collect();
    // The eighth has been read when what comes before it is answered.
    bar.client.send(format!(
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert_eq!(bar.client.answer().status, 200);
    bar.node.client().get("/changes").problem(503, "overloaded");
    drop(waiting);
    eventually("a connection is free", || {
        let mut client = bar.node.client();
        client.try_send_request("GET", "/changes", &[], b"")
            && client.try_answer().is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_key_that_is_not_there_is_waited_for() {
    let mut bar = Bar::start();
    let path = bar.key("new");
    bar.put("other", 0);
    let target = format!("{path}?block=60&if_absent=wait");
    let mut waiting = waiter(&mut bar, &target);
    // What else happens in its collection does not end it.
    bar.put("other", 1);
    assert!(!waiting.hears_within(Duration::from_millis(200)));
    let id = bar.put("new", 7);
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.json()["_id"].as_u64()), (200, Some(id)));
    // After a deletion it is waited for anew, whatever `since` says.
    bar.client.delete(&path).id();
    let target = format!("{path}?since={id}&block=60&if_absent=wait");
    let mut waiting = waiter(&mut bar, &target);
    let id = bar.put("new", 8);
    assert_eq!(waiting.answer().json()["_id"].as_u64(), Some(id));
    // One that is there and old is waited with as ever, and its deletion does not end that.
    let target = format!("{path}?since={id}&block=60&if_absent=wait");
    let mut waiting = waiter(&mut bar, &target);
    bar.client.delete(&path).id();
    assert!(!waiting.hears_within(Duration::from_millis(200)));
    let id = bar.put("new", 9);
    assert_eq!(waiting.answer().json()["_id"].as_u64(), Some(id));
}

#[test]
fn a_key_that_does_not_come_is_not_found_once_the_wait_is_over() {
    let mut bar = Bar::start();
    let path = bar.key("none");
    for query in ["if_absent=wait", "if_absent=wait&block=0", "if_absent=wait&block=0.1"] {
        bar.client.get(&format!("{path}?{query}")).problem(404, "not-found");
    }
    let problem =
        bar.client.get(&format!("{path}?if_absent=yes")).problem(400, "invalid-parameter");
    assert_eq!(problem["parameter"], "if_absent");
    // Nothing comes to a collection that is gone.
    let mut waiting = waiter(&mut bar, &format!("{path}?if_absent=wait&block=60"));
    let collection = bar.collection.clone();
    bar.client.delete(&format!("/collections/{collection}")).id();
    waiting.answer().problem(404, "not-found");
}

#[test]
fn a_wait_that_is_for_nothing_is_refused() {
    let mut bar = Bar::start();
    bar.put("k", 1);
    let (key, keys) = (bar.key("k"), format!("/collections/{}/keys", bar.collection));
    for target in [&key, &keys] {
        let answer = bar.client.get(&format!("{target}?block=60"));
        let problem = answer.problem(400, "invalid-parameter");
        assert_eq!(problem["parameter"], "block");
        assert!(problem["detail"].as_str().unwrap().contains("since"), "{problem}");
        for query in ["block=0", "block=60&min_id=1", "block=0.01&since=1"] {
            assert_eq!(bar.client.get(&format!("{target}?{query}")).status, 200, "{query}");
        }
    }
}
