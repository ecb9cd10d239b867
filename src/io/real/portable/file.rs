//! Files. Those with direct I/O are read and written by the ring of the core, where it has one, all others by
//! calls that wait, on threads for that.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, IntoRawFd, RawFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    rc::Rc,
    sync::{Arc, Once},
};

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

use super::{
    core,
    ring::{
        file::{self as by_ring, is_refused},
        queue::Ring,
    },
};
use crate::io::{
    BLOCK, OpenMode,
    real::{
        aligned::{AlignedBuffer, assert_aligned},
        cores::on_disk,
        regular::{MODE, open_file},
    },
};

/// An open file.
#[derive(Debug)]
pub struct PortableFile(Arc<Open>);

#[derive(Debug)]
struct Open {
    file: File,
    /// It bypasses the page cache.
    is_direct: bool,
}

impl PortableFile {
    /// Opens `path`, with direct I/O where the file system has that.
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let path = path.to_owned();
        let opened = on_disk(move || Open::new(&path, mode)).await?;
        Ok(Self(Arc::new(opened)))
    }

    fn ring(&self) -> Option<Rc<Ring>> {
        if self.0.is_direct { core::ring() } else { None }
    }

    /// Runs `work` on the file, on a thread where it may wait.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Open) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let open = Arc::clone(&self.0);
        on_disk(move || work(&open)).await
    }

    pub async fn read_at(&self, at: u64, bytes: usize) -> io::Result<AlignedBuffer> {
        assert_aligned(at, bytes);
        if let Some(ring) = self.ring() {
            let buffer = AlignedBuffer::zeroed(bytes);
            match by_ring::read_whole(&ring, &self.0, buffer, at).await {
                Err(error) if is_refused(&error) => {}
                read => return read,
            }
        }
        self.run(move |open| {
            let mut buffer = AlignedBuffer::zeroed(bytes);
            let read = |part: &mut [u8], at| open.file.read_at(part, at);
            let filled = read_whole(buffer.as_mut(), at, open.is_direct, read)?;
            buffer.truncate(filled);
            Ok(buffer)
        })
        .await
    }

    pub async fn write_at(&self, mut buffer: AlignedBuffer, at: u64) -> io::Result<AlignedBuffer> {
        assert_aligned(at, buffer.as_ref().len());
        if let Some(ring) = self.ring() {
            match by_ring::write_whole(&ring, &self.0, buffer, at).await {
                (Ok(()), Some(back)) => return Ok(back),
                (Err(error), Some(back)) if is_refused(&error) => buffer = back,
                (outcome, _) => return Err(outcome.err().unwrap_or(io::ErrorKind::Other.into())),
            }
        }
        self.run(move |open| {
            write_whole(buffer.as_ref(), at, |part, at| open.file.write_at(part, at))?;
            Ok(buffer)
        })
        .await
    }

    pub async fn sync(&self) -> io::Result<()> {
        if let Some(ring) = self.ring() {
            match by_ring::sync(&ring, &self.0).await {
                Err(error) if is_refused(&error) => {}
                synced => return synced,
            }
        }
        self.run(|open| open.file.sync_data()).await
    }

    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.run(move |open| open.file.set_len(bytes)).await
    }

    pub async fn file_bytes(&self) -> io::Result<u64> {
        self.run(|open| open.file.metadata().map(|metadata| metadata.len())).await
    }

    pub async fn close(self) -> io::Result<()> {
        // What is still under way closes it.
        let Ok(open) = Arc::try_unwrap(self.0) else { return Ok(()) };
        on_disk(move || {
            // SAFETY: the descriptor is open, and nobody else's.
            match unsafe { libc::close(open.file.into_raw_fd()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
        .await
    }
}

impl AsRawFd for Open {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Open {
    fn new(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).mode(MODE);
        let file = match mode {
            OpenMode::Read => open_file(path)?,
            OpenMode::WriteDurable => options.custom_flags(libc::O_DSYNC).open(path)?,
            OpenMode::Create => options.create_new(true).open(path)?,
        };
        // Afterwards: where that is refused at the opening, a new file may have been made all the same.
        let is_direct = match fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::DIRECT) {
            Ok(()) => true,
            Err(rustix::io::Errno::INVAL) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_direct {
            say_that_there_is_no_direct_io(path);
            // What the disk did not take may stand in the page cache as if it had: it is read anew.
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        Ok(Self { file, is_direct })
    }
}

fn say_that_there_is_no_direct_io(path: &Path) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let directory = path.parent().unwrap_or(path).display();
        tracing::info!(
            %directory,
            "the file system has no direct I/O (O_DIRECT): writes go through the page cache, and are \
             on the disk when they are acknowledged (O_DSYNC) all the same"
        );
    });
}

/// Writes all of `bytes` to the place `at`, by a call that may write less than it is given.
fn write_whole(
    bytes: &[u8],
    at: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        // The rest must start at a block again, since memory and position are aligned together;
        // writing a part of a block again changes nothing.
        let from = written - written % BLOCK;
        match write(&bytes[from..], at + from as u64) {
            Ok(more) if from + more > written => written = from + more,
            Ok(_) => {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk takes no more"));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from the place `at`, by a call that may read less than it is asked for; how much there
/// was before the end of the file.
fn read_whole(
    buffer: &mut [u8],
    at: u64,
    is_direct: bool,
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Only the end of the file ends a direct read off a block boundary.
        if is_direct && !filled.is_multiple_of(BLOCK) {
            break;
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A disk that takes or gives at most so many bytes at once.
    struct Short {
        content: RefCell<Vec<u8>>,
        most: usize,
        calls: RefCell<Vec<u64>>,
    }

    impl Short {
        fn new(content: Vec<u8>, most: usize) -> Self {
            Self { content: RefCell::new(content), most, calls: RefCell::default() }
        }

        fn call(&self, at: u64) -> io::Result<usize> {
            self.calls.borrow_mut().push(at);
            // Each second call is interrupted.
            if self.calls.borrow().len().is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            assert!(at.is_multiple_of(BLOCK as u64), "a call at {at}");
            Ok(at as usize)
        }

        fn write(&self, part: &[u8], at: u64) -> io::Result<usize> {
            let at = self.call(at)?;
            let count = part.len().min(self.most);
            self.content.borrow_mut()[at..][..count].copy_from_slice(&part[..count]);
            Ok(count)
        }

        fn read(&self, part: &mut [u8], at: u64) -> io::Result<usize> {
            let at = self.call(at)?;
            let content = self.content.borrow();
            let there = content.get(at..).unwrap_or_default();
            let count = part.len().min(self.most).min(there.len());
            part[..count].copy_from_slice(&there[..count]);
            Ok(count)
        }
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_write_that_falls_short_goes_on_at_a_block() {
        let bytes = pattern(4 * BLOCK);
        for most in [BLOCK, BLOCK + 1, 2 * BLOCK - 1, 3 * BLOCK + 7, 9 * BLOCK] {
            let disk = Short::new(vec![0; 6 * BLOCK], most);
            write_whole(&bytes, BLOCK as u64, |part, at| disk.write(part, at)).unwrap();
            let content = disk.content.into_inner();
            assert!(content[BLOCK..5 * BLOCK] == bytes, "{most} at once");
            assert!(content[..BLOCK].iter().chain(&content[5 * BLOCK..]).all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_write_that_does_not_get_on_is_an_error_and_so_is_one_that_fails() {
        for most in [0, 1, BLOCK - 1] {
            let disk = Short::new(vec![0; BLOCK], most);
            let outcome = write_whole(&pattern(BLOCK), 0, |part, at| disk.write(part, at));
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WriteZero, "{most}");
        }
        let fails = |_: &[u8], _| Err(io::Error::from_raw_os_error(libc::ENOSPC));
        let outcome = write_whole(&pattern(BLOCK), 0, fails);
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn a_read_ends_at_the_end_of_the_file_whatever_each_call_gives() {
        let content = pattern(3 * BLOCK + 10);
        for most in [BLOCK, 2 * BLOCK, 9 * BLOCK] {
            let disk = Short::new(content.clone(), most);
            let mut buffer = vec![0; 8 * BLOCK];
            let read = |part: &mut [u8], at| disk.read(part, at);
            let filled = read_whole(&mut buffer, 0, true, read).unwrap();
            assert_eq!(filled, content.len());
            assert!(buffer[..filled] == content);
            assert_eq!(read_whole(&mut buffer, 4 * BLOCK as u64, true, read).unwrap(), 0);
        }
        let fails = |_: &mut [u8], _| Err(io::Error::from_raw_os_error(libc::EIO));
        let outcome = read_whole(&mut [0; BLOCK], 0, true, fails);
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
