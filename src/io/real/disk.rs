//! The real disk: direct I/O on io_uring through glommio. Reads and writes are
//! asynchronous; directory operations run on the executor's blocking threads.

use ::glommio::{
    GlommioError, allocate_dma_buffer,
    io::{DmaBuffer, DmaFile, OpenOptions},
};
use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use super::{
    files::DirectoryFiles,
    regular::{MODE, open_file},
};
use crate::io::{BLOCK, Disk, DiskFile, FileInfo, FileName, Files as _, OpenMode};

/// Reads are split at this size: the kernel splits larger ones anyway, and a
/// bounded piece keeps the memory of one read bounded.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// A pause between pieces of background writing: about twice as long as a piece
/// takes to write, so that others get most of the disk.
const PAUSE: Duration = Duration::from_millis(1);

/// A directory on the machine's file system. All operations must run on a
/// glommio executor.
#[derive(Clone, Debug)]
pub struct GlommioDisk {
    files: DirectoryFiles,
}

impl GlommioDisk {
    /// The disk that is `directory`, which must exist.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self { files: DirectoryFiles::open(directory.into())? })
    }

    /// The directory's path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Runs `work` on the directory, on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DirectoryFiles) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let files = self.files.clone();
        ::glommio::executor().spawn_blocking(move || work(&files)).await
    }
}

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
    let tried = Vec::<u8>::new().try_reserve_exact(bytes + BLOCK);
    if tried.is_err() {
        tracing::error!(bytes, "out of memory: the process ends");
        // SAFETY: it has no preconditions. What is not durable was never promised.
        unsafe { libc::_exit(1) };
    }
    allocate_dma_buffer(bytes)
}

impl Disk for GlommioDisk {
    type File = GlommioFile;
    type Files = DirectoryFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<GlommioFile> {
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
        if mode != OpenMode::Read {
            let path = self.directory().join(name);
            return Ok(GlommioFile { file: options.dma_open(path).await.map_err(open_error)? });
        }
        // glommio looks for the file by its name once more when it is open, and panics when it was
        // removed meanwhile, as purged segments are. By this name it stays.
        let name = name.to_owned();
        let held = self.blocking(move |files| open_file(&files.directory().join(&name))).await?;
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        Ok(GlommioFile { file: options.dma_open(path).await.map_err(open_error)? })
    }

    async fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.blocking(DirectoryFiles::list).await
    }

    async fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.blocking(move |files| files.rename(&from, &to)).await
    }

    async fn remove(&self, name: &FileName) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |files| files.remove(&name)).await
    }

    async fn sync_directory(&self) -> io::Result<()> {
        self.blocking(DirectoryFiles::sync_directory).await
    }

    async fn pause(&self) {
        glommio::timer::sleep(PAUSE).await;
    }

    async fn free_bytes(&self) -> io::Result<u64> {
        self.blocking(|files| free_bytes_of(files.handle())).await
    }

    fn files(&self) -> DirectoryFiles {
        self.files.clone()
    }
}

