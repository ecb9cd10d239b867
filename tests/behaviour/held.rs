//! What connections hold is bounded, and those who hold much keep nobody else
//! from being served.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use testkit::{Node, PATIENCE, eventually};

/// Bytes of the data of one large change, and how many of them make an answer of
/// the largest size.
const LARGE: usize = 1_000_000;
const LARGE_COUNT: usize = 8;

const GET_AND_CLOSE: &[u8] =
    b"GET /changes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A connection whose client's kernel takes hardly anything for it.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// A node with a long list, of which a few answers are more than it may hold, and
/// a short one behind it.
fn node(flags: &[&str]) -> Node {
    node_that_holds("16MiB", flags)
}

fn node_that_holds(held: &str, flags: &[&str]) -> Node {
    let node = Node::with(&[&["--max-held", held], flags].concat());
    let mut client = node.client();
    for _ in 0..LARGE_COUNT {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(LARGE)));
    }
    client.append(r#"{"data":"small"}"#);
    node
}

/// Has so many clients ask for the whole list, and take nothing of it.
fn ask_for_all(node: &Node, count: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut stream = narrow(node.address());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(GET_AND_CLOSE).unwrap();
        stream
    };
    (0..count).map(ask).collect()
}

/// One more such client, unless it is refused.
fn ask_and_hear(node: &Node) -> Option<TcpStream> {
    let mut stream = ask_for_all(node, 1).remove(0);
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    (&start == b"HTTP/1.1 200").then_some(stream)
}

/// Whether a large answer is refused for now.
fn is_tight(node: &Node) -> bool {
    let mut client = node.client();
    client.send_request("GET", "/changes", &[], b"");
    let head = client.try_head().unwrap();
    if head.status == 503 {
        assert_eq!(head.header("retry-after"), Some("1"));
    }
    head.status == 503
}

