//! What connects to the cluster port and does not belong there.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::{cluster::Cluster, common::PATIENCE};

const BYTES: usize = 56;
const VERSION: u32 = 1;
/// Heartbeats and votes.
const CONTROL: u32 = 2;

/// The first words of a connection: who asks, and for whom.
struct Hello {
    version: u32,
    cluster: uuid::Uuid,
    from: u64,
    to: u64,
}

/// The version and the refusal that a node answers with; nothing when it just
/// closes the connection.
fn answer(view: &Value, bytes: &[u8]) -> Option<(u32, u32)> {
    let own =
        view["members"].as_array().unwrap().iter().find(|member| member["id"] == view["node"]);
    let address = own.unwrap()["cluster_address"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut welcome = [0; BYTES];
    stream.read_exact(&mut welcome).ok()?;
    let word = |at: usize| u32::from_le_bytes(welcome[at..at + 4].try_into().unwrap());
    Some((word(8), word(12)))
}

fn spelled(hello: &Hello) -> Vec<u8> {
    let mut bytes = b"CAGTPEER".to_vec();
    bytes.extend(hello.version.to_le_bytes());
    bytes.extend(CONTROL.to_le_bytes());
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
        (Hello { version, cluster: foreign, from: 9, to: 1 }, 2),
        (Hello { version, cluster: own, from: 9, to: 5 }, 3),
        (Hello { version, cluster: own, from: 1, to: 1 }, 4),
    ] {
        assert_eq!(answer(&view, &spelled(&hello)), Some((VERSION, refusal)));
    }
    assert_eq!(answer(&view, &[b'x'; BYTES]), None, "it is no node");
    let said = cluster.node(0).stderr();
    for why in [
        "it speaks another version of the protocol",
        "it belongs to another cluster",
        "it asked for another node than this",
        "it has the number of this node",
    ] {
        assert!(said.contains(why), "{why} is not in {said}");
    }
    cluster.client(0).append(r#"{"data":1}"#);
}
