//! The first block of a segment.

use uuid::Uuid;

use crate::{
    base::ids::{ClusterId, NodeId},
    log::cursor::{Reader, Writer, has_next, is_zero},
};

/// The format of segments, and of groups. Stable: it is on disk.
pub const VERSION: u32 = 1;
/// The format of a segment that was written anew. Stable: it is on disk.
pub const REWRITTEN_VERSION: u32 = 2;

const SEGMENT_MAGIC: [u8; 8] = *b"CAGTLOG\n";

/// Block 0 of a segment that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster whose history this is.
    pub cluster: ClusterId,
    /// The node that wrote it.
    pub node: NodeId,
    /// The segment's number, consecutive from 1; its file name says the same.
    pub sequence: u64,
    /// A random number that every group of this segment repeats, so that no
    /// bytes a client sends can pass for a group.
    pub nonce: u64,
    /// The length of the file.
    pub segment_bytes: u64,
    /// The number of the first group.
    pub first_group: u64,
    /// The Raft index that the next entry would have had.
    pub first_index: u64,
    /// The checksum of the group before the first one; 0 for the very first.
    pub chain: u32,
    /// Of a segment that was written anew.
    pub rewritten: Option<Rewritten>,
}

/// What tells that a segment that was written anew is whole, and that the next one follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The checksum of its last group, as it is now.
    pub ends: u32,
    /// That of its last group as it was at first, which the next segment continues.
    pub continues: u32,
}

/// What block 0 of a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderBlock {
    /// Zeros: the segment is prepared but not used.
    Unused,
    /// A sound header.
    Used(SegmentHeader),
    /// A sound preamble of another format.
    OtherVersion(u32),
    /// Neither: torn or damaged.
    Invalid,
}

impl SegmentHeader {
    /// Writes the header into a zero-filled block.
    pub fn encode(&self, block: &mut [u8]) {
        let mut w = Writer { out: block, at: 0 };
        w.put(&SEGMENT_MAGIC);
        w.u32(if self.rewritten.is_some() { REWRITTEN_VERSION } else { VERSION });
        let preamble = crc32c::crc32c(w.written());
        w.u32(preamble);
        w.put(self.cluster.0.as_bytes());
        w.u64(self.node);
        w.u64(self.sequence);
        w.u64(self.nonce);
        w.u64(self.segment_bytes);
        w.u64(self.first_group);
        w.u64(self.first_index);
        w.u32(self.chain);
        if let Some(Rewritten { ends, continues }) = self.rewritten {
            w.u32(ends);
            w.u32(continues);
        }
        let checksum = crc32c::crc32c(w.written());
        w.u32(checksum);
    }

    /// Reads a block; [`BLOCK`](crate::io::BLOCK) bytes are expected.
    #[must_use]
    pub fn decode(block: &[u8]) -> HeaderBlock {
        if is_zero(block) {
            return HeaderBlock::Unused;
        }
        Self::read(block).unwrap_or(HeaderBlock::Invalid)
    }

    fn read(block: &[u8]) -> Option<HeaderBlock> {
        let mut r = Reader { bytes: block, at: 0 };
        if r.take(8)? != SEGMENT_MAGIC {
            return None;
        }
        let version = r.u32()?;
        let preamble = crc32c::crc32c(r.seen());
        if r.u32()? != preamble {
            return None;
        }
        if !matches!(version, VERSION | REWRITTEN_VERSION) {
            return Some(HeaderBlock::OtherVersion(version));
        }
        let cluster = ClusterId(Uuid::from_slice(r.take(16)?).ok()?);
        let header = Self {
            cluster,
            node: r.u64()?,
            sequence: r.u64()?,
            nonce: r.u64()?,
            segment_bytes: r.u64()?,
            first_group: r.u64()?,
            first_index: r.u64()?,
            chain: r.u32()?,
            rewritten: match version {
                VERSION => None,
                _ => Some(Rewritten { ends: r.u32()?, continues: r.u32()? }),
            },
        };
        let checksum = crc32c::crc32c(r.seen());
        let sound = r.u32()? == checksum && is_zero(block.get(r.at..)?);
        let sound = sound && has_next(header.first_index) && has_next(header.first_group);
        sound.then_some(HeaderBlock::Used(header))
    }
}
