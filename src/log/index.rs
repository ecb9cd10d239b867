//! What a complete segment amounts to for the log, kept in the index file beside it: so that a
//! start need not read the segment, and no place of an entry is held in memory.
//!
//! ```text
//! section 1  how the segment ends: `End`, in postcard
//! section 2  the place of each entry: u32 offset, u32 length, little-endian
//! ```

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Identity, Place, Sealed, Vote,
    format::{HardState, SegmentHeader},
};
use crate::{
    base::ids::{ClusterId, LogId, NodeId},
    sections::{Builder, Fault, Missing, Sections},
};

const END: u32 = 1;
const ENTRIES: u32 = 2;
const ENTRY_BYTES: usize = 8;

/// How the names of indexes end.
pub const SUFFIX: &str = ".index";

/// The name of the index of a segment.
#[must_use]
pub fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// How a segment ends.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    cluster: [u8; 16],
    node: u64,
    sequence: u64,
    nonce: u64,
    next_group: u64,
    chain: u32,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    kept: Option<u64>,
    applied: Option<u64>,
    first: u64,
    /// The first index of each term.
    terms: Vec<(u64, u64)>,
}

/// Puts what the log needs of a segment into its index. Entries up to `applied` are known to be
/// committed, and those beyond that it held were removed since.
pub fn put(builder: &mut Builder, identity: Identity, sealed: &Sealed, applied: Option<u64>) {
    let mut terms: Vec<(u64, u64)> = Vec::new();
    let mut places = Vec::with_capacity(ENTRY_BYTES * sealed.entries.len());
    for (id, place) in &sealed.entries {
        if terms.last().is_none_or(|(_, term)| *term != id.term) {
            terms.push((id.index, id.term));
        }
        places.extend_from_slice(&place.offset.to_le_bytes());
        places.extend_from_slice(&place.bytes.to_le_bytes());
    }
    let HardState { vote, committed, purged } = sealed.state;
    let end = End {
        cluster: *identity.cluster.0.as_bytes(),
        node: identity.node,
        sequence: sealed.sequence,
        nonce: sealed.nonce,
        next_group: sealed.next_group,
        chain: sealed.chain,
        vote,
        committed,
        purged,
        kept: sealed.kept,
        applied,
        first: sealed.entries.first().map_or(0, |(id, _)| id.index),
        terms,
    };
    let end = postcard::to_allocvec(&end).expect("numbers are written to memory");
    builder.add(END, end);
    builder.add(ENTRIES, places);
}

/// The entries of a complete segment, those that were removed since included.
#[derive(Clone)]
pub struct Run {
    segment: u64,
    first: u64,
    next: u64,
    terms: Arc<[(u64, u64)]>,
    sections: Arc<Sections>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} in {}", self.first, self.next, self.segment)
    }
}

impl Run {
    /// The number of the segment.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// The index of its first entry.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The index after its last entry.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The entry at `index`, which must be one of these.
    #[must_use]
    pub fn id(&self, index: u64) -> LogId {
        assert!(self.first <= index && index < self.next, "entry {index} of {self:?}");
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        LogId { term: after.checked_sub(1).map_or(0, |n| self.terms[n].1), index }
    }

    /// What must be brought into memory before [`place`](Self::place) is asked.
    #[must_use]
    pub fn missing(&self, indexes: Range<u64>) -> Option<Missing> {
        let range = self.range(indexes.start).start..self.range(indexes.end).start;
        self.sections.missing(ENTRIES, range)
    }

    fn range(&self, index: u64) -> Range<usize> {
        let at = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX / 16);
        at * ENTRY_BYTES..(at + 1) * ENTRY_BYTES
    }

    /// Where the payload of the entry at `index` lies.
    ///
    /// # Errors
    /// The index is damaged there, or has no such entry.
    pub fn place(&self, index: u64) -> Result<Place, Fault> {
        let place = self.places(index..index + 1)?.next();
        place.ok_or_else(|| Fault { offset: 0, reason: format!("it has no entry {index}") })
    }

    /// Where the payloads of entries lie, in order.
    ///
    /// # Errors
    /// The index is damaged there, or has no such entries.
    pub fn places(&self, indexes: Range<u64>) -> Result<impl Iterator<Item = Place>, Fault> {
        let range = self.range(indexes.start).start..self.range(indexes.end).start;
        let (places, _) = self.sections.get(ENTRIES, range)?.as_chunks::<ENTRY_BYTES>();
        Ok(places.iter().map(|place| {
            let both = u64::from_le_bytes(*place);
            Place { segment: self.segment, offset: both as u32, bytes: (both >> 32) as u32 }
        }))
    }
}

/// What the index of a segment tells the log.
#[derive(Clone)]
pub struct Indexed {
    /// Whose segment it is.
    pub identity: Identity,
    /// Its entries.
    pub run: Run,
    pub(super) nonce: u64,
    pub(super) next_group: u64,
    pub(super) chain: u32,
    pub(super) state: HardState,
    pub(super) kept: Option<u64>,
    pub(super) applied: Option<u64>,
}

impl Indexed {
    /// Reads what [`put`] wrote.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(sections: &Arc<Sections>) -> Result<Self, Fault> {
        let fault = |reason: &str| Fault { offset: 0, reason: reason.into() };
        let bytes = sections.all(END)?;
        let end: End = postcard::from_bytes(bytes).map_err(|_| fault("its end cannot be read"))?;
        let count = (sections.len(ENTRIES) / ENTRY_BYTES) as u64;
        let next = end.first.checked_add(count).ok_or_else(|| fault("an index that is none"))?;
        let run = Run {
            segment: end.sequence,
            first: end.first,
            next,
            terms: end.terms.into(),
            sections: Arc::clone(sections),
        };
        Ok(Self {
            identity: Identity {
                cluster: ClusterId(uuid::Uuid::from_bytes(end.cluster)),
                node: end.node,
            },
            run,
            nonce: end.nonce,
            next_group: end.next_group,
            chain: end.chain,
            state: HardState { vote: end.vote, committed: end.committed, purged: end.purged },
            kept: end.kept,
            applied: end.applied,
        })
    }

    /// The bytes of the same index for the same segment in the log of another node.
    ///
    /// # Errors
    /// It is damaged.
    pub fn given_to(sections: &Sections, node: NodeId) -> Result<Vec<u8>, Fault> {
        let mut builder = Builder::default();
        for kind in sections.kinds() {
            let mut bytes = sections.all(kind)?.to_vec();
            if kind == END {
                let end: End = postcard::from_bytes(&bytes)
                    .map_err(|_| Fault { offset: 0, reason: "its end cannot be read".into() })?;
                bytes = postcard::to_allocvec(&End { node, ..end })
                    .expect("numbers are written to memory");
            }
            builder.add(kind, bytes);
        }
        Ok(builder.finish())
    }

    /// The number that the groups of the segment repeat.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Whether it is that of this segment.
    #[must_use]
    pub fn is_of(&self, header: &SegmentHeader) -> bool {
        let identity = Identity { cluster: header.cluster, node: header.node };
        (self.identity, self.run.segment, self.nonce) == (identity, header.sequence, header.nonce)
    }
}
