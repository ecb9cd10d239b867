//! The loop of a connection, its deadlines and its admission on virtual time: a node as it is
//! shipped, and clients that keep it waiting.

use std::{cell::RefCell, io::IoSlice, rc::Rc, time::Duration};

use tokio::sync::Notify;

use super::{
    node::{self, Exit, Inside, PLACES},
    places::{Setup, client_address, process_of},
    wire::{Heard, Link, Request},
};
use crate::{
    base::limits::Limits,
    io::{
        cores,
        net::Stream,
        simulated::{
            cores::JoinHandle,
            disk::SimDisk,
            executor::{run, spawn_in},
        },
    },
};

const NODE: u64 = 1;
const SECOND: Duration = Duration::from_secs(1);

/// A node that is ready, and what ends it.
struct Running {
    inside: Inside,
    stop: Rc<Notify>,
    exit: JoinHandle<Exit>,
}

/// Runs `test` beside a node with one serving core, with each of some seeds.
fn with_node<F: Future<Output = ()>>(test: impl Fn(Running) -> F) {
    for seed in 1..=4 {
        run(seed, async {
            let setup = Setup { cores: 1, segment_bytes: 1 << 20, retention: None, votes: true };
            let (stop, inside) = (Rc::new(Notify::new()), Rc::new(RefCell::new(None)));
            let main = node::run(
                NODE,
                setup,
                SimDisk::new(seed),
                node::Role::FOUNDER,
                Rc::clone(&stop),
                Rc::clone(&inside),
                true,
            );
            let exit = spawn_in(process_of(NODE), main);
            while get("/ready").await.0 != 200 {
                cores::sleep(SECOND / 10).await;
            }
            let inside = inside.take().expect("it serves");
            test(Running { inside, stop, exit }).await;
        });
    }
}

/// Status and body of an answer on a connection of its own; 0 where there is none.
async fn get(target: &str) -> (u16, String) {
    let mut link = Link::new(client_address(NODE));
    match link.ask(&Request::get(target.to_owned())).await {
        Heard::Answer(answer) => (answer.status, answer.body),
        _ => (0, String::new()),
    }
}

async fn connect() -> Stream {
    Stream::connect(&client_address(NODE), SECOND).await.expect("the node listens")
}

async fn send(stream: &Stream, text: &str) {
    let mut bytes = text.as_bytes();
    while !bytes.is_empty() {
        let sent = stream.write(&[IoSlice::new(bytes)]).await.expect("the connection stands");
        bytes = &bytes[sent..];
    }
}

/// All that comes until the connection ends, and after how long that is.
async fn rest(stream: &Stream) -> (String, Duration) {
    let (begun, mut bytes) = (cores::now(), Vec::new());
    while stream.read_onto(&mut bytes, 1 << 16).await.is_ok_and(|count| count > 0) {}
    (String::from_utf8(bytes).expect("text"), cores::elapsed(begun))
}

#[test]
fn half_a_head_and_an_idle_connection_have_their_time_and_no_more() {
    with_node(async |_| {
        let Limits { head_timeout, idle_timeout, .. } = Limits::default();
        let (begun, idle) = (connect().await, connect().await);
        send(&begun, "GET /health HTTP/1.1\r\nHo").await;
        let (said, after) = rest(&begun).await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(after > head_timeout - SECOND && after < head_timeout + SECOND, "{after:?}");
        let (said, after) = rest(&idle).await;
        assert_eq!(said, "");
        assert!(after + head_timeout > idle_timeout - SECOND, "{after:?}");
        assert!(after + head_timeout < idle_timeout + 2 * SECOND, "{after:?}");
    });
}

#[test]
fn at_the_limit_an_idle_connection_makes_room_and_a_parked_one_does_not() {
    with_node(async |node| {
        let parked = connect().await;
        send(&parked, "GET /changes?since=now&block=60 HTTP/1.1\r\nHost: node-1:80\r\n\r\n").await;
        let mut idle = Vec::new();
        while idle.len() + 1 < PLACES.connections {
            idle.push(connect().await);
        }
        // None of them is idle for long enough to be closed.
        let (status, body) = get("/changes").await;
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("all the connections"), "{body}");
        assert_eq!(get("/health").await.0, 200, "whatever is about the node is told");
        cores::sleep(2 * SECOND).await;
        assert_eq!(get("/changes").await.0, 200);
        let (said, after) = rest(&idle[0]).await;
        assert_eq!((said.as_str(), after < SECOND), ("", true), "the longest idle one is closed");
        let mut byte = [0];
        for other in [&parked, idle.last().expect("many")] {
            let error = other.try_read(&mut byte).expect_err("nothing came");
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        assert_eq!(node.inside.metrics.parked.get(), 1);
    });
}

/// A client that waits for a change, and one that follows them.
async fn wait_and_stream() -> (Stream, Stream) {
    let (waiting, streaming) = (connect().await, connect().await);
    let head = "HTTP/1.1\r\nHost: node-1:80\r\n";
    send(&waiting, &format!("GET /changes?since=now&block=60 {head}\r\n")).await;
    let accept = "Accept: text/event-stream\r\n\r\n";
    send(&streaming, &format!("GET /changes {head}{accept}")).await;
    cores::sleep(SECOND).await;
    (waiting, streaming)
}

#[test]
fn a_client_that_leaves_frees_what_it_waited_with() {
    with_node(async |node| {
        let metrics = &node.inside.metrics;
        let (waiting, streaming) = wait_and_stream().await;
        assert_eq!((metrics.parked.get(), metrics.streams.get()), (2, 1));
        drop((waiting, streaming));
        cores::sleep(SECOND).await;
        assert_eq!((metrics.parked.get(), metrics.streams.get()), (0, 0));
        assert_eq!((metrics.connections.get(), node.inside.held.bytes()), (0, 0));
    });
}

#[test]
fn a_stop_answers_what_waits_and_refuses_whoever_comes() {
    with_node(async |node| {
        let (waiting, streaming) = wait_and_stream().await;
        node.stop.notify_one();
        let (said, after) = rest(&waiting).await;
        assert!(
            said.starts_with("HTTP/1.1 200 ") && said.contains("\r\nConnection: close"),
            "{said}"
        );
        assert!(after < SECOND, "{after:?}");
        let (said, _) = rest(&streaming).await;
        assert!(said.ends_with("0\r\n\r\n"), "a stream has its end: {said}");
        assert_eq!(node.exit.await, Some(Exit::Stopped));
        assert!(Stream::connect(&client_address(NODE), SECOND).await.is_err());
    });
}
