//! The bytes of one file: what a reader sees, and what would survive a power loss.
//!
//! A write is volatile, sector by sector, until the file is synced or the write itself is a
//! durable one; a sector that was written several times meanwhile may survive as any of these
//! versions, since the disk is free to write it out at any time. The length is volatile
//! likewise. What a length that survived has beyond the bytes that did is anything.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use rand::{Rng, RngExt, rngs::StdRng};

use super::faults::{Loss, SECTOR};
use crate::io::simulated::tally::{Event, count};

/// The versions of a sector that a newer one took the place of, oldest first.
type Older = Vec<Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct Content {
    /// What a reader sees.
    live: Vec<u8>,
    /// What surely survives a power loss.
    durable: Vec<u8>,
    /// Sectors written since they were last made durable.
    volatile: BTreeMap<usize, Older>,
    /// The length changed since it was last made durable.
    is_resized: bool,
    /// Held by whoever has the file open.
    pub(super) opened: Arc<()>,
}

impl Clone for Content {
    /// The same file, which nobody has open.
    fn clone(&self) -> Self {
        Self {
            live: self.live.clone(),
            durable: self.durable.clone(),
            volatile: self.volatile.clone(),
            is_resized: self.is_resized,
            opened: Arc::default(),
        }
    }
}

impl Content {
    /// A file with these bytes, all durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.opened) > 1
    }

    /// Writes `bytes` at `at`, volatile.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.live.len() < end {
            self.set_len(end);
        }
        for sector in sectors(at..end) {
            match self.volatile.get_mut(&sector) {
                None => drop(self.volatile.insert(sector, Vec::new())),
                Some(older) => {
                    let range = bytes_of(sector, self.live.len());
                    older.extend(self.live.get(range).map(<[u8]>::to_vec));
                }
            }
        }
        if let Some(to) = self.live.get_mut(at..end) {
            to.copy_from_slice(bytes);
        }
    }

    /// Cuts or extends the file, volatile.
    pub(super) fn set_len(&mut self, bytes: usize) {
        self.live.resize(bytes, 0);
        self.volatile.retain(|&sector, _| sector * SECTOR < bytes);
        self.is_resized = true;
    }

    /// Makes what was written in `range` durable.
    pub(super) fn settle_range(&mut self, range: Range<usize>) {
        for sector in sectors(range) {
            if self.volatile.remove(&sector).is_some() {
                self.settle(sector);
            }
        }
    }

    /// Makes all of it durable, as a sync does.
    pub(super) fn settle_all(&mut self) {
        if std::mem::take(&mut self.is_resized) {
            self.durable.resize(self.live.len(), 0);
        }
        for sector in std::mem::take(&mut self.volatile).into_keys() {
            self.settle(sector);
        }
    }

    /// Makes a part of it durable, and leaves the rest to no later sync.
    pub(super) fn fail_sync(&mut self, rng: &mut StdRng) {
        if std::mem::take(&mut self.is_resized) && rng.random() {
            self.durable.resize(self.live.len(), 0);
        }
        for sector in std::mem::take(&mut self.volatile).into_keys() {
            if rng.random() {
                self.settle(sector);
            }
        }
    }

    /// Makes one sector durable as it is.
    fn settle(&mut self, sector: usize) {
        let range = bytes_of(sector, self.live.len());
        let Some(bytes) = self.live.get(range.clone()) else { return };
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        if let Some(to) = self.durable.get_mut(range) {
            to.copy_from_slice(bytes);
        }
    }

    /// Leaves what survives when the power goes.
    pub(super) fn lose_power(&mut self, loss: Loss, rng: &mut StdRng) {
        match loss {
            Loss::All => {}
            Loss::Nothing => self.settle_all(),
            Loss::Random => self.lose_any(rng),
        }
        self.volatile.clear();
        self.is_resized = false;
        self.live.clone_from(&self.durable);
    }

    fn lose_any(&mut self, rng: &mut StdRng) {
        if self.is_resized {
            let (old, new) = (self.durable.len(), self.live.len());
            let bytes = match rng.random_range(0..3) {
                0 => old,
                1 => new,
                _ => rng.random_range(old.min(new)..=old.max(new)),
            };
            self.durable.resize(bytes, 0);
            if rng.random_ratio(1, 4)
                && let Some(beyond) = self.durable.get_mut(old..)
            {
                // What lay there before belonged to somebody else.
                rng.fill_bytes(beyond);
            }
        }
        let bytes = self.durable.len();
        let (mut lost, mut kept) = (false, false);
        for (sector, older) in std::mem::take(&mut self.volatile) {
            let range = bytes_of(sector, bytes.min(self.live.len()));
            // Of `older` and the newest, or none of them.
            let version = rng.random_range(0..older.len() + 2);
            let bytes = older.get(version).map(Vec::as_slice);
            let newest = (version == older.len()).then(|| self.live.get(range.clone())).flatten();
            kept |= newest.is_some();
            lost |= newest.is_none();
            let Some(survives) = bytes.or(newest) else { continue };
            let Some(to) = self.durable.get_mut(range) else { continue };
            let bytes = to.len().min(survives.len());
            to[..bytes].copy_from_slice(&survives[..bytes]);
        }
        if lost && kept {
            count(Event::WriteIsTorn);
        }
    }

    /// Changes the bytes at rest, as a failing medium does.
    pub(super) fn damage(&mut self, change: impl Fn(&mut [u8])) {
        change(&mut self.live);
        change(&mut self.durable);
    }
}

/// The sectors that `range` touches.
fn sectors(range: Range<usize>) -> Range<usize> {
    range.start / SECTOR..range.end.div_ceil(SECTOR)
}

/// The bytes of a sector in a file of `len` bytes.
fn bytes_of(sector: usize, len: usize) -> Range<usize> {
    let start = sector * SECTOR;
    start..len.min(start + SECTOR).max(start)
}
