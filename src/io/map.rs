//! Sealed segments as memory: mapped read-only, never written again, with the
//! means to find out whether a range is in memory before touching it.

use std::{fs::File, io, ops::Range, path::Path};

use memmap2::{Advice, Mmap};

/// A whole file, read-only. The file must neither change nor shrink while it
/// is mapped; sealed segments do neither.
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What opening or mapping it reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the data directory is locked by this process, and a sealed
        // segment is never written or cut again, only unlinked, which leaves
        // existing mappings whole.
        let map = unsafe { Mmap::map(&file)? };
        // Reads follow ids, so the kernel may read ahead of them.
        map.advise(Advice::Sequential)?;
        Ok(Self(map))
    }

    /// The file's length.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of `range`, or `None` when the file is shorter.
    #[must_use]
    pub fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.0.get(range)
    }

    /// Whether touching `range` would wait for the disk. A range outside of
    /// the file is never resident.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        if range.start > range.end || range.end > self.0.len() {
            return false;
        }
        let page = page_bytes();
        let start = range.start / page * page;
        let bytes = range.end - start;
        let mut pages = smallvec::SmallVec::<[u8; 64]>::from_elem(0, bytes.div_ceil(page));
        // SAFETY: the range lies within the mapping, starts at a page, and
        // `pages` has a byte for each page of it.
        let status = unsafe {
            libc::mincore(self.0.as_ptr().add(start).cast_mut().cast(), bytes, pages.as_mut_ptr())
        };
        status == 0 && pages.iter().all(|page| page & 1 == 1)
    }

    /// Reads `range` into memory, waiting for the disk: not for an executor's
    /// thread.
    ///
    /// # Errors
    /// What the disk reports, or that the range lies outside of the file.
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.0.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "range beyond the file"));
        }
        let start = range.start / page_bytes() * page_bytes();
        match self.0.advise_range(Advice::PopulateRead, start, range.end - start) {
            // Linux before 5.14 does not know the advice; touching does the same.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.touch(start..range.end);
                Ok(())
            }
            populated => populated,
        }
    }

    fn touch(&self, range: Range<usize>) {
        for page in self.0[range].chunks(page_bytes()) {
            std::hint::black_box(page[0]);
        }
    }
}

fn page_bytes() -> usize {
    static PAGE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    // SAFETY: sysconf has no preconditions.
    *PAGE.get_or_init(|| {
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_range_is_read_and_bounds_are_kept() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        let map = Mapping::open(file.path()).unwrap();
        assert_eq!(map.get(9_998..10_000), Some(&[7u8, 7][..]));
        assert_eq!(map.get(9_998..10_001), None);
        map.populate(4_000..9_000).unwrap();
        assert!(map.is_resident(4_000..9_000));
        assert!(!map.is_resident(9_000..10_001));
        assert!(map.populate(0..10_001).is_err());
        map.touch(0..10_000);
    }
}
