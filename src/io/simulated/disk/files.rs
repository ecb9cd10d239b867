//! The simulated disk for work off the core, and what it holds as memory.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{SECTOR, SimDisk};
use crate::io::{FileInfo, FileName, Files, Output, map::Mapping};

/// What is read into memory at once.
const PAGE: usize = 4096;

/// The files of a [`SimDisk`].
#[derive(Clone, Debug)]
pub struct SimFiles {
    disk: SimDisk,
}

impl SimFiles {
    pub(super) fn new(disk: SimDisk) -> Self {
        Self { disk }
    }
}

impl Files for SimFiles {
    type Output = SimOutput;

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.disk.alive()?;
        Ok(self.disk.lock().list())
    }

    fn read(&self, name: &FileName) -> io::Result<Vec<u8>> {
        self.disk.alive()?;
        let mut state = self.disk.lock();
        let id = state.find(name)?;
        state.read(id)
    }

    fn create(&self, name: &FileName) -> io::Result<SimOutput> {
        self.disk.alive()?;
        let id = self.disk.lock().create(name);
        Ok(SimOutput { disk: self.disk.clone(), id, written: 0 })
    }

    fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        self.disk.alive()?;
        self.disk.lock().rename(from, to)
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        self.disk.alive()?;
        self.disk.lock().remove(name)
    }

    fn map(&self, name: &FileName) -> io::Result<Mapping> {
        let bytes = self.read(name)?;
        Ok(Mapping::held(HeldFile { bytes, resident: Mutex::default() }))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.alive()?;
        self.disk.lock().sync_directory()
    }
}

/// A file of a [`SimDisk`] that is being written front to back.
#[derive(Debug)]
pub struct SimOutput {
    disk: SimDisk,
    id: usize,
    written: usize,
}

impl Write for SimOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.alive()?;
        let mut state = self.disk.lock();
        if state.write_fails() {
            return Err(SimDisk::injected());
        }
        if !state.has_room(bytes.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A write of any length may be cut short.
        let taken = bytes.len().min(64 * SECTOR);
        if let Some(file) = state.files.get_mut(self.id) {
            file.write(self.written, &bytes[..taken]);
        }
        self.written += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for SimOutput {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.alive()?;
        self.disk.lock().sync(self.id)
    }
}

/// A file as it was when it was mapped, of which nothing is in memory at first.
pub struct HeldFile {
    bytes: Vec<u8>,
    resident: Mutex<BTreeSet<usize>>,
}

impl HeldFile {
    pub(in crate::io) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::io) fn is_resident(&self, range: Range<usize>) -> bool {
        if range.start > range.end || range.end > self.bytes.len() {
            return false;
        }
        let resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        (range.start / PAGE..range.end.div_ceil(PAGE)).all(|page| resident.contains(&page))
    }

    pub(in crate::io) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        resident.extend(range.start / PAGE..range.end.div_ceil(PAGE));
        Ok(())
    }
}
