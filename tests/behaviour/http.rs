//! HTTP/1.1 as it is and as it is abused. After every abuse the node lives on
//! and has stored nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use testkit::{Client, Node};

const BODY: &str = r#"{"data":1}"#;

/// Sends each case on a connection of its own: it is answered with that status
/// and code, and the connection is closed.
fn closes_after(status: u16, code: &str, cases: &[&str]) {
    let node = Node::start();
    for case in cases {
        let mut client = node.client();
        client.send(case);
        let answer = client.answer();
        answer.problem(status, code);
        assert_eq!(answer.header("connection"), Some("close"), "{case:?}");
        assert!(client.is_closed(), "{case:?}");
        assert_eq!(node.client().get("/health").status, 200, "{case:?}");
    }
    node.holds(0);
}

#[test]
fn ambiguous_lengths_are_refused() {
    closes_after(
        400,
        "bad-request",
        &[
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 10\r\n\r\na\r\n{\"data\":1}\r\n0\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10, 11\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: +10\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0a\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /changes HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"data\":1}\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn malformed_heads_are_refused() {
    closes_after(
        400,
        "bad-request",
        &[
            "GET /changes HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            "GET /changes HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
            "GET /changes HTTP/1.1\nHost: a\n\n",
            "GET /changes HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
            "GET  /changes HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /changes\r\nHost: a\r\n\r\n",
            "GET /changes HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /changes HTTP/1.1 x\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\r\n\r\nGET /changes HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
            "GET /ch\u{e4}nges HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn a_host_must_stand_once_and_be_one() {
    closes_after(
        400,
        "bad-request",
        &[
            "GET /changes HTTP/1.1\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost:  \r\n\r\n",
            "GET http://a/changes HTTP/1.1\r\nHost:\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET /changes HTTP/1.1\r\nHost: a/b\r\n\r\n",
        ],
    );
}

#[test]
fn targets_that_cannot_be_decoded_are_refused() {
    closes_after(
        400,
        "bad-request",
        &[
            "GET /changes/%4 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /changes/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /changes?tag=% HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /changes?tag=%ff HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /changes?tag=%0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET changes HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn bad_chunks_are_refused() {
    let post = "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = [
        "x\r\n",
        "-1\r\n",
        "0x5\r\n",
        " a\r\n{\"data\":1}\r\n0\r\n\r\n",
        "\r\n",
        "ffffffffffffffffff\r\n",
        "a\n{\"data\":1}\n0\n\n",
        "a\r\n{\"data\":1}0\r\n\r\n",
        "5\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;;\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;=\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;a=\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;a b\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;a=\"b\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;a=\"b\"c\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a;[\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a\r\n{\"data\":1}\r\n0;\r\n\r\n",
        "a\r\n{\"data\":1}\r\n0\r\nBad trailer\r\n\r\n",
        "a\r\n{\"data\":1}\r\n0\r\n folded: 1\r\n\r\n",
    ];
    let cases: Vec<_> = chunks.iter().map(|chunk| format!("{post}{chunk}")).collect();
    closes_after(400, "bad-request", &cases.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn other_expectations_are_refused() {
    let post = "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n";
    let cases = ["200-maybe", "100-continue, x", "100-continue=1", "100-continue\r\nExpect: x"]
        .map(|expected| format!("{post}Expect: {expected}\r\n\r\n{BODY}"));
    closes_after(417, "expectation-failed", &cases.each_ref().map(String::as_str));
}

#[test]
fn codings_besides_chunked_are_not_implemented() {
    closes_after(
        501,
        "not-implemented",
        &[
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn a_repeated_content_type_is_refused() {
    closes_after(
        400,
        "bad-request",
        &[
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n{\"data\":1}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\ncontent-type: application/json\r\nContent-Length: 10\r\n\r\n{\"data\":1}",
        ],
    );
}

#[test]
fn a_method_above_the_limit_is_not_implemented() {
    let case = format!("{} /changes HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(17 << 10));
    closes_after(501, "not-implemented", &[&case]);
    let case = format!("{} /changes HTTP/1.1\r\nHost: a\r\n\r\n", "(".repeat(17 << 10));
    closes_after(400, "bad-request", &[&case]);
}

#[test]
fn no_tunnel_is_opened() {
    let node = Node::start();
    let mut client = node.client();
    client.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    let answer = client.answer();
    answer.problem(405, "method-not-allowed");
    assert!(answer.header("allow").unwrap().contains("GET"));
    assert!(client.is_closed());
    closes_after(400, "bad-request", &["CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"]);
}

#[test]
fn later_versions_of_http_1_are_read_as_1_1() {
    let node = Node::start();
    let mut client = node.client();
    client.send(format!("POST /changes HTTP/1.2\r\nHost: a\r\nContent-Length: 10\r\n\r\n{BODY}"));
    assert_eq!(client.answer().text(), r#"{"_id":1}"#);
    client.send("GET /changes/1 HTTP/1.9\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET /changes/1 HTTP/1.2\r\n\r\n");
    client.answer().problem(400, "bad-request");
}

#[test]
fn a_request_line_above_the_limit_is_too_long() {
    let case = format!("GET /changes?tag={} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17 << 10));
    closes_after(414, "uri-too-long", &[&case]);
}

#[test]
fn headers_above_the_limit_are_too_large() {
    let long = format!("GET /changes HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17 << 10));
    let many = format!("GET /changes HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(101));
    closes_after(431, "headers-too-large", &[&long, &many]);
}

#[test]
fn a_declared_body_above_the_limit_is_refused_before_it_is_sent() {
    let node = Node::start();
    let mut client = node.client();
    let length = (1 << 20) + 1;
    client.send(format!("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    client.answer().problem(413, "too-large");
    assert!(client.is_closed());
    node.holds(0);
}

#[test]
fn a_body_that_is_sent_in_spite_of_a_refusal_does_not_cost_the_answer() {
    let node = Node::start();
    let mut client = node.client();
    let body = vec![b'x'; 4 << 20];
    let sent = client.try_send_request("POST", "/changes", &[], &body);
    assert!(sent, "the rest of the body is taken and thrown away");
    client.answer().problem(413, "too-large");
    node.holds(0);
}

#[test]
fn a_chunked_body_above_the_limit_is_refused() {
    let node = Node::start();
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        if !client.try_send(&chunk) {
            break;
        }
    }
    client.answer().problem(413, "too-large");
    node.holds(0);
}

#[test]
fn a_body_of_the_limit_is_taken() {
    let node = Node::start();
    let mut client = node.client();
    let body = format!("{}{BODY}", " ".repeat((1 << 20) - BODY.len()));
    assert_eq!(client.append(&body), 1);
    client.post(format!(" {body}")).problem(413, "too-large");
    node.holds(1);
}

#[test]
fn a_slow_head_is_timed_out() {
    let node = Node::with(&["--head-timeout", "300ms"]);
    let mut client = node.client();
    let start = Instant::now();
    client.send("GET /changes HTTP/1.1\r\nHost:");
    let answer = client.answer();
    answer.problem(408, "request-timeout");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(client.is_closed());
    // Bytes that trickle in do not prolong it.
    let mut client = node.client();
    let start = Instant::now();
    client.send("GET /changes HTTP/1.1\r\n");
    while !client.hears_within(Duration::from_millis(50)) {
        client.try_send("X: 1\r\n");
        assert!(start.elapsed() < Duration::from_secs(20), "a trickle keeps the connection");
    }
    client.answer().problem(408, "request-timeout");
    node.holds(0);
}

#[test]
fn a_slow_body_is_timed_out() {
    let node = Node::with(&["--body-timeout", "300ms"]);
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"data\"");
    client.answer().problem(408, "request-timeout");
    assert!(client.is_closed());
    node.holds(0);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let node = Node::with(&["--idle-timeout", "300ms"]);
    let start = Instant::now();
    let mut fresh = node.client();
    let mut used = node.client();
    assert_eq!(used.get("/health").status, 200);
    assert!(fresh.is_closed());
    assert!(used.is_closed());
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn waiting_for_a_change_is_not_idleness() {
    let node = Node::with(&["--idle-timeout", "200ms", "--head-timeout", "200ms"]);
    let list = node.client().list("?block=1");
    assert_eq!(list["last"], 0);
}

#[test]
fn a_body_that_never_ends_stores_nothing() {
    let node = Node::start();
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{\"data\":1}");
    client.finish_sending();
    client.answer().problem(400, "bad-request");
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"data\":1}\r\n");
    drop(client);
    node.holds(0);
}

#[test]
fn a_client_that_expects_100_continue_gets_it() {
    let node = Node::start();
    let mut client = node.client();
    let head =
        "POST /changes HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    client.send(head);
    assert_eq!(client.answer().status, 100);
    client.send(BODY);
    assert_eq!(client.answer().text(), r#"{"_id":1}"#);
    // With the body there already it may be left out.
    client.send(format!("{head}{BODY}"));
    let mut answer = client.answer();
    if answer.status == 100 {
        answer = client.answer();
    }
    assert_eq!(answer.text(), r#"{"_id":2}"#);
}

#[test]
fn a_refused_body_is_not_asked_for() {
    let node = Node::start();
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
    client.answer().problem(413, "too-large");
    node.holds(0);
}

#[test]
fn a_body_is_not_asked_for_where_the_head_earns_a_refusal() {
    let node = Node::start();
    let mut client = node.client();
    assert_eq!(client.json("POST", "/tenants", r#"{"name":"foo"}"#).status, 201);
    for (method, target, headers, status, code) in [
        ("POST", "/nowhere", "", 404, "not-found"),
        ("POST", "/tenants/bar/changes", "", 404, "not-found"),
        ("PUT", "/tenants/foo/collections/c/keys/k", "", 404, "not-found"),
        ("PUT", "/changes", "", 405, "method-not-allowed"),
        ("POST", "/health", "", 405, "method-not-allowed"),
        ("POST", "/changes?x=1", "", 400, "invalid-parameter"),
        ("POST", "/changes", "If-Match: \"1\"\r\n", 400, "invalid-parameter"),
        ("POST", "/changes", "Idempotency-Key: a b\r\n", 400, "invalid-parameter"),
        ("POST", "/changes", "Content-Type: text/plain\r\n", 415, "unsupported-media-type"),
        ("POST", "/changes", "Content-Encoding: br\r\n", 415, "unsupported-media-type"),
        ("POST", "/tenants", "Content-Length: 100000\r\n", 413, "too-large"),
        ("POST", "/changes", "Content-Length: 99999999\r\n", 413, "too-large"),
        ("POST", "/changes", "Expect: x\r\n", 417, "expectation-failed"),
    ] {
        let length = if headers.contains("Length") { "" } else { "Content-Length: 10\r\n" };
        let mut client = node.client();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{length}{headers}\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{method} {target} {headers:?}: {answer:?}");
        answer.problem(status, code);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed(), "{method} {target} {headers:?}");
    }
    node.holds(0);
}

#[test]
fn no_browser_guesses_what_an_answer_is() {
    let node = Node::start();
    let mut client = node.client();
    client.append(BODY);
    let mut answers: Vec<_> = ["/changes", "/changes/1", "/health", "/metrics", "/", "/none"]
        .map(|target| client.get(target))
        .into();
    answers.push(client.request("GET", "/", &[("Accept", "text/html")], b""));
    answers.push(client.request("OPTIONS", "/changes", &[], b""));
    client.send_request("GET", "/changes", &[("Accept", "text/event-stream")], b"");
    answers.push(client.try_head().unwrap());
    let mut client = node.client();
    client.send("nonsense\r\n\r\n");
    answers.push(client.answer());
    for answer in answers {
        let names = answer.headers.iter().filter(|(name, _)| name == "x-content-type-options");
        let values: Vec<_> = names.map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["nosniff"], "{answer:?}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let node = Node::start();
    let mut client = node.client();
    client.append(BODY);
    for target in ["/changes", "/changes/1", "/health", "/ready", "/", "/none", "/changes?limit=0"]
    {
        let get = client.get(target);
        let head = client.request("HEAD", target, &[], b"");
        assert_eq!(head.status, get.status, "{target}");
        for name in ["content-type", "content-length", "changeagent-last"] {
            assert_eq!(head.header(name), get.header(name), "{target} {name}");
        }
    }
    assert!(!client.hears_within(Duration::from_millis(50)), "an answer to HEAD had a body");
}

#[test]
fn options_lists_the_methods() {
    let node = Node::start();
    let mut client = node.client();
    for (target, methods) in [
        ("/changes", "GET, HEAD, POST, OPTIONS"),
        ("/changes/1", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let answer = client.request("OPTIONS", target, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (204, Some(methods)), "{target}");
    }
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let node = Node::start();
    let mut client = node.client();
    client.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.is_closed());
    let mut client = node.client();
    for _ in 0..2 {
        client.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn connection_close_is_honoured() {
    let node = Node::start();
    let mut client = node.client();
    let answer = client.request("GET", "/health", &[("Connection", "close")], b"");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn a_connection_serves_many_requests() {
    let node = Node::start();
    let mut client = node.client();
    for id in 1..=50 {
        assert_eq!(client.append(BODY), id);
        assert_eq!(client.get(&format!("/changes/{id}")).status, 200);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 200;
    let node = Node::start();
    let mut client = node.client();
    let mut bytes = String::new();
    for n in 0..COUNT {
        let body = format!("{{\"data\":{n}}}");
        bytes += &format!(
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        bytes += "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    }
    client.send(bytes);
    for n in 1..=COUNT {
        assert_eq!(client.answer().json(), json!({"_id": n}));
        assert_eq!(client.answer().json(), json!({"status": "ok"}));
    }
    let list = node.client().list("?limit=1000");
    let data = list["changes"].as_array().unwrap().iter().map(|c| c["data"].as_u64().unwrap());
    assert!(data.eq(0..COUNT as u64), "{list}");
}

#[test]
fn requests_before_a_malformed_one_are_answered() {
    let node = Node::start();
    let mut client = node.client();
    client.send(format!(
        "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{BODY}GET /changes HTTP/9\r\n\r\n"
    ));
    assert_eq!(client.answer().text(), r#"{"_id":1}"#);
    client.answer().problem(400, "bad-request");
    assert!(client.is_closed());
    node.holds(1);
}

#[test]
fn chunked_bodies_are_put_together() {
    let node = Node::start();
    let mut client = node.client();
    let head = "POST /changes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (id, chunks) in (1..).zip([
        "a\r\n{\"data\":1}\r\n0\r\n\r\n",
        "A\r\n{\"data\":1}\r\n0\r\n\r\n",
        "00000a\r\n{\"data\":1}\r\n000\r\n\r\n",
        "3\r\n{\"d\r\n1\r\na\r\n6\r\nta\":1}\r\n0\r\n\r\n",
        "a;ext=1;b=\"c\"\r\n{\"data\":1}\r\n0\r\n\r\n",
        "a ; a\t=\tb;c=\"\\\"; d\"\r\n{\"data\":1}\r\n0;last\r\n\r\n",
        "a\r\n{\"data\":1}\r\n0\r\nTrailer: dropped\r\n\r\n",
    ]) {
        client.send(format!("{head}{chunks}"));
        assert_eq!(client.answer().json(), json!({"_id": id}), "{chunks:?}");
    }
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let node = Node::start();
    let mut client = node.client();
    for byte in
        format!("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{BODY}").bytes()
    {
        client.send([byte]);
    }
    assert_eq!(client.answer().text(), r#"{"_id":1}"#);
}

#[test]
fn a_target_may_be_absolute_and_percent_encoded() {
    let node = Node::start();
    let mut client = node.client();
    for target in ["http://a:9000/changes", "/chang%65s", "/changes?%6cimit=1"] {
        assert_eq!(client.get(target).status, 200, "{target}");
    }
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let node = Node::start();
    let mut client = node.client();
    client.send_request("POST", "/changes", &[], BODY.as_bytes());
    client.finish_sending();
    assert_eq!(client.answer().text(), r#"{"_id":1}"#);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_reads_nothing_costs_nobody_else() {
    let node = Node::start();
    let mut writer = node.client();
    for _ in 0..4 {
        writer.append(format!("{{\"data\":\"{}\"}}", "x".repeat(1_000_000)));
    }
    let mut silent: Vec<Client> = (0..4).map(|_| node.client()).collect();
    for client in &mut silent {
        for _ in 0..8 {
            client.send_request("GET", "/changes", &[], b"");
        }
    }
    for id in 5..=50 {
        assert_eq!(writer.append(BODY), id);
    }
    let mut answers = silent.pop().unwrap();
    for _ in 0..8 {
        assert!(answers.answer().body.len() > 4_000_000);
    }
}
