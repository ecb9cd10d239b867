//! The committed entries of segments that are complete, one segment after the other, with every
//! byte of them verified.

use bytes::Bytes;

use super::{
    Entry, Identity, OpenError,
    error::corrupt,
    format::{HeaderBlock, SegmentHeader},
    recover::{Recovery, Stop},
};
use crate::{base::ids::LogId, io::BLOCK};

/// What consecutive segments amount to.
#[derive(Default)]
pub struct Contents {
    /// Entries up to here are not handed out.
    skip_upto: Option<u64>,
    /// The header of the last one, and what all amount to.
    read: Option<(SegmentHeader, Recovery)>,
}

impl Contents {
    /// Of a log in which something stands for entries up to the index `upto`, if there is one.
    #[must_use]
    pub fn skipping(upto: Option<u64>) -> Self {
        Self { skip_upto: upto, read: None }
    }

    /// Reads the segment that is number `sequence`, and gives its entries.
    ///
    /// # Errors
    /// [`OpenError`]: it is damaged, or does not continue the one before.
    pub fn segment(&mut self, sequence: u64, bytes: &Bytes) -> Result<Vec<Entry>, OpenError> {
        let header = match SegmentHeader::decode(bytes.get(..BLOCK).unwrap_or_default()) {
            HeaderBlock::Used(header) => header,
            _ => return Err(corrupt(sequence, 0, "the header is missing or damaged")),
        };
        if header.sequence != sequence || header.segment_bytes != bytes.len() as u64 {
            return Err(corrupt(sequence, 0, "the header is another segment's"));
        }
        let mut recovery = match self.read.take() {
            None => Recovery::new(&header, self.skip_upto),
            Some((before, recovery)) => {
                let same = (before.cluster, before.node, before.sequence + 1)
                    == (header.cluster, header.node, header.sequence);
                if !same || !recovery.continues(&header) {
                    let reason = "the segment does not continue the one before it";
                    return Err(corrupt(sequence, 0, reason));
                }
                recovery
            }
        };
        let mut entries = Vec::new();
        let mut take = |entry: &Entry, _| {
            entries.push(entry.clone());
            Ok(())
        };
        recovery.segment(&header, bytes, false, &mut take).map_err(|stop| match stop {
            Stop::Damage { offset, reason } => corrupt(sequence, offset as u64, reason),
            Stop::Refused { id, reason } => OpenError::Replay { id, reason },
        })?;
        self.read = Some((header, recovery));
        Ok(entries)
    }

    /// Whose log it is, and where it ends.
    pub(super) fn end(&self) -> Option<(Identity, &Recovery)> {
        let (header, recovery) = self.read.as_ref()?;
        Some((Identity { cluster: header.cluster, node: header.node }, recovery))
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.end().map(|(identity, _)| identity)
    }

    /// The number of the segment that would come next.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.read.as_ref().map_or(1, |(header, _)| header.sequence + 1)
    }

    /// The last entry, be it one that something else stands for.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.read.as_ref().and_then(|(_, recovery)| recovery.last())
    }
}
