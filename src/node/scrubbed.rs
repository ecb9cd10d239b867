//! What the scrub has found, as every core may read it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where a segment is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its file in the data directory.
    pub file: String,
    /// The first byte of what is not sound.
    pub offset: u64,
}

/// What was read, when all of it was, and what is damaged.
#[derive(Debug, Default)]
pub struct Scrubbed {
    bytes: AtomicU64,
    round_ended: AtomicU64,
    /// By the number of the segment.
    damaged: Mutex<BTreeMap<u64, Damaged>>,
}

impl Scrubbed {
    /// Bytes that were read since the start.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last round ended that read everything: microseconds since 1970, 0 before.
    #[must_use]
    pub fn round_ended(&self) -> u64 {
        self.round_ended.load(Ordering::Relaxed)
    }

    /// What is damaged, oldest first.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damaged> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end_round(&self, at_micros: u64) {
        self.round_ended.store(at_micros, Ordering::Relaxed);
    }

    /// Says whether that was not known.
    pub(super) fn set_damaged(&self, segment: u64, file: &str, offset: u64) -> bool {
        let damaged = Damaged { file: file.to_owned(), offset };
        self.lock().insert(segment, damaged.clone()) != Some(damaged)
    }

    pub(super) fn set_sound(&self, segment: u64) {
        self.lock().remove(&segment);
    }

    pub(super) fn forget_before(&self, segment: u64) {
        self.lock().retain(|damaged, _| *damaged >= segment);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Damaged>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
