//! The seam to the disk: everything above does to files goes through [`Disk`], on the core
//! that the log runs on, or through [`Files`], off it. So the same code runs on a real disk
//! and on a simulated one that loses, tears and corrupts sectors.

use std::{
    future::Future,
    io::{self, Write},
};

use super::map::Mapping;

/// A file within the data directory, by name. Names have no separator.
pub type FileName = str;

/// What [`Disk::list`] reports of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The name within the directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; reads only.
    Read,
    /// It must exist; reads and writes, each write durable when it returns
    /// (`O_DIRECT | O_DSYNC`).
    WriteDurable,
    /// It must not exist; reads and writes, durable after [`DiskFile::sync`].
    Create,
}

/// One directory on a disk. Futures are not `Send`: a disk belongs to the core
/// that runs the log.
pub trait Disk: Clone + 'static {
    /// An open file of this disk.
    type File: DiskFile;
    /// What work off the core reaches the same directory by.
    type Files: Files;

    /// Opens or creates a file. The directory entry of a created file is
    /// durable only after [`sync_directory`](Self::sync_directory).
    fn open(&self, name: &FileName, mode: OpenMode)
    -> impl Future<Output = io::Result<Self::File>>;

    /// The regular files of the directory, in no order.
    fn list(&self) -> impl Future<Output = io::Result<Vec<FileInfo>>>;

    /// Renames atomically, replacing what bears the new name.
    fn rename(&self, from: &FileName, to: &FileName) -> impl Future<Output = io::Result<()>>;

    /// Removes a file.
    fn remove(&self, name: &FileName) -> impl Future<Output = io::Result<()>>;

    /// Makes creations, renames and removals so far durable.
    fn sync_directory(&self) -> impl Future<Output = io::Result<()>>;

    /// A moment in which others may use the disk: taken between the pieces of
    /// what is written in the background and nobody waits for.
    fn pause(&self) -> impl Future<Output = ()>;

    /// Bytes that may still be written before the disk is full.
    fn free_bytes(&self) -> impl Future<Output = io::Result<u64>>;

    /// The same directory for work that runs off the core.
    fn files(&self) -> Self::Files;
}

/// An open file. Positions and lengths are multiples of [`BLOCK`].
pub trait DiskFile: 'static {
    /// Memory aligned for direct I/O.
    type Buffer: AsRef<[u8]> + AsMut<[u8]> + 'static;

    /// A zero-filled buffer of `bytes`, a multiple of [`BLOCK`].
    fn buffer(&self, bytes: usize) -> Self::Buffer;

    /// Reads up to `bytes` from `at`; fewer only at the end of the file.
    fn read_at(&self, at: u64, bytes: usize) -> impl Future<Output = io::Result<Self::Buffer>>;

    /// Writes the whole buffer and gives it back for reuse. Durable on return
    /// in [`OpenMode::WriteDurable`], else after [`sync`](Self::sync).
    fn write_at(
        &self,
        buffer: Self::Buffer,
        at: u64,
    ) -> impl Future<Output = io::Result<Self::Buffer>>;

    /// Makes all writes so far durable.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> impl Future<Output = io::Result<()>>;

    /// The file's length in bytes.
    fn file_bytes(&self) -> impl Future<Output = io::Result<u64>>;

    /// Closes the file, reporting what dropping it would hide.
    fn close(self) -> impl Future<Output = io::Result<()>>;
}

/// Whether `error` says that the disk does not give what stands at the place that was read, as
/// far as that can be told from a disk that fails as a whole: a bad block, a checksum of the file
/// system or the device, a file that has become shorter or something else than a file.
#[must_use]
pub fn is_bad_place(error: &io::Error) -> bool {
    let errno = match error.raw_os_error() {
        Some(errno) => errno,
        None => return error.kind() == io::ErrorKind::UnexpectedEof,
    };
    matches!(
        errno,
        libc::EIO
            | libc::ENODATA
            | libc::EILSEQ
            | libc::EREMOTEIO
            | libc::EBADMSG
            | libc::EUCLEAN
            | libc::EISDIR
            // What reading mapped memory says of all these.
            | libc::EFAULT
            | libc::EHWPOISON
    )
}