fn free_bytes_of(directory: &File) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the descriptor is open and `stat` has room for the answer.
    if unsafe { libc::fstatvfs(directory.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Memory for direct I/O. Shared with the kernel only while a write is in
/// flight.
#[derive(Debug)]
pub struct GlommioBuffer(Rc<DmaBuffer>);

impl GlommioBuffer {
    fn zeroed(bytes: usize) -> Self {
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

impl AsRef<[u8]> for GlommioBuffer {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsMut<[u8]> for GlommioBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        if Rc::get_mut(&mut self.0).is_none() {
            *self = Self::copy_of(self.0.as_bytes());
        }
        Rc::get_mut(&mut self.0).map_or(&mut [], |buffer| buffer.as_bytes_mut())
    }
}

/// An open file of a [`GlommioDisk`].
#[derive(Debug)]
pub struct GlommioFile {
    file: DmaFile,
}

impl DiskFile for GlommioFile {
    type Buffer = GlommioBuffer;

    fn buffer(&self, bytes: usize) -> GlommioBuffer {
        GlommioBuffer::zeroed(bytes)
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<GlommioBuffer> {
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
        Ok(GlommioBuffer(Rc::new(buffer)))
    }

    async fn write_at(&self, buffer: GlommioBuffer, at: u64) -> io::Result<GlommioBuffer> {
        let bytes = buffer.0.len();
        assert_aligned(at, bytes);
        let mut written =
            self.file.write_rc_at(Rc::clone(&buffer.0), at).await.map_err(io_error)?;
        while written < bytes {
            // The rest must start at a block again, since memory and position
            // are aligned together; rewriting a part of a block changes nothing.
            let from = written - written % BLOCK;
            let rest = GlommioBuffer::copy_of(buffer.0.as_bytes().get(from..).unwrap_or(&[]));
            let more = self.file.write_rc_at(rest.0, at + from as u64).await.map_err(io_error)?;
            if from + more <= written {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk takes no more"));
            }
            written = from + more;
        }
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(io_error)
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes).await.map_err(io_error)
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        self.file.file_size().await.map_err(io_error)
    }

    async fn close(self) -> io::Result<()> {
        self.file.close().await.map_err(io_error)
    }
}

fn assert_aligned(at: u64, bytes: usize) {
    assert!(at.is_multiple_of(BLOCK as u64), "position {at} is not aligned");
    assert!(bytes.is_multiple_of(BLOCK), "length {bytes} is not aligned");
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::glommio::{LocalExecutorBuilder, Placement};

    fn on_disk<F: Future<Output = ()> + 'static>(
        test: impl FnOnce(GlommioDisk) -> F + Send + 'static,
    ) {
        // Beside the build, since the directory for temporary files is often
        // memory, which direct I/O may refuse.
        let beside = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
        let path = directory.path().to_owned();
        LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 * 1024)
            .spawn(move || test(GlommioDisk::open(path).unwrap()))
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn a_write_reads_back_and_its_buffer_is_reused() {
        on_disk(|disk| async move {
            let file = disk.open("a", OpenMode::Create).await.unwrap();
            let mut buffer = file.buffer(3 * BLOCK);
            buffer.as_mut()[BLOCK] = 7;
            let mut buffer = file.write_at(buffer, 0).await.unwrap();
            let memory = buffer.as_ref().as_ptr();
            assert_eq!(buffer.as_mut().as_ptr(), memory, "no copy was made");
            file.sync().await.unwrap();
            assert_eq!(file.file_bytes().await.unwrap(), 3 * BLOCK as u64);
            file.close().await.unwrap();

            let file = disk.open("a", OpenMode::WriteDurable).await.unwrap();
            let mut block = file.buffer(BLOCK);
            block.as_mut().fill(9);
            file.write_at(block, 2 * BLOCK as u64).await.unwrap();
            let all = file.read_at(0, 8 * BLOCK).await.unwrap();
            assert_eq!(all.as_ref().len(), 3 * BLOCK, "shorter at the end of the file");
            assert_eq!((all.as_ref()[BLOCK], all.as_ref()[2 * BLOCK]), (7, 9));
            assert!(file.read_at(4 * BLOCK as u64, BLOCK).await.unwrap().as_ref().is_empty());
            file.close().await.unwrap();
        });
    }

    #[test]
    fn what_is_removed_while_it_is_opened_is_read_or_not_found() {
        on_disk(|disk| async move {
            let (path, done) = (disk.directory().join("a"), std::sync::Arc::new(()));
            let running = std::sync::Arc::downgrade(&done);
            let removing = std::thread::spawn(move || {
                while running.upgrade().is_some() {
                    std::fs::write(&path, [7; BLOCK]).unwrap();
                    std::fs::remove_file(&path).unwrap();
                }
            });
            let mut opened = 0;
            while opened < 300 {
                match disk.open("a", OpenMode::Read).await {
                    Ok(file) => {
                        opened += 1;
                        file.close().await.unwrap();
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                }
            }
            drop(done);
            removing.join().unwrap();
        });
    }

    #[test]
    fn reads_longer_than_a_piece_are_whole() {
        on_disk(|disk| async move {
            let file = disk.open("a", OpenMode::Create).await.unwrap();
            let bytes = 3 * READ_BYTES_MAX + BLOCK;
            let mut buffer = file.buffer(bytes);
            for (n, block) in buffer.as_mut().chunks_mut(BLOCK).enumerate() {
                block[..8].copy_from_slice(&(n as u64).to_le_bytes());
            }
            let buffer = file.write_at(buffer, 0).await.unwrap();
            let read = file.read_at(0, bytes).await.unwrap();
            assert!(read.as_ref() == buffer.as_ref());
            file.close().await.unwrap();
        });
    }

    #[test]
    fn the_directory_is_listed_renamed_and_removed_from() {
        on_disk(|disk| async move {
            let file = disk.open("a.tmp", OpenMode::Create).await.unwrap();
            file.set_len(2 * BLOCK as u64).await.unwrap();
            file.close().await.unwrap();
            let again = disk.open("a.tmp", OpenMode::Create).await.unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
            disk.rename("a.tmp", "a").await.unwrap();
            disk.sync_directory().await.unwrap();
            let listed = disk.list().await.unwrap();
            assert_eq!(listed, [FileInfo { name: "a".into(), bytes: 2 * BLOCK as u64 }]);
            disk.remove("a").await.unwrap();
            assert!(disk.list().await.unwrap().is_empty());
            let gone = disk.open("a", OpenMode::Read).await.unwrap_err();
            assert_eq!(gone.kind(), io::ErrorKind::NotFound);
            assert!(disk.free_bytes().await.unwrap() > 0);
        });
    }

    #[test]
    fn the_directory_is_opened_once() {
        on_disk(|disk| async move {
            // Its name leads nowhere any more, so opening it would fail.
            let elsewhere = disk.directory().with_extension("moved");
            std::fs::rename(disk.directory(), &elsewhere).unwrap();
            let synced = (disk.sync_directory().await, disk.free_bytes().await);
            std::fs::rename(&elsewhere, disk.directory()).unwrap();
            synced.0.unwrap();
            assert!(synced.1.unwrap() > 0);
        });
    }
}
