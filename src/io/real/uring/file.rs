//! Files that are read and written by io_uring.

use std::{io, path::Path, rc::Rc};

use glommio::{
    GlommioError, allocate_dma_buffer,
    io::{DmaBuffer, DmaFile, OpenOptions},
};

use crate::io::{
    BLOCK, OpenMode,
    real::{
        aligned::{assert_aligned, demand_memory},
        regular::MODE,
    },
};

/// Reads are split at this size: the kernel splits larger ones anyway, and a
/// bounded piece keeps the memory of one read bounded.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Keeps the operating system's error number, which the kind and `ENOSPC`
/// handling depend on.
fn io_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

/// The same for opening, where an invalid argument can only be the demand for direct I/O.
fn open_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system has no direct I/O (O_DIRECT), which the log needs",
        ),
        _ => io_error(error),
    }
}

/// Memory aligned for direct I/O. Without memory the process ends here with a line, and not
/// where glommio would panic.
fn allocate(bytes: usize) -> DmaBuffer {
    demand_memory(bytes + BLOCK);
    allocate_dma_buffer(bytes)
}

/// Memory for direct I/O. Shared with the kernel only while a write is in
/// flight.
#[derive(Debug)]
pub struct UringBuffer(Rc<DmaBuffer>);

impl UringBuffer {
    pub fn zeroed(bytes: usize) -> Self {
        let mut buffer = allocate(bytes);
        buffer.as_bytes_mut().fill(0);
        Self(Rc::new(buffer))
    }

    fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = allocate(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        Self(Rc::new(buffer))
    }
}

impl AsRef<[u8]> for UringBuffer {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsMut<[u8]> for UringBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        if Rc::get_mut(&mut self.0).is_none() {
            *self = Self::copy_of(self.0.as_bytes());
        }
        Rc::get_mut(&mut self.0).map_or(&mut [], |buffer| buffer.as_bytes_mut())
    }
}

/// An open file.
#[derive(Debug)]
pub struct UringFile {
    file: DmaFile,
}

impl UringFile {
    /// Opens `path`; without direct I/O the error is `Unsupported`.
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).mode(MODE);
        match mode {
            OpenMode::Read => {}
            OpenMode::WriteDurable => {
                options.write(true).custom_flags(libc::O_DSYNC);
            }
            OpenMode::Create => {
                options.write(true).create_new(true);
            }
        }
        Ok(Self { file: options.dma_open(path).await.map_err(open_error)? })
    }

    pub async fn read_at(&self, at: u64, bytes: usize) -> io::Result<UringBuffer> {
        assert_aligned(at, bytes);
        let mut buffer = allocate(bytes.max(BLOCK));
        let mut filled = 0;
        while filled < bytes {
            let wanted = (bytes - filled).min(READ_BYTES_MAX);
            let read =
                self.file.read_at_aligned(at + filled as u64, wanted).await.map_err(io_error)?;
            let Some(to) = buffer.as_bytes_mut().get_mut(filled..filled + read.len()) else {
                return Err(io::Error::other("a read returned more than was asked for"));
            };
            to.copy_from_slice(&read);
            filled += read.len();
            // Only the end of the file ends a direct read off a block boundary.
            if read.is_empty() || !read.len().is_multiple_of(BLOCK) {
                break;
            }
        }
        buffer.trim_to_size(filled);
        Ok(UringBuffer(Rc::new(buffer)))
    }

    pub async fn write_at(&self, buffer: UringBuffer, at: u64) -> io::Result<UringBuffer> {
        let bytes = buffer.0.len();
        assert_aligned(at, bytes);
        let mut written =
            self.file.write_rc_at(Rc::clone(&buffer.0), at).await.map_err(io_error)?;
        while written < bytes {
            // The rest must start at a block again, since memory and position
            // are aligned together; rewriting a part of a block changes nothing.
            let from = written - written % BLOCK;
            let rest = UringBuffer::copy_of(buffer.0.as_bytes().get(from..).unwrap_or(&[]));
            let more = self.file.write_rc_at(rest.0, at + from as u64).await.map_err(io_error)?;
            if from + more <= written {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk takes no more"));
            }
            written = from + more;
        }
        Ok(buffer)
    }

    pub async fn sync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(io_error)
    }

    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes).await.map_err(io_error)
    }

    pub async fn file_bytes(&self) -> io::Result<u64> {
        self.file.file_size().await.map_err(io_error)
    }

    pub async fn close(self) -> io::Result<()> {
        self.file.close().await.map_err(io_error)
    }
}