/// What is about the node, and what is small, is served at once.
fn serves_what_is_small(node: &Node) {
    let mut client = node.client();
    let start = Instant::now();
    for target in ["/health", "/ready", "/metrics", "/cluster", "/changes/9", "/changes?since=8"] {
        assert_eq!(client.get(target).status, 200, "{target}");
    }
    assert_eq!(client.post(r#"{"data":1}"#).status, 201);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Reads on until the connection ends; whether it was reset.
fn is_reset(mut stream: TcpStream) -> bool {
    let mut bytes = vec![0; 1 << 20];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Clients that take nothing fill what the node may hold; meanwhile it serves what
/// is small, and then it lets go of them and serves everything.
fn survives_readers_that_take_nothing(flags: &[&str]) {
    let node = node(flags);
    let start = Instant::now();
    let mut silent = Vec::new();
    // Answers that begin at once on several cores may all be refused.
    eventually("one of them is answered", || {
        silent.extend(ask_and_hear(&node));
        !silent.is_empty()
    });
    silent.extend(ask_for_all(&node, 23));
    eventually("the node holds as much as it may", || is_tight(&node));
    while is_tight(&node) {
        serves_what_is_small(&node);
        // Long before the time for writing is over.
        assert!(start.elapsed() < Duration::from_secs(20), "the slow are not cut off");
    }
    serves_what_is_small(&node);
    assert!(silent.into_iter().any(is_reset));
}

#[test]
fn what_became_of_a_write_is_told_however_little_room_there_is() {
    // An answer of more than 62 bytes is a large one here.
    let node = Node::with(&["--max-held", "2000", "--cores", "1"]);
    let mut holder = TcpStream::connect(node.address()).unwrap();
    let head = "POST /changes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1900\r\n\r\n";
    holder.write_all(&[head.as_bytes(), &[b' '; 1500]].concat()).unwrap();
    let create = |n: usize| {
        // More and more of each, until there is room for what is small only.
        let (pad, body) = ("x".repeat(10 * n), format!("{{\"name\":\"tenant{n}\"}}"));
        node.client().request("POST", "/tenants", &[("X-Pad", &pad)], body.as_bytes()).status
    };
    let statuses: Vec<u16> = (0..40).map(create).collect();
    drop(holder);
    for (n, status) in statuses.iter().enumerate() {
        let mut seen = 503;
        eventually("there is room to look", || {
            seen = node.client().get(&format!("/tenants/tenant{n}")).status;
            seen != 503
        });
        // Refused is not done, and done is not refused.
        assert_eq!(*status, if seen == 200 { 201 } else { 503 }, "tenant{n}");
    }
}

#[test]
fn readers_that_take_nothing_stop_nobody() {
    survives_readers_that_take_nothing(&["--cores", "1"]);
}

#[test]
fn readers_that_take_nothing_stop_nobody_on_many_cores() {
    survives_readers_that_take_nothing(&["--cores", "4"]);
}

#[test]
fn readers_that_trickle_are_cut_off_like_silent_ones() {
    let node = node(&["--cores", "1"]);
    let mut slow = ask_for_all(&node, 24);
    for stream in &slow {
        stream.set_nonblocking(true).unwrap();
    }
    eventually("the node holds as much as it may", || is_tight(&node));
    let start = Instant::now();
    while is_tight(&node) {
        for stream in &mut slow {
            // A byte restarts no time-out; one that was cut off has none left.
            let _ = stream.read(&mut [0]);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "a byte keeps its place");
    }
    serves_what_is_small(&node);
}

#[test]
fn a_reader_that_is_slow_but_not_too_slow_gets_all() {
    let node = node_that_holds("32MiB", &["--cores", "1"]);
    let mut steady = narrow(node.address());
    steady.set_read_timeout(Some(PATIENCE)).unwrap();
    steady.write_all(GET_AND_CLOSE).unwrap();
    let mut start = [0; 12];
    steady.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let _silent = ask_for_all(&node, 24);
    eventually("the node holds as much as it may", || is_tight(&node));
    let (mut bytes, mut total) = (vec![0; 64 << 10], 0);
    loop {
        let count = steady.read(&mut bytes).expect("it is not cut off");
        if count == 0 {
            break;
        }
        total += count;
        // A megabyte in a second.
        std::thread::sleep(Duration::from_micros(count as u64));
    }
    assert!(total > LARGE_COUNT * LARGE, "{total}");
}

#[test]
fn readers_of_much_that_come_again_and_again_leave_room_for_what_is_less() {
    // Two answers would come to more than seven eighths of what may be held.
    let node = node(&["--cores", "1"]);
    let mut silent: Vec<_> = (0..6).map(|_| ask_and_hear(&node)).collect();
    let bodies = [1, 100_000, 900_000].map(|size| format!("{{\"data\":\"{}\"}}", "x".repeat(size)));
    let (start, mut cut) = (Instant::now(), 0);
    while cut < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "the slow are not cut off");
        for stream in &mut silent {
            let is_cut = |stream: &TcpStream| stream.take_error().unwrap().is_some();
            cut += usize::from(stream.as_ref().is_some_and(is_cut));
            if stream.as_ref().is_none_or(is_cut) {
                *stream = ask_and_hear(&node);
            }
        }
        for body in &bodies {
            assert_eq!(node.client().post(body).status, 201, "{} bytes", body.len());
        }
        for target in ["/changes/1", "/changes?limit=1"] {
            assert_eq!(node.client().get(target).status, 200, "{target}");
        }
    }
}

#[test]
fn bodies_that_stand_still_make_room_for_others() {
    let node = Node::with(&["--max-held", "2MiB", "--cores", "1"]);
    let head = "POST /changes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n[1";
    let mut still: Vec<_> = (0..3).map(|_| node.client()).collect();
    for client in &mut still {
        client.send(head);
        client.try_send(" ".repeat(900_000));
    }
    let body = format!("{{\"data\":\"{}\"}}", "x".repeat(500_000));
    eventually("there is room for a large body", || node.client().post(&body).status == 201);
    let mut refused = 0;
    for client in &mut still {
        if client.hears_within(Duration::from_millis(50)) {
            client.answer().problem(503, "overloaded");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

/// The head and the first bytes of a stream in HTTP/1.0, to a client that then
/// takes no more.
fn begin_export(node: &Node) -> TcpStream {
    let mut stream = narrow(node.address());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = b"GET /changes HTTP/1.0\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut first = [0; 1000];
    stream.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 "));
    stream
}

#[test]
fn a_broken_stream_of_http_1_0_does_not_end_like_a_whole_one() {
    let node = node(&["--write-timeout", "300ms"]);
    // One that is cut off for its slowness.
    let slow = begin_export(&node);
    eventually("its connection is gone", || {
        let metrics = node.client().get("/metrics");
        metrics.text().lines().any(|line| line == "changeagent_streams 0")
    });
    assert!(is_reset(slow));
    // One whose reader takes all.
    assert!(!is_reset(begin_export(&node)));
    // One whose node is no more.
    let broken = begin_export(&node);
    drop(node.kill());
    assert!(is_reset(broken));
}
