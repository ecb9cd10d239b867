//! What rots at a copy: entries come from its origin, and where they do not fit the copy begins anew.

use std::time::Duration;

use super::{age::CopyAge, frames::Frames, origins::Origins, said::Said};
use crate::{
    base::ids::{ClusterId, LogId},
    io::Disk,
    log::Entry,
    raft::{Gives, Replica},
};

/// The origins of a copy, as those who have entries that rotted there.
pub(in crate::node) struct FromOrigin {
    origins: Origins,
    own: ClusterId,
    longest: usize,
}

impl FromOrigin {
    pub(in crate::node) fn new<D: Disk>(replica: &Replica<D>, copy: &CopyAge) -> Self {
        let (origins, log) = (Origins::new(copy.of()).of(copy.tenants()), replica.log());
        Self { origins, own: log.identity().cluster, longest: log.payload_bytes_max() }
    }

    async fn piece(&self, first: LogId, last: u64) -> Option<Vec<Entry>> {
        let (cluster, said) =
            self.origins.piece(first.index, self.longest, Duration::ZERO).await.ok()?;
        let Said::Piece(piece) = said else { return None };
        let frames = Frames::read(piece.frames, first.index).filter(|_| cluster == self.own)?;
        if frames.ids.first() != Some(&first) {
            return None;
        }
        Some(frames.entries().take_while(|entry| entry.id.index <= last).collect())
    }
}

impl Gives for FromOrigin {
    async fn entries(&mut self, first: LogId, last: u64) -> Option<Vec<Entry>> {
        for _ in 0..self.origins.count() {
            if let Some(entries) = self.piece(first, last).await {
                return Some(entries);
            }
            self.origins.pass_on();
        }
        None
    }
}
