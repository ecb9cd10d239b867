//! What of the disk is known to be damaged, and how far the scrub is, as every core may read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::base::limits::DAMAGED_PLACES_MAX;

/// Where a file is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPlace {
    /// Its name in the data directory.
    pub file: String,
    /// The first byte of what is not sound.
    pub offset: u64,
}

/// What was read, when all of it was, and what was found damaged, by the scrub or by whoever
/// else has read it.
#[derive(Debug, Default)]
pub struct Scrubbed {
    bytes: AtomicU64,
    round_ended: AtomicU64,
    healed: AtomicU64,
    /// The places of each file. Invariant: 1 to [`DAMAGED_PLACES_MAX`] of each.
    damaged: Mutex<BTreeMap<String, BTreeSet<u64>>>,
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
    pub fn damaged(&self) -> Vec<DamagedPlace> {
        let damaged = self.lock();
        let places = damaged.iter().flat_map(|(file, offsets)| {
            offsets.iter().map(|offset| DamagedPlace { file: file.clone(), offset: *offset })
        });
        places.collect()
    }

    /// How many files are damaged.
    #[must_use]
    pub fn damaged_files(&self) -> usize {
        self.lock().len()
    }

    /// How many files were made anew since the start.
    #[must_use]
    pub fn healed(&self) -> u64 {
        self.healed.load(Ordering::Relaxed)
    }

    /// The files that are damaged, in the order of their names.
    pub(super) fn damaged_names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// The file was damaged, and was made anew.
    pub(super) fn set_healed(&self, file: &str) {
        self.healed.fetch_add(1, Ordering::Relaxed);
        self.set_sound(file);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end_round(&self, at_micros: u64) {
        self.round_ended.store(at_micros, Ordering::Relaxed);
    }

    /// Says whether that was not known. Of a file with many damaged places no more are noted.
    pub(super) fn set_damaged(&self, file: &str, offset: u64) -> bool {
        let mut damaged = self.lock();
        let Some(offsets) = damaged.get_mut(file) else {
            damaged.insert(file.to_owned(), BTreeSet::from([offset]));
            return true;
        };
        let is_new = offsets.len() < DAMAGED_PLACES_MAX && offsets.insert(offset);
        let is_bounded = |places: &BTreeSet<u64>| places.len() <= DAMAGED_PLACES_MAX;
        assert!(damaged.get(file).is_some_and(is_bounded), "what is noted of a file is bounded");
        is_new
    }

    /// The whole file was found sound.
    pub(super) fn set_sound(&self, file: &str) {
        self.lock().remove(file);
    }

    /// Forgets the files that are not `wanted` any more.
    pub(super) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.lock().retain(|file, _| wanted(file));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<u64>>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_new_once_and_places_are_bounded() {
        let found = Scrubbed::default();
        assert!(found.set_damaged("1.seg", 4096) && !found.set_damaged("1.seg", 4096));
        assert!(found.set_damaged("1.seg", 0) && found.set_damaged("2.seg", 0));
        let place = |file: &str, offset| DamagedPlace { file: file.into(), offset };
        assert_eq!(found.damaged(), [place("1.seg", 0), place("1.seg", 4096), place("2.seg", 0)]);
        for offset in 0..1000 {
            let is_new = found.set_damaged("2.seg", offset);
            assert_eq!(is_new, (1..DAMAGED_PLACES_MAX as u64).contains(&offset), "{offset}");
        }
        assert_eq!((found.damaged().len(), found.damaged_files()), (2 + DAMAGED_PLACES_MAX, 2));
        found.set_sound("2.seg");
        found.keep(|file| file != "1.seg");
        assert_eq!(found.damaged_files(), 0);
        assert!(found.set_damaged("1.seg", 4096), "it is told again when it comes again");
    }
}
