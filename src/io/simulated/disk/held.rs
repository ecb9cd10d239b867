//! A file of a simulated disk as memory.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{device::SimDisk, state::State};

/// What is read into memory at once.
const PAGE: usize = 4096;

/// A file as it was when it was mapped, of which nothing is in memory at first.
pub struct HeldFile {
    disk: SimDisk,
    bytes: Vec<u8>,
    resident: Mutex<BTreeSet<usize>>,
}

impl HeldFile {
    pub(super) fn new(disk: SimDisk, bytes: Vec<u8>) -> Self {
        Self { disk, bytes, resident: Mutex::default() }
    }

    pub(in crate::io) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::io) fn is_resident(&self, range: Range<usize>) -> bool {
        if range.start > range.end || range.end > self.bytes.len() {
            return false;
        }
        let resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        (range.start / PAGE..range.end.div_ceil(PAGE)).all(|page| resident.contains(&page))
    }

    pub(in crate::io) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Asks the disk, which may fail.
        self.disk.step(State::populate)?;
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        resident.extend(range.start / PAGE..range.end.div_ceil(PAGE));
        Ok(())
    }
}
