//! What connects to the cluster port and does not belong there.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use testkit::{PATIENCE, cluster::Cluster};

const BYTES: usize = 56;
const VERSION: u32 = 7;
/// Entries of the log.
const ENTRIES: u32 = 1;
/// Heartbeats and votes.
const CONTROL: u32 = 2;
/// The question whether a node would join.
const ADOPTION: u32 = 5;
/// Connections of strangers that a node keeps.
const STRANGERS: usize = 128;

/// The first words of a connection: who asks, and for whom.
#[derive(Clone, Copy)]
struct Hello {
    version: u32,
    cluster: uuid::Uuid,
    from: u64,
    to: u64,
}

/// The version and the refusal that a node answers with; nothing when it just
/// closes the connection.
fn answer(view: &Value, bytes: &[u8]) -> Option<(u32, u32)> {
    let mut stream = connect(view);
    stream.write_all(bytes).unwrap();
    welcome(&mut stream)
}

/// A connection to the cluster port of a node.
fn connect(view: &Value) -> TcpStream {
    let own =
        view["members"].as_array().unwrap().iter().find(|member| member["id"] == view["node"]);
    let address = own.unwrap()["cluster_address"].as_str().unwrap().to_owned();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn welcome(stream: &mut TcpStream) -> Option<(u32, u32)> {
    let mut welcome = [0; BYTES];
    stream.read_exact(&mut welcome).ok()?;
    let word = |at: usize| u32::from_le_bytes(welcome[at..at + 4].try_into().unwrap());
    Some((word(8), word(12)))
}

/// A connection that was let in.
fn greeted(view: &Value, lane: u32, hello: &Hello) -> TcpStream {
    let mut stream = connect(view);
    stream.write_all(&spelled_for(lane, hello)).unwrap();
    assert_eq!(welcome(&mut stream), Some((VERSION, 0)));
    stream
}

/// What stands before the head of a frame with a body of so many bytes.
fn prefix(body_bytes: u32) -> Vec<u8> {
    [8, body_bytes, 0, 0].iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

/// Whether the other end closes a connection that it may have written to.
fn is_closed(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 64]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn spelled(hello: &Hello) -> Vec<u8> {
    spelled_for(CONTROL, hello)
}

fn spelled_for(lane: u32, hello: &Hello) -> Vec<u8> {
    let mut bytes = b"CAGTPEER".to_vec();
    bytes.extend(hello.version.to_le_bytes());
    bytes.extend(lane.to_le_bytes());
    bytes.extend(hello.cluster.as_bytes());
    bytes.extend(hello.from.to_le_bytes());
    bytes.extend(hello.to.to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.resize(BYTES, 0);
    bytes
}

#[test]
fn strangers_are_refused_and_told_why() {
    let cluster = Cluster::start(1);
    let view = cluster.view(0).unwrap();
    let own = view["cluster"].as_str().unwrap().parse().unwrap();
    let (version, foreign) = (VERSION, uuid::Uuid::from_u128(7));
    for (hello, refusal) in [
        (Hello { version, cluster: own, from: 9, to: 1 }, 0),
        (Hello { version: 99, cluster: own, from: 9, to: 1 }, 1),
        (Hello { version: 2, cluster: own, from: 9, to: 1 }, 1),
        (Hello { version, cluster: foreign, from: 9, to: 1 }, 2),
        (Hello { version, cluster: own, from: 9, to: 5 }, 3),
        (Hello { version, cluster: own, from: 1, to: 1 }, 4),
    ] {
        assert_eq!(answer(&view, &spelled(&hello)), Some((VERSION, refusal)));
    }
    assert_eq!(answer(&view, &[b'x'; BYTES]), None, "it is no node");
    let said = cluster.node(0).stderr();
    for why in [
        "it asked in a newer version of the protocol, and may ask again in an older one",
        "it speaks only older versions of the protocol",
        "it belongs to another cluster",
        "it asked for another node than this",
        "it has the number of this node",
    ] {
        assert!(said.contains(why), "{why} is not in {said}");
    }
    cluster.client(0).append(r#"{"data":1}"#);
}

/// The cluster as a node sees it, with how a stranger that knows its UUID greets it.
fn known(cluster: &Cluster) -> (Value, Hello) {
    let view = cluster.view(0).unwrap();
    let uuid = view["cluster"].as_str().unwrap().parse().unwrap();
    (view, Hello { version: VERSION, cluster: uuid, from: 9, to: 1 })
}

/// Whether a node lets in who greets it in plain bytes.
pub(crate) fn is_let_in(cluster: &Cluster, number: usize) -> bool {
    let (_, hello) = known(cluster);
    let view = cluster.view(number).unwrap();
    let to = view["node"].as_u64().unwrap();
    answer(&view, &spelled(&Hello { to, ..hello })) == Some((VERSION, 0))
}

#[test]
fn what_a_stranger_announces_takes_no_memory() {
    let cluster = Cluster::start(1);
    let (view, hello) = known(&cluster);
    let before = cluster.node(0).memory();
    let mut streams: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = greeted(&view, ENTRIES, &hello);
            stream.write_all(&prefix(3 << 19)).unwrap();
            stream
        })
        .collect();
    // What came later was read, so all of it was.
    cluster.client(0).append(r#"{"data":1}"#);
    assert_eq!(answer(&view, &spelled(&hello)), Some((VERSION, 0)));
    let taken = cluster.node(0).memory().saturating_sub(before);
    assert!(taken < 32 << 20, "{} MiB for 7 KiB", taken >> 20);
    streams.iter_mut().for_each(|stream| {
        stream.set_nonblocking(true).unwrap();
        assert!(!is_closed(stream), "it is still waited for the rest");
    });
}

#[test]
fn small_lanes_take_no_large_bodies() {
    let cluster = Cluster::start(1);
    let (view, hello) = known(&cluster);
    for lane in [ADOPTION, CONTROL] {
        let mut stream = greeted(&view, lane, &hello);
        stream.write_all(&prefix(64 << 10)).unwrap();
        assert!(is_closed(&mut stream), "lane {lane}");
    }
}

#[test]
fn who_asks_to_join_and_falls_silent_is_left() {
    let cluster = Cluster::start(1);
    let (view, hello) = known(&cluster);
    let mut silent = greeted(&view, ADOPTION, &hello);
    let mut halfway = greeted(&view, ADOPTION, &hello);
    halfway.write_all(&prefix(0)[..10]).unwrap();
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut halfway));
}

#[test]
fn silent_strangers_keep_no_member_out() {
    let cluster = Cluster::start(2);
    let (view, hello) = known(&cluster);
    let member = Hello { from: 2, ..hello };
    let mut before = greeted(&view, CONTROL, &member);
    let mut silent: Vec<_> = (0..4 * STRANGERS).map(|_| connect(&view)).collect();
    assert!(is_closed(&mut silent[0]), "the first had to give way");
    let mut stranger = greeted(&view, ADOPTION, &Hello { from: 9, ..member });
    drop(greeted(&view, CONTROL, &member));
    let more: Vec<_> = (0..2 * STRANGERS).map(|_| connect(&view)).collect();
    assert!(is_closed(&mut stranger), "strangers give way to each other");
    before.set_nonblocking(true).unwrap();
    assert!(!is_closed(&mut before), "a member gives way to no stranger");
    drop((silent, more));
    cluster.client(0).append(r#"{"data":1}"#);
}
