//! Files mapped into memory.

use std::{io, ops::Range, path::Path};

use memmap2::{Advice, Mmap};

use super::regular::open_file;

/// Pages that are copied from at once.
const COPIED_PAGES: usize = 512;

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
        status == 0 && pages.iter().all(|page| page & 1 == 1) && self.is_backed(start..range.end)
    }

    /// Whether pages that are in memory lie within the file still. When that was cut meanwhile, the
    /// end of a large folio may be counted as in memory, and touching it would end the process. Where
    /// the last of them is there, so are those before it.
    fn is_backed(&self, pages: Range<usize>) -> bool {
        let last = pages.end.saturating_sub(1).max(pages.start) / page_bytes() * page_bytes();
        match self.0.advise_range(Advice::PopulateRead, last, pages.end - last) {
            Ok(()) => true,
            // Linux before 5.14 does not know the advice.
            Err(error) => error.raw_os_error() == Some(libc::EINVAL),
        }
    }

    pub(in crate::io) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.0.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "range beyond the file"));
        }
        let start = range.start / page_bytes() * page_bytes();
        match self.0.advise_range(Advice::PopulateRead, start, range.end - start) {
            // Linux before 5.14 does not know the advice.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.copy_from(start..range.end)
            }
            populated => populated,
        }
    }

    /// Has the kernel copy a byte of each page, which does the same. What the disk does not give
    /// is an error then; touching it would end the process.
    fn copy_from(&self, range: Range<usize>) -> io::Result<()> {
        for pages in self.0[range].chunks(page_bytes() * COPIED_PAGES) {
            let remote: Vec<libc::iovec> = pages
                .chunks(page_bytes())
                .map(|page| libc::iovec { iov_base: page.as_ptr().cast_mut().cast(), iov_len: 1 })
                .collect();
            let mut bytes = vec![0_u8; remote.len()];
            let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            // SAFETY: what is copied to has as many bytes as are copied, and is nobody else's;
            // the kernel checks what is copied from, which is only read.
            let copied = unsafe {
                let (own, count) = (libc::getpid(), remote.len() as libc::c_ulong);
                libc::process_vm_readv(own, &raw const local, 1, remote.as_ptr(), count, 0)
            };
            match usize::try_from(copied) {
                Ok(copied) if copied == bytes.len() => {}
                Ok(_) => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
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
        map.copy_from(0..10_000).unwrap();
    }

    #[test]
    fn what_is_not_on_the_disk_any_more_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 3_000_000]).unwrap();
        let map = MappedFile::open(file.path()).unwrap();
        map.copy_from(0..3_000_000).unwrap();
        file.as_file().set_len(2_500_000).unwrap();
        for read in [MappedFile::populate, MappedFile::copy_from] {
            read(&map, 0..2_400_000).unwrap();
            for range in [0..3_000_000, 2_600_000..2_600_001] {
                assert!(crate::io::is_bad_place(&read(&map, range).unwrap_err()));
            }
        }
        map.populate(0..2_400_000).unwrap();
        assert!(map.is_resident(0..2_400_000));
        // A large folio may lie on both sides of the end.
        for start in (2_496_000..3_000_000).step_by(4096) {
            assert!(!map.is_resident(start..3_000_000.min(start + 8192)), "{start}");
        }
    }
}
