//! Files mapped into memory.

use std::{io, ops::Range, path::Path};

use memmap2::{Advice, Mmap};

use super::regular::open_file;

/// A whole file, read-only.
pub(in crate::io) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the file at `path`.
    pub(in crate::io) fn open(path: &Path) -> io::Result<Self> {
        let file = open_file(path)?;
        // SAFETY: the data directory is locked by this process, and what is mapped, a
        // sealed segment or a checkpoint, is never written or cut again, only
        // unlinked, which leaves existing mappings whole.
        let map = unsafe { Mmap::map(&file)? };
        // Reads follow ids, so the kernel may read ahead of them.
        map.advise(Advice::Sequential)?;
        Ok(Self(map))
    }

    pub(in crate::io) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::io) fn is_resident(&self, range: Range<usize>) -> bool {
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

    pub(in crate::io) fn populate(&self, range: Range<usize>) -> io::Result<()> {
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
        let map = MappedFile::open(file.path()).unwrap();
        assert_eq!(map.bytes(), [7; 10_000]);
        map.populate(4_000..9_000).unwrap();
        assert!(map.is_resident(4_000..9_000));
        assert!(!map.is_resident(9_000..10_001));
        assert!(map.populate(0..10_001).is_err());
        map.touch(0..10_000);
    }
}
