//! The real disk: files by direct I/O, through io_uring or on threads, as the core has it, or on threads
//! through the page cache where there is no direct I/O; directory operations on its blocking threads.

use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    aligned::AlignedBuffer,
    files::DirectoryFiles,
    portable::{cores as portable, file::PortableFile},
    regular::open_file,
    uring::file::{UringBuffer, UringFile},
};
use crate::io::{Disk, DiskFile, FileInfo, FileName, Files as _, OpenMode, cores};

/// A pause between pieces of background writing, so that others get most of the disk: pieces of 256 KiB
/// are no more than 64 MB/s with it.
const PAUSE: Duration = Duration::from_millis(4);

/// A directory on the machine's file system. All operations must run on a core.
#[derive(Clone, Debug)]
pub struct RealDisk {
    files: DirectoryFiles,
}

impl RealDisk {
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

    async fn open_on_uring(&self, path: &Path, mode: OpenMode) -> io::Result<UringFile> {
        if mode != OpenMode::Read {
            return UringFile::open(path, mode).await;
        }
        // glommio looks for the file by its name once more when it is open, and panics when it was
        // removed meanwhile, as purged segments are. By this name it stays.
        let path = path.to_owned();
        let held = cores::off_core(move || open_file(&path)).await?;
        UringFile::open(Path::new(&format!("/proc/self/fd/{}", held.as_raw_fd())), mode).await
    }

    async fn remove_if_there(&self, name: &FileName) -> io::Result<()> {
        match self.remove(name).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Runs `work` on the directory, on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DirectoryFiles) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let files = self.files.clone();
        cores::off_core(move || work(&files)).await
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type Files = DirectoryFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<RealFile> {
        let path = self.directory().join(name);
        if portable::is_here() {
            return PortableFile::open(&path, mode).await.map(RealFile::Portable);
        }
        let opened = self.open_on_uring(&path, mode).await;
        match opened {
            // There is no direct I/O. What was made for nothing is new.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                if mode == OpenMode::Create {
                    self.remove_if_there(name).await?;
                }
                PortableFile::open(&path, mode).await.map(RealFile::Portable)
            }
            opened => opened.map(RealFile::Uring),
        }
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
        cores::sleep(PAUSE).await;
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

/// An open file of a [`RealDisk`].
#[derive(Debug)]
pub enum RealFile {
    #[doc(hidden)]
    Uring(UringFile),
    #[doc(hidden)]
    Portable(PortableFile),
}

/// Memory for one of either kind.
#[derive(Debug)]
pub enum RealBuffer {
    #[doc(hidden)]
    Uring(UringBuffer),
    #[doc(hidden)]
    Portable(AlignedBuffer),
}

impl AsRef<[u8]> for RealBuffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Uring(buffer) => buffer.as_ref(),
            Self::Portable(buffer) => buffer.as_ref(),
        }
    }
}

impl AsMut<[u8]> for RealBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Uring(buffer) => buffer.as_mut(),
            Self::Portable(buffer) => buffer.as_mut(),
        }
    }
}

impl DiskFile for RealFile {
    type Buffer = RealBuffer;

    fn buffer(&self, bytes: usize) -> RealBuffer {
        match self {
            Self::Uring(_) => RealBuffer::Uring(UringBuffer::zeroed(bytes)),
            Self::Portable(_) => RealBuffer::Portable(AlignedBuffer::zeroed(bytes)),
        }
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<RealBuffer> {
        match self {
            Self::Uring(file) => file.read_at(at, bytes).await.map(RealBuffer::Uring),
            Self::Portable(file) => file.read_at(at, bytes).await.map(RealBuffer::Portable),
        }
    }

    async fn write_at(&self, buffer: RealBuffer, at: u64) -> io::Result<RealBuffer> {
        match (self, buffer) {
            (Self::Uring(file), RealBuffer::Uring(buffer)) => {
                file.write_at(buffer, at).await.map(RealBuffer::Uring)
            }
            (Self::Portable(file), RealBuffer::Portable(buffer)) => {
                file.write_at(buffer, at).await.map(RealBuffer::Portable)
            }
            // All files of a directory are of one kind.
            _ => Err(io::Error::other("the buffer is one for files of another kind")),
        }
    }

    async fn sync(&self) -> io::Result<()> {
        match self {
            Self::Uring(file) => file.sync().await,
            Self::Portable(file) => file.sync().await,
        }
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Uring(file) => file.set_len(bytes).await,
            Self::Portable(file) => file.set_len(bytes).await,
        }
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        match self {
            Self::Uring(file) => file.file_bytes().await,
            Self::Portable(file) => file.file_bytes().await,
        }
    }

    async fn close(self) -> io::Result<()> {
        match self {
            Self::Uring(file) => file.close().await,
            Self::Portable(file) => file.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        BLOCK,
        real::{core::Kind, cores::Executor},
    };

    /// Runs a test on cores of both kinds.
    fn on_disk<F: Future<Output = ()>>(test: impl Fn(RealDisk) -> F) {
        for kind in Kind::ALL {
            // Beside the build, since the directory for temporary files is often
            // memory, which direct I/O may refuse.
            let beside = std::env::current_exe().unwrap();
            let directory = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
            let disk = RealDisk::open(directory.path()).unwrap();
            Executor::of(kind).block_on(test(disk));
        }
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
            let bytes = 3 * 1024 * 1024 + BLOCK;
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
