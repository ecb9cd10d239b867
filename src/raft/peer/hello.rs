//! The first words of a connection. Their layout never changes, so that any two
//! versions can at least tell each other apart.

use std::{fmt, io, time::Duration};

use uuid::Uuid;

use super::processes::{Instance, Process};
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        protocol::Versions,
    },
    io::{Dialer, cores, net::Stream},
    log::Identity,
};

const MAGIC: [u8; 8] = *b"CAGTPEER";
pub(super) const BYTES: usize = 56;

/// What a connection is for. Messages of one lane do not wait for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Entries of the log.
    Entries = 1,
    /// Heartbeats and votes.
    Control = 2,
    /// Checkpoints of purged history.
    Snapshot = 3,
    /// Writes handed to the leader, and where reads stand.
    Requests = 4,
    /// A node is asked to join a cluster that it does not belong to yet.
    Adoption = 5,
    /// Changes of the cluster, which may take their time.
    Admin = 6,
}

impl Lane {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Entries,
            2 => Self::Control,
            3 => Self::Snapshot,
            4 => Self::Requests,
            5 => Self::Adoption,
            6 => Self::Admin,
            _ => return None,
        })
    }
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It speaks no version of the protocol that the node which asks speaks. The newest of its own.
    Version(u32),
    /// It belongs to another cluster.
    Cluster(ClusterId),
    /// It is another node than the one that was asked for.
    Node(NodeId),
    /// It has the number of the node that asks.
    SameNode,
    /// The node that asks was a member once and is none any more.
    Removed,
    /// Another process is alive that is the node that asks.
    OtherProcess,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(theirs) => {
                write!(f, "it speaks version {theirs} of the protocol, and this node does not")
            }
            Self::Cluster(theirs) => write!(f, "it belongs to another cluster, {theirs}"),
            Self::Node(theirs) => write!(f, "it is node {theirs} there"),
            Self::SameNode => write!(f, "it has the number of this node"),
            Self::Removed => write!(f, "this node was removed from the cluster"),
            Self::OtherProcess => {
                write!(f, "another process has the number and the cluster of this node")
            }
        }
    }
}

/// What whoever connects says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The version that it would speak.
    pub(super) version: u32,
    pub(super) lane: Lane,
    pub(super) from: Identity,
    pub(super) to: NodeId,
    pub(super) process: Process,
}

impl Hello {
    pub(super) async fn send(&self, stream: &Stream) -> io::Result<()> {
        send(stream, self.words()).await
    }

    pub(super) fn words(&self) -> Words {
        let Self { version, lane, from, to, process } = *self;
        ([version, lane as u32], from.cluster, [from.node, to], process)
    }

    /// `None` when it is none.
    pub(super) async fn receive(stream: &Stream) -> io::Result<Option<Self>> {
        receive(stream).await.map(Self::of)
    }

    pub(super) fn of(([version, lane], cluster, [node, to], process): Words) -> Option<Self> {
        let from = Identity { cluster, node };
        Lane::of(lane).map(|lane| Self { version, lane, from, to, process })
    }
}

/// The answer to a hello: who is there, and whether it will listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    /// The version that both speak, or the newest that is spoken here where the other's is not.
    pub(super) version: u32,
    pub(super) who: Identity,
    pub(super) refusal: Option<Refusal>,
    pub(super) process: Process,
}

/// The numbers of refusals. Stable: other versions read them.
mod number {
    pub(super) const NONE: u32 = 0;
    pub(super) const VERSION: u32 = 1;
    pub(super) const CLUSTER: u32 = 2;
    pub(super) const NODE: u32 = 3;
    pub(super) const SAME_NODE: u32 = 4;
    pub(super) const REMOVED: u32 = 5;
    pub(super) const OTHER_PROCESS: u32 = 6;
}

impl Welcome {
    pub(super) async fn send(&self, stream: &Stream) -> io::Result<()> {
        send(stream, self.words()).await
    }

    pub(super) fn words(&self) -> Words {
        let number = match self.refusal {
            None => number::NONE,
            Some(Refusal::Version(_)) => number::VERSION,
            Some(Refusal::Cluster(_)) => number::CLUSTER,
            Some(Refusal::Node(_)) => number::NODE,
            Some(Refusal::SameNode) => number::SAME_NODE,
            Some(Refusal::Removed) => number::REMOVED,
            Some(Refusal::OtherProcess) => number::OTHER_PROCESS,
        };
        let Identity { cluster, node } = self.who;
        ([self.version, number], cluster, [node, 0], self.process)
    }

