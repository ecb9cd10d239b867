//! SIGTERM and SIGINT: what waits is answered, then the node ends.

use std::time::{Duration, Instant};

use serde_json::json;

use testkit::{Node, NodeBuilder};

/// The longest that a graceful stop may take.
const STOP: Duration = Duration::from_secs(10);

fn answers_parked_lists(signal: libc::c_int) {
    let node = Node::start();
    node.client().append(r#"{"tags":["a"],"data":1}"#);
    let mut waiting: Vec<_> = (0..20).map(|_| node.client()).collect();
    for (n, client) in waiting.iter_mut().enumerate() {
        let query = if n % 2 == 0 { "since=1" } else { "tag=b" };
        // The answer before the list shows that the node has read both.
        client.send(format!(
            "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /changes?{query}&block=300 HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200);
    }
    let mut idle = node.client();
    assert_eq!(idle.get("/health").status, 200);
    let start = Instant::now();
    node.signal(signal);
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
        let list = answer.json();
        assert_eq!(
            list,
            json!({"changes": [], "atStart": list["atStart"], "atEnd": true, "last": 1})
        );
        assert!(client.is_closed());
    }
    assert!(idle.is_closed());
    let (status, builder) = node.ends_within(STOP);
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < STOP);
    builder.start().holds(1);
}

#[test]
fn sigterm_answers_parked_lists_at_once_and_ends_the_node() {
    answers_parked_lists(libc::SIGTERM);
}

#[test]
fn sigint_answers_parked_lists_at_once_and_ends_the_node() {
    answers_parked_lists(libc::SIGINT);
}

#[test]
fn a_stopping_node_answers_those_who_wait_for_an_id() {
    let node = Node::start();
    let mut client = node.client();
    client.send(
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /changes?min_id=9&block=300 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    node.signal(libc::SIGTERM);
    client.answer().problem(503, "behind");
    assert_eq!(node.ends_within(STOP).0.code(), Some(0));
}

#[test]
fn a_client_in_the_middle_of_a_request_does_not_hold_up_the_stop() {
    let node = Node::start();
    let mut client = node.client();
    client.send("POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"da");
    let mut head = node.client();
    head.send("GET /chan");
    // Both have arrived once a later connection is served.
    assert_eq!(node.client().get("/health").status, 200);
    node.signal(libc::SIGTERM);
    let (status, builder) = node.ends_within(STOP);
    assert_eq!(status.code(), Some(0));
    builder.start().holds(0);
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_the_stop() {
    let node = Node::start();
    let mut writer = node.client();
    for _ in 0..8 {
        writer.append(format!("{{\"data\":\"{}\"}}", "x".repeat(1_000_000)));
    }
    let mut silent = node.client();
    for _ in 0..4 {
        silent.send_request("GET", "/changes", &[], b"");
    }
    assert!(silent.hears_within(STOP));
    node.signal(libc::SIGTERM);
    let (status, builder) = node.ends_within(STOP);
    assert_eq!(status.code(), Some(0));
    builder.start().holds(8);
}

#[test]
fn a_second_signal_does_no_harm() {
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    node.signal(libc::SIGTERM);
    node.signal(libc::SIGINT);
    node.signal(libc::SIGTERM);
    let (status, builder) = node.ends_within(STOP);
    assert_eq!(status.code(), Some(0));
    builder.start().holds(1);
}

#[test]
fn a_stopped_node_refuses_new_connections() {
    let node = Node::start();
    let address = node.address();
    let builder = node.stop();
    assert!(std::net::TcpStream::connect(address).is_err());
    drop(builder);
}

/// The signals come at any moment of a start: before the program has set
/// itself up it just dies, afterwards it ends as usual.
#[test]
fn a_signal_during_the_start_ends_the_node_and_harms_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    let mut builder: NodeBuilder = node.kill();
    let mut graceful = 0;
    for step in 0..24_u64 {
        let node = builder.launch();
        let moment = Instant::now() + Duration::from_millis(step * step / 4);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        let signal = if step % 2 == 0 { libc::SIGTERM } else { libc::SIGINT };
        node.signal(signal);
        let (status, next) = node.ends_within(STOP);
        graceful += usize::from(status.code() == Some(0));
        assert!(status.code() == Some(0) || status.signal() == Some(signal), "{status}");
        builder = next;
    }
    assert!(graceful > 0, "at least the last ones had set themselves up");
    builder.start().holds(1);
}
