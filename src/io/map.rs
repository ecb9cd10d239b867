//! Files as memory: sealed segments and checkpoints, which are never written again, with the
//! means to find out whether a range is in memory before touching it.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::real::map::MappedFile;
#[cfg(test)]
use super::simulated::disk::HeldFile;

/// A whole file, read-only. The file must neither change nor shrink while it
/// is mapped; sealed segments and checkpoints do neither.
pub struct Mapping {
    form: Form,
    /// A number that no other mapping has.
    number: u64,
    /// A number that is another one whenever a part of it was read into memory.
    loads: AtomicU64,
}

/// What the numbers of loads of the next mapping begin with: far enough from the one before that
/// none is that of another mapping.
static NEXT_LOADS: AtomicU64 = AtomicU64::new(0);
const LOADS_MAX: u64 = 1 << 40;

enum Form {
    Mapped(MappedFile),
    #[cfg(test)]
    Held(HeldFile),
}

impl Mapping {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What opening or mapping it reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::of(Form::Mapped(MappedFile::open(path)?)))
    }

    fn of(form: Form) -> Self {
        let number = NEXT_LOADS.fetch_add(LOADS_MAX, Ordering::Relaxed);
        Self { form, number, loads: AtomicU64::new(number) }
    }

    /// What a simulated disk holds.
    #[cfg(test)]
    pub(super) fn held(file: HeldFile) -> Self {
        Self::of(Form::Held(file))
    }

    fn bytes(&self) -> &[u8] {
        match &self.form {
            Form::Mapped(file) => file.bytes(),
            #[cfg(test)]
            Form::Held(file) => file.bytes(),
        }
    }

    /// The file's length.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The bytes of `range`, or `None` when the file is shorter.
    #[must_use]
    pub fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes().get(range)
    }

    /// Whether touching `range` does not wait for the disk. A range outside of
    /// the file is never resident.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        match &self.form {
            Form::Mapped(file) => file.is_resident(range),
            #[cfg(test)]
            Form::Held(file) => file.is_resident(range),
        }
    }

    /// Reads `range` into memory, waiting for the disk: not for an executor's
    /// thread.
    ///
    /// # Errors
    /// What the disk reports, or that the range lies outside of the file.
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.loads.fetch_add(1, Ordering::AcqRel);
        match &self.form {
            Form::Mapped(file) => file.populate(range),
            #[cfg(test)]
            Form::Held(file) => file.populate(range),
        }
    }

    /// A number that no other mapping has, in this process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A number that is another one whenever a part of it was read into memory, by whomever, and
    /// that no other mapping has: what was checked before is to be checked again after that, since
    /// it may come from a disk that has rotted.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Acquire)
    }
}