/// The unit of direct I/O: positions, lengths and memory are aligned to it.
pub const BLOCK: usize = 4096;

/// The directory of a [`Disk`] for work that runs off the core: every call may wait for the
/// disk, and may be made on any thread. What is created, renamed or removed is durable after
/// [`sync_directory`](Self::sync_directory), of whichever of the two.
pub trait Files: Clone + Send + Sync + 'static {
    /// A file that is being written.
    type Output: Output;

    /// The regular files of the directory, in no order.
    ///
    /// # Errors
    /// What the disk reports.
    fn list(&self) -> io::Result<Vec<FileInfo>>;

    /// The whole file.
    ///
    /// # Errors
    /// What the disk reports; `NotFound` when there is none.
    fn read(&self, name: &FileName) -> io::Result<Vec<u8>>;

    /// A file to be written from its beginning; what bore the name is cut to nothing.
    ///
    /// # Errors
    /// What the disk reports.
    fn create(&self, name: &FileName) -> io::Result<Self::Output>;

    /// A file to be written on from byte `at`, a multiple of [`BLOCK`], behind which it is cut; made
    /// where there is none. What is written bypasses the page cache where that can be: for much that
    /// is not read soon. Only what [`Output::sync`] was called after is sure to be in the file.
    ///
    /// # Errors
    /// What the disk reports.
    fn write_from(&self, name: &FileName, at: u64) -> io::Result<Self::Output>;

    /// Renames atomically, replacing what bears the new name.
    ///
    /// # Errors
    /// What the disk reports.
    fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the disk reports; `NotFound` when there is none.
    fn remove(&self, name: &FileName) -> io::Result<()>;

    /// Removes a file that nobody has open or mapped. What it took is given back a piece at a time: a disk
    /// that is told of all of it at once may do nothing else meanwhile.
    ///
    /// # Errors
    /// As those of [`remove`](Self::remove).
    fn remove_slowly(&self, name: &FileName) -> io::Result<()> {
        self.remove(name)
    }

    /// The file as memory. It must not change any more.
    ///
    /// # Errors
    /// What the disk reports.
    fn map(&self, name: &FileName) -> io::Result<Mapping>;

    /// Makes creations, renames and removals so far durable.
    ///
    /// # Errors
    /// What the disk reports.
    fn sync_directory(&self) -> io::Result<()>;
}

/// The directory could not be synced. What others created, renamed or removed in it may be lost with
/// that, although a later sync succeeds.
#[derive(Debug, thiserror::Error)]
#[error("syncing the data directory: {0}")]
pub struct DirectoryFailed(io::Error);

/// Makes creations, renames and removals so far durable.
///
/// # Errors
/// What the disk reports; [`is_directory_failed`] tells it apart.
pub fn sync_directory(files: &impl Files) -> io::Result<()> {
    files.sync_directory().map_err(|error| io::Error::other(DirectoryFailed(error)))
}

/// Makes a file of these bytes, under another name first: durable on return.
///
/// # Errors
/// What the disk reports; nothing bears the name then, or what bore it before.
pub fn put_file(
    files: &impl Files,
    temporary: &FileName,
    name: &FileName,
    bytes: &[u8],
) -> io::Result<()> {
    let written = || {
        let mut out = files.create(temporary)?;
        out.write_all(bytes)?;
        out.sync()?;
        files.rename(temporary, name)?;
        sync_directory(files)
    };
    let outcome = written();
    if outcome.is_err() {
        // The error before says more than that of this.
        let _ = files.remove(temporary);
    }
    outcome
}

/// Whether the directory could not be synced.
#[must_use]
pub fn is_directory_failed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<DirectoryFailed>())
}

/// A file that is being written, front to back.
pub trait Output: Write + Send + 'static {
    /// Makes all that was written durable.
    ///
    /// # Errors
    /// What the disk reports.
    fn sync(&mut self) -> io::Result<()>;

    /// Begins to bring to the disk what was written since it was last called, and waits until what
    /// was begun then is there: so that little is left for [`sync`](Self::sync), which would hold
    /// up whoever else uses the disk. Nothing is durable by it.
    fn write_back(&mut self) {}
}
