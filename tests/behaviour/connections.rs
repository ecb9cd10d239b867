//! The limit of connections, and connections whose clients leave.

use std::{io::Read, time::Duration};

use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually};

const LIMIT: usize = 8;

fn limited() -> Node {
    Node::with(&["--max-connections", "8"])
}

/// As many connections as there may be, none of them idle.
fn fill(node: &Node) -> Vec<Client> {
    let mut clients: Vec<_> = (0..LIMIT).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send_request("GET", "/changes?block=300", &[], b"");
    }
    parked(node, LIMIT);
    clients
}

/// Waits until so many long-polls are parked.
fn parked(node: &Node, count: usize) {
    eventually("the clients are parked", || {
        let metrics = node.client().get("/metrics");
        metrics.text().lines().any(|line| line == format!("changeagent_parked {count}"))
    });
}

/// Waits until the node takes one more connection.
fn takes_one_more(node: &Node) {
    eventually("a connection is free", || {
        let mut client = node.client();
        client.try_send_request("GET", "/changes", &[], b"")
            && client.try_answer().is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_connection_above_the_limit_is_told_so() {
    let node = limited();
    let mut clients = fill(&node);
    let mut refused = node.client();
    let answer = refused.get("/changes");
    let problem = answer.problem(503, "overloaded");
    assert!(problem["detail"].as_str().unwrap().contains("connections"), "{problem}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(refused.is_closed());
    node.client().post(r#"{"data":1}"#).problem(503, "overloaded");
    // What is about the node is answered nevertheless.
    for target in ["/health", "/ready", "/metrics", "/cluster"] {
        let mut client = node.client();
        let answer = client.get(target);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{target}");
        assert!(client.is_closed());
    }
    clients.pop();
    eventually("a write is taken", || node.client().post(r#"{"data":1}"#).status == 201);
    for client in &mut clients {
        assert_eq!(client.answer().json()["last"], 1, "those within the limit go on");
    }
}

#[test]
fn clients_that_were_refused_keep_nobody_else_out() {
    let node = limited();
    let clients = fill(&node);
    let silent: Vec<_> = (0..LIMIT).map(|_| node.client()).collect();
    node.client().get("/changes").problem(503, "overloaded");
    drop(clients);
    takes_one_more(&node);
    drop(silent);
}

#[test]
fn the_longest_idle_connection_goes_and_no_other() {
    let node = Node::with(&["--max-connections", "4", "--cores", "1"]);
    let mut parked_one = node.client();
    parked_one.send_request("GET", "/changes?block=300", &[], b"");
    let mut used: Vec<_> = (0..2).map(|_| node.client()).collect();
    // No other connection takes a place for it.
    eventually("it is parked", || used[0].metric("parked") == 1);
    let mut begun = node.client();
    begun.send("GET /changes HTTP/1.1\r\nHost: a\r\n");
    for client in used.iter_mut().rev() {
        assert_eq!(client.get("/changes").status, 200);
    }
    // The one that was used last, and is idle for less long, stays. At first both
    // are idle only for a moment, in which a request may be on its way to them.
    let mut third = None;
    eventually("another one is taken", || {
        let mut client = node.client();
        let taken = client.get("/changes").status == 200;
        third = taken.then_some(client);
        taken
    });
    assert!(used[1].is_closed());
    assert_eq!(used[0].get("/changes").status, 200);
    begun.send("\r\n");
    assert_eq!(begun.answer().status, 200);
    assert_eq!(used[0].append(r#"{"data":1}"#), 1);
    assert_eq!(parked_one.answer().json()["last"], 1);
}

#[test]
fn idle_connections_keep_nobody_out_whichever_core_has_them() {
    let node = Node::with(&["--max-connections", "8", "--cores", "4"]);
    let silent: Vec<_> = (0..40).map(|_| node.client()).collect();
    for _ in 0..10 {
        takes_one_more(&node);
    }
    drop(silent);
}

#[test]
fn clients_that_send_half_a_head_and_no_more_lock_nobody_out() {
    let node = Node::with(&["--max-connections", "4", "--cores", "1"]);
    let mut stuck: Vec<_> = (0..4).map(|_| node.client()).collect();
    for client in &mut stuck {
        client.send("GET /changes HTTP/1.1\r\nHost: a\r\n");
    }
    takes_one_more(&node);
    // Not because its time was over, of which the answer would be 408.
    stuck[0].answer().problem(503, "overloaded");
    assert!(stuck[0].is_closed());
}

#[test]
fn requests_behind_a_long_poll_are_answered_when_their_client_sends_no_more() {
    let node = Node::start();
    let mut client = node.client();
    client.send_request("GET", "/changes?block=300", &[], b"");
    parked(&node, 1);
    client.send_request("POST", "/changes", &[], br#"{"data":1}"#);
    client.send_request("GET", "/health", &[], b"");
    client.finish_sending();
    assert_eq!(client.answer().json()["last"], 0, "the wait is over at once");
    assert_eq!(client.answer().json()["_id"], 1);
    assert_eq!(client.answer().json()["status"], "ok");
    assert!(client.is_closed());
    node.holds(1);
}

#[test]
fn requests_behind_a_stream_are_answered_when_their_client_sends_no_more() {
    let node = Node::start();
    let mut client = node.client();
    client.send_request("GET", "/changes?block=300", &[("Accept", "application/x-ndjson")], b"");
    parked(&node, 1);
    assert_eq!(client.try_head().unwrap().status, 200);
    client.send_request("POST", "/changes", &[], br#"{"data":1}"#);
    client.finish_sending();
    let mut rest = String::new();
    client.into_stream().read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("0\r\n\r\nHTTP/1.1 201 Created\r\n"), "{rest}");
    node.holds(1);
}

#[test]
fn a_parked_client_that_leaves_frees_its_connection_at_once() {
    let node = limited();
    let clients = fill(&node);
    node.client().get("/changes").problem(503, "overloaded");
    drop(clients);
    takes_one_more(&node);
}

#[test]
fn a_parked_client_with_a_request_behind_that_leaves_frees_its_connection() {
    let node = limited();
    let mut clients = fill(&node);
    for client in &mut clients {
        client.send_request("GET", "/health", &[], b"");
    }
    drop(clients);
    takes_one_more(&node);
}

#[test]
fn a_parked_client_with_many_requests_behind_that_leaves_frees_its_connection() {
    let node = limited();
    let mut clients = fill(&node);
    for client in &mut clients {
        for _ in 0..2000 {
            client.send_request("GET", "/health", &[], b"");
        }
    }
    drop(clients);
    takes_one_more(&node);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_request_frees_its_connection() {
    let node = limited();
    let mut clients: Vec<_> = (0..LIMIT).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"da");
    }
    drop(clients);
    takes_one_more(&node);
    eventually("the list is still empty", || {
        let mut client = node.client();
        let answer = client.get("/changes");
        answer.status == 200 && answer.last() == 0
    });
}

#[test]
fn many_clients_that_come_and_go_leave_nothing_behind() {
    let node = limited();
    for _ in 0..50 {
        let mut client = node.client();
        client.send_request("GET", "/changes?block=300", &[], b"");
        drop(client);
        drop(node.client());
    }
    takes_one_more(&node);
    eventually("all connections are free", || {
        let mut clients: Vec<_> = (0..LIMIT).map(|_| node.client()).collect();
        clients.iter_mut().all(|client| {
            client.try_send_request("GET", "/changes", &[], b"")
                && client.try_answer().is_some_and(|answer| answer.status == 200)
        })
    });
}

/// Posts changes that make a long list.
fn write_a_long_list(node: &Node) {
    let mut client = node.client();
    for _ in 0..7 {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(1_000_000)));
    }
}

#[test]
fn a_client_that_takes_no_byte_of_its_answer_is_cut_off() {
    let node = Node::with(&["--max-connections", "1", "--write-timeout", "300ms"]);
    write_a_long_list(&node);
    takes_one_more(&node);
    let mut silent = None;
    eventually("the silent client has the only connection", || {
        let mut client = node.client();
        client.try_send_request("GET", "/changes", &[], b"");
        let heard = client.hears_within(std::time::Duration::from_secs(5));
        let served = heard && client.try_head().is_some_and(|answer| answer.status == 200);
        silent = served.then_some(client);
        served
    });
    takes_one_more(&node);
    drop(silent);
}

#[test]
fn connections_never_take_the_descriptors_that_the_log_needs() {
    let limited = "ulimit -n 700 && exec \"$@\"";
    let node =
        NodeBuilder::new().flags(&SHORT_SEGMENTS).launcher(&["sh", "-c", limited, "sh"]).start();
    let mut writer = node.client();
    writer.append(r#"{"data":1}"#);
    let many: Vec<_> = (0..800).map(|_| node.client()).collect();
    // Idle as it is, the writer has made room for others.
    drop(writer);
    for id in 2..=60 {
        let change = format!("{{\"data\":\"{}\"}}", "x".repeat(20_000));
        eventually("another connection is taken", || {
            let mut client = node.client();
            let sent = client.try_send_request("POST", "/changes", &[], change.as_bytes());
            let answer = if sent { client.try_answer() } else { None };
            answer.is_some_and(|answer| answer.status == 201 && answer.json()["_id"] == id)
        });
    }
    let said = node.stderr();
    assert!(!said.contains("Too many open files"), "{said}");
    drop(many);
    takes_one_more(&node);
}

#[test]
fn bodies_that_do_not_fit_together_are_refused_and_make_room_again() {
    let node = Node::with(&["--max-held", "256KiB"]);
    let head = "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n[1";
    // Each holds some of its body and sends no more for now.
    let mut waiting: Vec<_> = (0..2).map(|_| node.client()).collect();
    for client in &mut waiting {
        client.send(head);
        client.send(" ".repeat(150_000));
    }
    // 300,000 bytes where 262,144 are allowed: one of them is refused.
    let mut refused = None;
    eventually("one body is refused", || {
        let moment = Duration::from_millis(20);
        refused = waiting.iter_mut().position(|client| client.hears_within(moment));
        refused.is_some()
    });
    let answer = waiting[refused.unwrap()].answer();
    answer.problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(waiting);
    eventually("there is room again", || {
        node.client().request("POST", "/changes", &[], br#"{"data":1}"#).status == 201
    });
    node.holds(1);
}
