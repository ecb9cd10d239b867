//! The simulated disk as the core that the log runs on sees it. Each operation takes a while
//! before it has its effect and a while until that is known, so whoever is killed meanwhile
//! does not know whether it had.

use std::{io, sync::Arc};

use super::{
    device::SimDisk,
    directory::FileId,
    faults::SECTOR,
    files::SimFiles,
    state::{EIO, ENOSPC, Fate, State, failed},
};
use crate::io::{
    BLOCK, Disk, DiskFile, FileInfo, FileName, OpenMode, cores,
    simulated::{
        tally::{Event, count},
        task::Turns,
    },
};

/// Whoever is told that there is no more room than this does without.
const NO_ROOM: u64 = 32 << 10;

/// Takes the time of a half of an operation.
async fn delay(disk: &SimDisk) {
    let (times, time) = disk.lock().delay();
    Turns(times).await;
    if !time.is_zero() {
        cores::sleep(time).await;
    }
    disk.goes_on().await;
}

/// Carries out one operation.
async fn operate<T>(
    disk: &SimDisk,
    effect: impl FnOnce(&mut State) -> io::Result<T>,
) -> io::Result<T> {
    delay(disk).await;
    let outcome = disk.step(effect);
    delay(disk).await;
    outcome
}

impl Disk for SimDisk {
    type File = SimFile;
    type Files = SimFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<SimFile> {
        let (id, opened) = operate(self, |state| {
            state.descriptor()?;
            let id = match (state.directory.find(name), mode) {
                (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Some(id), OpenMode::Read | OpenMode::WriteDurable) => id,
                (None, OpenMode::Create) => state.create(name),
                (None, OpenMode::Read | OpenMode::WriteDurable) => {
                    return Err(io::ErrorKind::NotFound.into());
                }
            };
            Ok((id, Arc::clone(&state.file_mut(id)?.opened)))
        })
        .await?;
        Ok(SimFile { disk: self.clone(), id, mode, _opened: opened })
    }

    async fn list(&self) -> io::Result<Vec<FileInfo>> {
        operate(self, |state| state.descriptor().map(|()| state.list())).await
    }

    async fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        operate(self, |state| state.rename(from, to)).await
    }

    async fn remove(&self, name: &FileName) -> io::Result<()> {
        operate(self, |state| state.remove(name)).await
    }

    async fn sync_directory(&self) -> io::Result<()> {
        operate(self, State::sync_directory).await
    }

    async fn pause(&self) {
        delay(self).await;
    }

    async fn free_bytes(&self) -> io::Result<u64> {
        let free = |state: &mut State| {
            let Some(most) = state.faults.capacity else { return Ok(u64::MAX) };
            let free = most.saturating_sub(state.used_bytes());
            if free < NO_ROOM {
                count(Event::DiskIsFull);
            }
            Ok(free)
        };
        operate(self, free).await
    }

    fn files(&self) -> SimFiles {
        SimFiles::new(self.clone())
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    id: FileId,
    mode: OpenMode,
    /// Keeps the bytes when no name leads to them any more.
    _opened: Arc<()>,
}

impl DiskFile for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let at = aligned(at, bytes)?;
        operate(&self.disk, |state| state.read(self.id, at, bytes)).await
    }

    async fn write_at(&self, buffer: Vec<u8>, at: u64) -> io::Result<Vec<u8>> {
        let at = aligned(at, buffer.len())?;
        if self.mode == OpenMode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let end = at + buffer.len();
        delay(&self.disk).await;
        let (fate, [first, second]) = self.disk.step(|state| {
            let fate = state.fate(self.id, buffer.len(), end)?;
            Ok((fate, state.parts(buffer.len())))
        })?;
        let (file, at, fails) = match fate {
            Fate::Done => (self.id, at, false),
            Fate::Fails => (self.id, at, true),
            Fate::Misdirected(file, at) => (file, at, false),
            Fate::Lost => {
                delay(&self.disk).await;
                return Ok(buffer);
            }
        };
        let write = |state: &mut State, part: &[usize]| {
            let content = state.file_mut(file)?;
            for &sector in part {
                let start = sector * SECTOR;
                let bytes = &buffer[start..buffer.len().min(start + SECTOR)];
                content.write(at + start, bytes);
            }
            Ok(())
        };
        // The sectors of a write under way come in no order.
        self.disk.step(|state| write(state, &first))?;
        delay(&self.disk).await;
        if fails {
            return self.disk.step(|_| Err(failed(EIO)));
        }
        self.disk.step(|state| {
            write(state, &second)?;
            if self.mode == OpenMode::WriteDurable {
                state.file_mut(file)?.settle_range(at..at + buffer.len());
            }
            Ok(())
        })?;
        delay(&self.disk).await;
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        operate(&self.disk, |state| state.sync(self.id)).await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let end = aligned(bytes, 0)?;
        let change = |state: &mut State| {
            let grows = end.saturating_sub(state.file_mut(self.id)?.len());
            if !state.has_room(grows) {
                return Err(failed(ENOSPC));
            }
            state.file_mut(self.id)?.set_len(end);
            Ok(())
        };
        operate(&self.disk, change).await
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        operate(&self.disk, |state| Ok(state.file_mut(self.id)?.len() as u64)).await
    }

    async fn close(self) -> io::Result<()> {
        delay(&self.disk).await;
        self.disk.step(|_| Ok(()))
    }
}

fn aligned(at: u64, bytes: usize) -> io::Result<usize> {
    assert!(at.is_multiple_of(BLOCK as u64), "position {at} is not aligned");
    assert!(bytes.is_multiple_of(BLOCK), "length {bytes} is not aligned");
    usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
