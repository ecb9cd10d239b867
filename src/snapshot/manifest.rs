//! What a snapshot is made of.

use std::{io, ops::RangeInclusive, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    base::{ids::LogId, planted::planted},
    checkpoint::store,
    io::{BLOCK, Files, map::Mapping},
    log::{self, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, format::SegmentHeader, number},
    sections::Sections,
};

/// How the names of whole states end.
pub const STATE_SUFFIX: &str = ".state";

/// The files of a snapshot are no more than fit one message with this many bytes.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// The longest file that is no segment.
const FILE_BYTES_MAX: u64 = 1 << 40;

/// What a node holds for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last entry that it stands for.
    pub last: LogId,
    /// The checkpoint that it begins with, by the last entry that that stands for.
    pub purged: Option<LogId>,
    /// The segments that go on from there, all of them complete.
    pub segments: Option<RangeInclusive<u64>>,
    /// The members as of the last entry, in JSON.
    pub raft: String,
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A checkpoint, by the index of the last entry that it stands for.
    Checkpoint(u64),
    /// A segment.
    Segment {
        /// Its number.
        sequence: u64,
        /// The number that its groups repeat.
        nonce: u64,
        /// What its last group has as a checksum, where it was written anew: what is redacted is gone
        /// from it then.
        rewritten: Option<u32>,
    },
    /// The index of a segment.
    Index {
        /// The number of the segment.
        sequence: u64,
        /// The number that the groups of the segment repeat.
        nonce: u64,
        /// The checksum of its checksums: it may say of more that it is gone from the segment.
        sum: u32,
    },
    /// The whole state after a segment.
    State(u64),
}

impl Kind {
    /// The segment that has this header.
    #[must_use]
    pub fn of(header: &SegmentHeader) -> Self {
        let rewritten = header.rewritten.map(|rewritten| rewritten.ends);
        Self::Segment { sequence: header.sequence, nonce: header.nonce, rewritten }
    }

    /// The name in a data directory.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Checkpoint(index) => store::file_name(index),
            Self::Segment { sequence, .. } => log::file_name(sequence),
            Self::Index { sequence, .. } => log::index::file_name(sequence),
            Self::State(sequence) => format!("{sequence:020}{STATE_SUFFIX}"),
        }
    }
}

/// A file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Which it is.
    pub kind: Kind,
    /// Its length.
    pub bytes: u64,
}

/// All files of a snapshot, in the order in which they travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The last entry that it stands for.
    pub last: LogId,
    /// The last entry that its checkpoint stands for, if it has one.
    pub purged: Option<LogId>,
    /// The members as of the last entry, in JSON.
    pub raft: String,
    /// The checkpoint; then each segment, with its index after it; then the whole state.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// Looks up what a node holds, and opens it: what is removed or written anew meanwhile is sent as
    /// it is now. Waits for the disk.
    ///
    /// # Errors
    /// A file of it is missing: purged, as a rule.
    pub fn of(files: &impl Files, held: &Held) -> io::Result<(Self, Vec<Arc<Mapping>>)> {
        let list = files.list()?;
        let (mut found, mut maps) = (Vec::new(), Vec::new());
        let mut add = |kind, map: Arc<Mapping>| {
            found.push(FileEntry { kind, bytes: map.len() as u64 });
            maps.push(map);
        };
        if let Some(purged) = held.purged {
            let kind = Kind::Checkpoint(purged.index);
            add(kind, Arc::new(files.map(&kind.name())?));
        }
        for sequence in held.segments.clone().into_iter().flatten() {
            // An index may say that something is gone from its segment: that must be no older. One
            // that is missing is made anew where it is missed.
            let early = planted!(SendBeforeErased).then(|| files.map(&log::file_name(sequence)));
            let index = files.map(&log::index::file_name(sequence));
            let index = index.and_then(|map| Sections::open(map).map_err(io::Error::other)).ok();
            let map = early.unwrap_or_else(|| files.map(&log::file_name(sequence)))?;
            let header = log::header(&map).ok_or_else(|| {
                io::Error::other(format!("segment {sequence} has no sound header"))
            })?;
            add(Kind::of(&header), Arc::new(map));
            if let Some(index) = index {
                let kind = Kind::Index { sequence, nonce: header.nonce, sum: index.sum() };
                add(kind, Arc::clone(index.map()));
            }
        }
        let states = list.iter().filter_map(|file| number(&file.name, STATE_SUFFIX));
        let fits = |state: &u64| held.segments.as_ref().is_some_and(|all| all.contains(state));
        if let Some(state) = states.filter(fits).max().map(Kind::State)
            && let Ok(map) = files.map(&state.name())
        {
            add(state, Arc::new(map));
        }
        let manifest =
            Self { last: held.last, purged: held.purged, raft: held.raft.clone(), files: found };
        manifest.check().map(|()| (manifest, maps)).map_err(io::Error::other)
    }

    /// Reads one that came from another node.
    ///
    /// # Errors
    /// It is none that this program can use.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        let manifest: Self = postcard::from_bytes(bytes)
            .map_err(|_| invalid("what a snapshot is made of cannot be read"))?;
        manifest.check().map(|()| manifest).map_err(invalid)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It has more files than one message can name.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        match bytes.len() {
            0..=MANIFEST_BYTES_MAX => Ok(bytes),
            _ => Err(io::Error::other("a snapshot has more files than can be named")),
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The last segment.
    #[must_use]
    pub fn last_segment(&self) -> Option<u64> {
        self.files.iter().rev().find_map(|file| match file.kind {
            Kind::Segment { sequence, .. } => Some(sequence),
            _ => None,
        })
    }

    /// Whether the files are in order and without a gap.
    fn check(&self) -> Result<(), &'static str> {
        let mut files = self.files.iter().peekable();
        let checkpoint = files.next_if(|file| matches!(file.kind, Kind::Checkpoint(_)));
        let stands_for = checkpoint.map(|file| file.kind);
        if stands_for != self.purged.map(|id| Kind::Checkpoint(id.index)) {
            return Err("a snapshot does not begin with its checkpoint");
        }
        let mut before: Option<(u64, u64, bool)> = None;
        while let Some(file) = files.next() {
            let follows = match (file.kind, before) {
                (Kind::Segment { sequence, nonce, .. }, last) => {
                    let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&file.bytes)
                        && file.bytes.is_multiple_of(BLOCK as u64);
                    let next = last.map_or(sequence > 0, |(n, ..)| sequence == n + 1);
                    before = Some((sequence, nonce, false));
                    fits && next
                }
                (Kind::Index { sequence, nonce, .. }, Some(one)) => {
                    let own = one == (sequence, nonce, false);
                    before = Some((sequence, nonce, true));
                    own && file.bytes < FILE_BYTES_MAX
                }
                (Kind::State(after), Some((last, ..))) => {
                    files.peek().is_none() && after <= last && file.bytes < FILE_BYTES_MAX
                }
                _ => false,
            };
            if !follows {
                return Err("the files of a snapshot do not follow one another");
            }
        }
        match before {
            // What follows it goes on from its index.
            Some((_, _, false)) => Err("the last segment of a snapshot has no index"),
            None if self.purged != Some(self.last) => Err("a snapshot has no files"),
            _ => Ok(()),
        }
    }
}
