//! The simulated disk for work off the core.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    device::SimDisk,
    directory::FileId,
    faults::SECTOR,
    held::HeldFile,
    state::{EIO, Fate, State, failed},
};
use crate::io::{FileInfo, FileName, Files, Output, map::Mapping};

/// The most that one write takes.
const WRITE_BYTES_MAX: usize = 64 * SECTOR;

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
        self.disk.step_off_core(|state| state.descriptor().map(|()| state.list()))
    }

    fn read(&self, name: &FileName) -> io::Result<Vec<u8>> {
        self.disk.step_off_core(|state| {
            let file = state.find(name)?;
            state.descriptor()?;
            state.read(file, 0, usize::MAX)
        })
    }

    fn create(&self, name: &FileName) -> io::Result<SimOutput> {
        let (file, opened) = self.disk.step_off_core(|state| {
            state.descriptor()?;
            // One that is there is cut to nothing, and stays the same file.
            let file = match state.directory.find(name) {
                Some(file) => {
                    state.file_mut(file)?.set_len(0);
                    file
                }
                None => state.create(name),
            };
            Ok((file, Arc::clone(&state.file_mut(file)?.opened)))
        })?;
        let (disk, name) = (self.disk.clone(), name.to_owned());
        Ok(SimOutput { disk, name, file, written: 0, _opened: opened })
    }

    fn write_from(&self, name: &FileName, at: u64) -> io::Result<SimOutput> {
        let written = usize::try_from(at).map_err(io::Error::other)?;
        let (file, opened) = self.disk.step_off_core(|state| {
            state.descriptor()?;
            let file = match state.directory.find(name) {
                Some(file) => file,
                None => state.create(name),
            };
            let found = state.file_mut(file)?;
            found.set_len(written);
            Ok((file, Arc::clone(&found.opened)))
        })?;
        let (disk, name) = (self.disk.clone(), name.to_owned());
        Ok(SimOutput { disk, name, file, written, _opened: opened })
    }

    fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        self.disk.step_off_core(|state| state.rename(from, to))
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        self.disk.step_off_core(|state| state.remove(name))
    }

    fn map(&self, name: &FileName) -> io::Result<Mapping> {
        let (file, opened, bytes) = self.disk.step_off_core(|state| {
            let file = state.find(name)?;
            state.descriptor()?;
            let bytes = state.read(file, 0, usize::MAX)?;
            Ok((file, Arc::clone(&state.file_mut(file)?.opened), bytes))
        })?;
        Ok(Mapping::held(HeldFile::new(self.disk.clone(), file, opened, bytes)))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.step_off_core(State::sync_directory)
    }
}

/// A file of a [`SimDisk`] that is being written front to back.
#[derive(Debug)]
pub struct SimOutput {
    disk: SimDisk,
    name: String,
    file: FileId,
    written: usize,
    /// Keeps the bytes when no name leads to them any more.
    _opened: Arc<()>,
}

impl Write for SimOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A write may take a part of what it is given.
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
        let (at, end) = (self.written, self.written + bytes.len());
        self.disk.step_off_core(|state| {
            *state.written_off_core.entry(self.name.clone()).or_default() += bytes.len() as u64;
            let (file, at) = match state.fate(self.file, bytes.len(), end)? {
                Fate::Done => (self.file, at),
                Fate::Misdirected(file, at) => (file, at),
                Fate::Lost => {
                    return state
                        .file_mut(self.file)
                        .map(|file| file.write(at, &vec![0; bytes.len()]));
                }
                Fate::Fails => return Err(failed(EIO)),
            };
            state.file_mut(file)?.write(at, bytes);
            Ok(())
        })?;
        self.written = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for SimOutput {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.step_off_core(|state| state.sync(self.file))
    }
}
