//! A file of a simulated disk as memory.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    device::SimDisk,
    directory::FileId,
    state::{State, failed},
};

/// What is read into memory at once.
const PAGE: usize = 4096;
/// What a read of mapped memory that the disk does not give comes to.
const EFAULT: i32 = 14;

/// A mapped file, of which nothing is in memory at first. What is in memory stays as it was read;
/// once anything on the disk has rotted, all is read anew.
pub struct HeldFile {
    disk: SimDisk,
    file: FileId,
    /// Keeps its bytes when no name leads to them any more.
    _opened: Arc<()>,
    bytes: Version,
    resident: Mutex<Resident>,
}

/// The bytes as they were read, and as they were read after that: whoever holds on to the former
/// may do so.
struct Version {
    bytes: Vec<u8>,
    next: OnceLock<Box<Version>>,
}

#[derive(Default)]
struct Resident {
    pages: BTreeSet<usize>,
    /// How often something on the disk had rotted then.
    rotted: u64,
}

impl HeldFile {
    /// The file `file` of `disk`, which has these bytes.
    pub(super) fn new(disk: SimDisk, file: FileId, opened: Arc<()>, bytes: Vec<u8>) -> Self {
        let bytes = Version { bytes, next: OnceLock::new() };
        Self { disk, file, _opened: opened, bytes, resident: Mutex::default() }
    }

    fn newest(&self) -> &Version {
        let mut version = &self.bytes;
        while let Some(next) = version.next.get() {
            version = next;
        }
        version
    }

    pub(in crate::io) fn bytes(&self) -> &[u8] {
        &self.newest().bytes
    }

    /// What is in memory.
    fn resident(&self) -> MutexGuard<'_, Resident> {
        let rotted = self.disk.lock().rotted;
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        if resident.rotted != rotted {
            *resident = Resident { rotted, pages: BTreeSet::new() };
        }
        resident
    }

    pub(in crate::io) fn is_resident(&self, range: Range<usize>) -> bool {
        if range.start > range.end || range.end > self.bytes().len() {
            return false;
        }
        let resident = self.resident();
        (range.start / PAGE..range.end.div_ceil(PAGE)).all(|page| resident.pages.contains(&page))
    }

    pub(in crate::io) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.bytes().len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Asks the disk, which may fail.
        self.disk.step(State::populate)?;
        let mut resident = self.resident();
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let cold: Vec<_> = pages.filter(|page| !resident.pages.contains(page)).collect();
        self.read(&cold)?;
        resident.pages.extend(cold);
        Ok(())
    }

    /// Reads pages from the disk.
    fn read(&self, pages: &[usize]) -> io::Result<()> {
        let newest = self.newest();
        let mut read: Option<Vec<u8>> = None;
        let state = self.disk.lock();
        let there = state.file(self.file).map_or(&[][..], |content| content.bytes());
        for page in pages {
            let range = page * PAGE..newest.bytes.len().min((page + 1) * PAGE);
            let from = there.get(range.clone()).ok_or_else(|| failed(EFAULT))?;
            if newest.bytes[range.clone()] != *from {
                let bytes = read.get_or_insert_with(|| newest.bytes.clone());
                bytes[range].copy_from_slice(from);
            }
        }
        if let Some(bytes) = read {
            // Nobody else reads under the lock of what is resident.
            let _ = newest.next.set(Box::new(Version { bytes, next: OnceLock::new() }));
        }
        Ok(())
    }
}
