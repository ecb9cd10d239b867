//! The simulated disk with the time that writing takes, and with a stop: while
//! a disk is paused, nothing that was written becomes durable.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::sync::watch;

use crate::io::{
    Disk, DiskFile, FileInfo, FileName, OpenMode, cores,
    simulated::disk::{Loss, SimDisk, SimFile, SimFiles},
};

/// From a write to when it is durable, and from there to when that is known.
const WRITE: Duration = Duration::from_micros(500);

/// A disk of one node; clones are the same disk.
#[derive(Clone)]
pub(super) struct TimedDisk {
    disk: Rc<RefCell<SimDisk>>,
    is_paused: Rc<watch::Sender<bool>>,
}

impl TimedDisk {
    pub(super) fn new(seed: u64) -> Self {
        let disk = Rc::new(RefCell::new(SimDisk::new(seed)));
        Self { disk, is_paused: Rc::new(watch::Sender::new(false)) }
    }

    /// Cuts the power; what is not durable is lost as `loss` says.
    pub(super) fn crash(&self, loss: Loss) {
        let survived = self.inner().crash(loss);
        self.disk.replace(survived);
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.is_paused.send_replace(is_paused);
    }

    pub(super) fn inner(&self) -> SimDisk {
        self.disk.borrow().clone()
    }

    /// One half of a write.
    async fn half_write(&self) {
        cores::sleep(WRITE).await;
        // The sender is held here.
        let _ = self.is_paused.subscribe().wait_for(|is_paused| !is_paused).await;
    }
}

impl Disk for TimedDisk {
    type File = TimedFile;
    type Files = SimFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<TimedFile> {
        Ok(TimedFile { file: self.inner().open(name, mode).await?, disk: self.clone() })
    }

    async fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.inner().list().await
    }

    async fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        self.inner().rename(from, to).await
    }

    async fn remove(&self, name: &FileName) -> io::Result<()> {
        self.inner().remove(name).await
    }

    async fn sync_directory(&self) -> io::Result<()> {
        self.half_write().await;
        self.inner().sync_directory().await
    }

    async fn pause(&self) {
        self.inner().pause().await;
    }

    async fn free_bytes(&self) -> io::Result<u64> {
        self.inner().free_bytes().await
    }

    fn files(&self) -> SimFiles {
        self.inner().files()
    }
}

/// An open file of a [`TimedDisk`].
pub(super) struct TimedFile {
    file: SimFile,
    disk: TimedDisk,
}

impl DiskFile for TimedFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        self.file.buffer(bytes)
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.file.read_at(at, bytes).await
    }

    async fn write_at(&self, buffer: Vec<u8>, at: u64) -> io::Result<Vec<u8>> {
        self.disk.half_write().await;
        let buffer = self.file.write_at(buffer, at).await?;
        self.disk.half_write().await;
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.half_write().await;
        self.file.sync().await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes).await
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        self.file.file_bytes().await
    }

    async fn close(self) -> io::Result<()> {
        self.file.close().await
    }
}