    pub(super) async fn receive(stream: &Stream) -> io::Result<Self> {
        receive(stream).await.map(Self::of)
    }

    pub(super) fn of(([version, number], cluster, [node, _], process): Words) -> Self {
        let who = Identity { cluster, node };
        let refusal = match number {
            number::NONE => None,
            number::CLUSTER => Some(Refusal::Cluster(cluster)),
            number::NODE => Some(Refusal::Node(node)),
            number::SAME_NODE => Some(Refusal::SameNode),
            number::REMOVED => Some(Refusal::Removed),
            number::OTHER_PROCESS => Some(Refusal::OtherProcess),
            _ => Some(Refusal::Version(version)),
        };
        Self { version, who, refusal, process }
    }
}

impl Instance {
    /// What this one says first to node `to`.
    pub(super) fn hello(self, lane: Lane, to: NodeId) -> Hello {
        let Self { who: from, process, speaks: Versions { newest: version, .. } } = self;
        Hello { version, lane, from, to, process }
    }
}

/// Says who is at `address`; nothing when nobody says so within `limit`.
pub(super) async fn ask_who(
    address: &str,
    (own, dialer): (Instance, &Dialer),
    to: NodeId,
    limit: Duration,
) -> Option<Welcome> {
    let ask = async {
        let stream = dialer.connect(address, limit).await?;
        // On this lane all are heard, and who there is says so also in another version.
        own.hello(Lane::Adoption, to).send(&stream).await?;
        Welcome::receive(&stream).await
    };
    cores::within(limit, ask).await?.ok()
}

/// Small words, a cluster, nodes, and the process, which has no checksum.
pub(super) type Words = ([u32; 2], ClusterId, [u64; 2], Process);

async fn send(stream: &Stream, words: Words) -> io::Result<()> {
    let bytes = written(words);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let written = stream.write(&[io::IoSlice::new(rest)]).await?;
        rest = &rest[written..];
    }
    Ok(())
}

pub(super) fn written((small, cluster, nodes, process): Words) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC);
    small.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    bytes.extend_from_slice(cluster.0.as_bytes());
    nodes.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(&process.to_le_bytes());
    debug_assert_eq!(bytes.len(), BYTES);
    bytes
}

async fn receive(stream: &Stream) -> io::Result<Words> {
    let mut bytes = [0; BYTES];
    stream.read_exact(&mut bytes).await?;
    read(&bytes).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "what is there is no node of a cluster")
    })
}

pub(super) fn read(bytes: &[u8; BYTES]) -> Option<Words> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (small, rest) = rest.split_first_chunk::<8>()?;
    let (cluster, rest) = rest.split_first_chunk::<16>()?;
    let (nodes, rest) = rest.split_first_chunk::<16>()?;
    let checksum = crc32c::crc32c(bytes.get(..48)?).to_le_bytes();
    let (sum, process) = rest.split_first_chunk::<4>()?;
    if *magic != MAGIC || *sum != checksum {
        return None;
    }
    let process = Process::from_le_bytes(*process.first_chunk()?);
    let word = |at: usize| Some(u32::from_le_bytes(*small.get(at..)?.first_chunk()?));
    let node = |at: usize| Some(u64::from_le_bytes(*nodes.get(at..)?.first_chunk()?));
    let cluster = ClusterId(Uuid::from_bytes(*cluster));
    Some(([word(0)?, word(4)?], cluster, [node(0)?, node(8)?], process))
}

/// Makes any bytes words of this layout.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn put_checksum(bytes: &mut [u8; BYTES]) {
    bytes[..8].copy_from_slice(&MAGIC);
    let checksum = crc32c::crc32c(&bytes[..48]).to_le_bytes();
    bytes[48..52].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_are_read_as_they_were_written_and_not_otherwise(
            small in any::<[u32; 2]>(),
            cluster in any::<u128>(),
            nodes in any::<[u64; 2]>(),
            process in any::<Process>(),
            flip in 0usize..52 * 8,
        ) {
            let cluster = ClusterId(Uuid::from_u128(cluster));
            let words = (small, cluster, nodes, process);
            let mut bytes: [u8; BYTES] = written(words).try_into().unwrap();
            prop_assert_eq!(read(&bytes), Some(words));
            bytes[flip / 8] ^= 1u8 << (flip % 8);
            prop_assert_eq!(read(&bytes), None);
        }
    }
}
