//! Whole reads and writes of files by a ring.

use std::{any::Any, io, os::fd::AsRawFd, rc::Rc, sync::Arc};

use io_uring::{opcode, squeue, types};

use super::queue::{Outcome, Ring, Used};
use crate::io::{BLOCK, real::aligned::AlignedBuffer};

/// What one operation moves at most: the kernel splits larger reads anyway, and counts bytes in 31 bits.
const READ_BYTES_MAX: usize = 1 << 20;
const WRITE_BYTES_MAX: usize = 1 << 30;

/// An open file that a ring reads and writes.
pub(in crate::io::real::portable) trait OnRing:
    AsRawFd + Send + Sync + 'static
{
}

impl<T: AsRawFd + Send + Sync + 'static> OnRing for T {}

/// Fills `buffer` from the place `at`, but for what is behind the end of the file, by direct I/O.
pub(in crate::io::real::portable) async fn read_whole(
    ring: &Rc<Ring>,
    file: &Arc<impl OnRing>,
    mut buffer: AlignedBuffer,
    at: u64,
) -> io::Result<AlignedBuffer> {
    let bytes = buffer.as_ref().len();
    let mut filled = 0;
    while filled < bytes {
        let part = &mut buffer.as_mut()[filled..];
        let length = part.len().min(READ_BYTES_MAX) as u32;
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), part.as_mut_ptr(), length);
        let read = read.offset(at + filled as u64).build();
        let (outcome, back) = run(ring, file, read, Some(buffer)).await;
        buffer = back.ok_or(io::ErrorKind::Other)?;
        match outcome {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Only the end of the file ends a direct read off a block boundary.
        if !filled.is_multiple_of(BLOCK) {
            break;
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Writes all of `buffer` to the place `at`, and gives it back, unless somebody else has it for good.
pub(in crate::io::real::portable) async fn write_whole(
    ring: &Rc<Ring>,
    file: &Arc<impl OnRing>,
    mut buffer: AlignedBuffer,
    at: u64,
) -> (io::Result<()>, Option<AlignedBuffer>) {
    let bytes = buffer.as_ref().len();
    let mut written = 0;
    while written < bytes {
        // The rest must start at a block again, since memory and position are aligned together;
        // writing a part of a block again changes nothing.
        let from = written - written % BLOCK;
        let part = &buffer.as_ref()[from..];
        let length = part.len().min(WRITE_BYTES_MAX) as u32;
        let write = opcode::Write::new(types::Fd(file.as_raw_fd()), part.as_ptr(), length);
        let write = write.offset(at + from as u64).build();
        let (outcome, back) = run(ring, file, write, Some(buffer)).await;
        let Some(back) = back else { return (Err(io::ErrorKind::Other.into()), None) };
        buffer = back;
        match outcome {
            Ok(more) if from + more > written => written = from + more,
            Ok(_) => {
                let full = io::Error::new(io::ErrorKind::WriteZero, "the disk takes no more");
                return (Err(full), Some(buffer));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), Some(buffer)),
        }
    }
    (Ok(()), Some(buffer))
}

/// Makes durable what was written.
pub(in crate::io::real::portable) async fn sync(
    ring: &Rc<Ring>,
    file: &Arc<impl OnRing>,
) -> io::Result<()> {
    loop {
        let sync = opcode::Fsync::new(types::Fd(file.as_raw_fd()));
        let sync = sync.flags(types::FsyncFlags::DATASYNC).build();
        match run(ring, file, sync, None).await.0 {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome.map(drop),
        }
    }
}

/// Whether an operation was refused for want of what the kernel runs it by, as of a thread, and not by
/// the disk.
pub(in crate::io::real::portable) fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ECANCELED))
}

/// Runs an operation on `file` that reads or writes nothing but `buffer`.
async fn run(
    ring: &Rc<Ring>,
    file: &Arc<impl OnRing>,
    entry: squeue::Entry,
    buffer: Option<AlignedBuffer>,
) -> Outcome {
    let file: Arc<dyn Any + Send + Sync> = file.clone();
    // SAFETY: the callers above make an entry for the descriptor of `file`, which is open for as long as
    // that is held, and for memory of `buffer`, which stays where it is when the buffer is moved.
    unsafe { ring.begin(entry, Used { file, buffer }) }.await
}
