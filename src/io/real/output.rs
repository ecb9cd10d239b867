//! Files that are written front to back, by calls that block.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
};

use memmap2::MmapMut;

use super::regular::MODE;
use crate::io::{BLOCK, Output};

/// Bytes that go past the page cache in one write.
const DIRECT_BYTES: usize = 4 << 20;

/// A file of a directory that is being written.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    /// Its length, but for what waits in `direct`.
    written: u64,
    /// Up to where it was begun to bring it to the disk.
    begun: u64,
    /// Up to where that is done.
    done: u64,
    /// Present while it is written past the page cache.
    direct: Option<Waiting>,
}

/// What waits to be written past the page cache, which takes whole blocks from memory that begins
/// with a page.
#[derive(Debug)]
struct Waiting {
    memory: MmapMut,
    /// How much of it waits.
    ///
    /// Invariant: between two writes less than all of it.
    bytes: usize,
}

impl OutputFile {
    /// A file that is cut to nothing.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(MODE).open(path)?;
        Ok(Self { file, written: 0, begun: 0, done: 0, direct: None })
    }

    /// A file that is written on from byte `at`, past the page cache where the file system can.
    pub(super) fn write_from(path: &Path, at: u64) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).mode(MODE);
        let (file, is_direct) = match options.custom_flags(libc::O_DIRECT).open(path) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                (options.custom_flags(0).open(path)?, false)
            }
            opened => (opened?, true),
        };
        file.set_len(at)?;
        let waiting = || MmapMut::map_anon(DIRECT_BYTES).map(|memory| Waiting { memory, bytes: 0 });
        let direct = is_direct.then(waiting).transpose()?;
        Ok(Self { file, written: at, begun: at, done: at, direct })
    }

    /// Writes at the end of the file.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes what waits. What is no whole block goes through the page cache, as all does that
    /// is written after it.
    fn end_direct(&mut self) -> io::Result<()> {
        let Some(Waiting { memory, bytes }) = self.direct.take() else { return Ok(()) };
        let (blocks, rest) = memory[..bytes].split_at(bytes / BLOCK * BLOCK);
        self.put(blocks)?;
        if !rest.is_empty() {
            // SAFETY: the descriptor is open, and the call touches no memory.
            if unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETFL, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
            self.put(rest)?;
        }
        Ok(())
    }

    /// Moves a range of the file to the disk, as `flags` say.
    fn move_to_disk(&self, from: u64, to: u64, flags: libc::c_uint) {
        let range = |at: u64| libc::off64_t::try_from(at).unwrap_or(libc::off64_t::MAX);
        let (from, bytes) = (range(from), range(to - from));
        // SAFETY: the descriptor is open, and nothing in memory is touched. Where it cannot be done,
        // the sync does all.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), from, bytes, flags) };
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(Waiting { memory, bytes: waiting }) = &mut self.direct else {
            let written = self.file.write_at(bytes, self.written)?;
            self.written += written as u64;
            return Ok(written);
        };
        let room = &mut memory[*waiting..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        *waiting += taken;
        assert!(*waiting <= memory.len(), "more waits than there is memory for");
        if *waiting == memory.len() {
            *waiting = 0;
            self.file.write_all_at(memory, self.written)?;
            self.written += memory.len() as u64;
        }
        Ok(taken)
    }

    /// Writes the whole blocks that wait.
    fn flush(&mut self) -> io::Result<()> {
        let Some(Waiting { memory, bytes }) = &mut self.direct else { return Ok(()) };
        let blocks = *bytes / BLOCK * BLOCK;
        self.file.write_all_at(&memory[..blocks], self.written)?;
        self.written += blocks as u64;
        memory.copy_within(blocks..*bytes, 0);
        *bytes -= blocks;
        Ok(())
    }
}

impl Output for OutputFile {
    fn sync(&mut self) -> io::Result<()> {
        self.end_direct()?;
        self.file.sync_all()
    }

    fn write_back(&mut self) {
        if self.direct.is_some() {
            return;
        }
        let (done, begun, written) = (self.done, self.begun, self.written);
        if begun < written {
            self.move_to_disk(begun, written, libc::SYNC_FILE_RANGE_WRITE);
        }
        if done < begun {
            let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE
                | libc::SYNC_FILE_RANGE_WRITE
                | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            self.move_to_disk(done, begun, wait);
        }
        (self.done, self.begun) = (begun, written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_on_from_where_it_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.part");
        let bytes: Vec<u8> =
            (0..2 * DIRECT_BYTES + 10_000).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut out = OutputFile::write_from(&path, 0).unwrap();
        for part in bytes.chunks(1_000_001) {
            out.write_all(part).unwrap();
        }
        out.flush().unwrap();
        out.flush().unwrap();
        // What was no whole block is gone with it.
        drop(out);
        let left = std::fs::read(&path).unwrap();
        assert_eq!(left.len(), bytes.len() / BLOCK * BLOCK);
        assert!(bytes.starts_with(&left));
        for at in [0, BLOCK, DIRECT_BYTES + BLOCK, left.len()] {
            let mut out = OutputFile::write_from(&path, at as u64).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), at as u64);
            for part in bytes[at..].chunks(2_000_003) {
                out.write_all(part).unwrap();
                out.flush().unwrap();
            }
            out.sync().unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "from {at}");
            // It may be written to after that, through the page cache.
            out.write_all(b"more").unwrap();
            out.sync().unwrap();
            assert!(std::fs::read(&path).unwrap().ends_with(b"more"));
        }
    }
}
