//! Durable writes of one block, one after the other, as a trial of a disk.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use super::aligned::AlignedBuffer;
use crate::io::BLOCK;

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The file system writes past the page cache (`O_DIRECT`).
    pub is_direct: bool,
    /// How long each write took until it was durable, in ascending order; at least one.
    pub writes: Vec<Duration>,
}

/// Blocks that are written over and over.
const BLOCKS: u64 = 256;

/// Writes to a file of that name, which must not be there and is removed again before anything is written, for so
/// long or so often.
///
/// # Errors
/// What the file system reports.
pub fn try_disk(path: &Path, time: Duration, most: usize) -> io::Result<Trial> {
    let filled = OpenOptions::new().write(true).create_new(true).open(path)?;
    let opened = open(path);
    // It stays until it is closed, also where this process is killed.
    std::fs::remove_file(path)?;
    let (file, is_direct) = opened?;
    // Room first, so that no write of the trial is one of a longer file.
    let zeros = vec![0; BLOCK * usize::try_from(BLOCKS).unwrap_or(1)];
    filled.write_all_at(&zeros, 0)?;
    filled.sync_all()?;
    let writes = timed(&file, time, most)?;
    Ok(Trial { is_direct, writes })
}

/// Opens a file for durable writes, past the page cache where the file system has that.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(path);
    match open(libc::O_DSYNC | libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            open(libc::O_DSYNC).map(|file| (file, false))
        }
        opened => opened.map(|file| (file, true)),
    }
}

fn timed(file: &File, time: Duration, most: usize) -> io::Result<Vec<Duration>> {
    let (block, begin) = (AlignedBuffer::zeroed(BLOCK), Instant::now());
    let mut writes = Vec::new();
    for at in (0..BLOCKS).cycle().take(most.max(1)) {
        let begun = Instant::now();
        file.write_all_at(block.as_ref(), at * BLOCK as u64)?;
        writes.push(begun.elapsed());
        if begin.elapsed() >= time {
            break;
        }
    }
    writes.sort_unstable();
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_leaves_nothing_behind_and_overwrites_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trial");
        let Trial { writes, .. } = try_disk(&path, Duration::from_secs(9), 5).unwrap();
        assert_eq!(writes.len(), 5);
        assert!(writes.is_sorted());
        assert!(!path.exists());
        let one = try_disk(&path, Duration::ZERO, 5).unwrap();
        assert_eq!(one.writes.len(), 1, "the time is over after the first");
        assert!(try_disk(&directory.path().join("no/trial"), Duration::ZERO, 1).is_err());
        std::fs::write(&path, "precious").unwrap();
        let taken = try_disk(&path, Duration::ZERO, 1).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
