//! What a simulated disk holds, and its operations, each as one step.

use std::{collections::BTreeMap, io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    content::Content,
    directory::{Directory, FileId},
    faults::{Faults, Loss, SECTOR},
};
use crate::io::{
    BLOCK, FileInfo, FileName,
    simulated::tally::{Event, count},
};

pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;
pub(super) const EMFILE: i32 = 24;

pub(super) fn failed(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: StdRng,
    pub(super) faults: Faults,
    /// Fails the writes to come, after letting so many succeed.
    pub(super) fail_write_after: Option<u64>,
    /// Cuts the power after so many steps more.
    pub(super) cut_after: Option<u64>,
    /// The same, of steps off the core.
    pub(super) cut_off_core_after: Option<u64>,
    pub(super) directory: Directory,
    files: BTreeMap<FileId, Content>,
    next: FileId,
    pub(super) writes: u64,
    /// Bytes written off the core, by the name that their file was created with.
    pub(super) written_off_core: BTreeMap<String, u64>,
    /// An operation failed.
    pub(super) has_failed: bool,
    /// How often bytes at rest were changed.
    pub(super) rotted: u64,
    /// The power is off, or the process is gone: handles from before are dead.
    pub(super) is_dead: bool,
}

/// What becomes of a write.
pub(super) enum Fate {
    /// It is done.
    Done,
    /// It fails; any of its sectors were written.
    Fails,
    /// It is told as done and changes nothing.
    Lost,
    /// It is told as done and went there.
    Misdirected(FileId, usize),
}

impl State {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            faults,
            fail_write_after: None,
            cut_after: None,
            cut_off_core_after: None,
            has_failed: false,
            directory: Directory::default(),
            files: BTreeMap::new(),
            next: 0,
            writes: 0,
            written_off_core: BTreeMap::new(),
            rotted: 0,
            is_dead: false,
        }
    }

    /// What the next process finds, after a power loss where there was one.
    pub(super) fn restarted(&mut self, loss: Option<Loss>) -> Self {
        self.is_dead = true;
        let seed = self.rng.random();
        let faults = if loss.is_some() { self.faults.after_restart() } else { self.faults.clone() };
        let mut next = Self::new(seed, faults);
        next.directory.clone_from(&self.directory);
        next.files.clone_from(&self.files);
        next.next = self.next;
        if let Some(loss) = loss {
            next.directory.lose_power(loss, &mut next.rng);
            next.files.values_mut().for_each(|file| file.lose_power(loss, &mut next.rng));
        }
        next.forget_unreachable();
        next
    }

    /// Drops what nothing leads to any more.
    fn forget_unreachable(&mut self) {
        let directory = &self.directory;
        self.files.retain(|&file, content| content.is_open() || directory.leads_to(file));
    }

    /// Whether `event` happens this time.
    fn chance(&mut self, probability: f64, event: Event) -> bool {
        let happens = probability > 0.0 && self.rng.random_bool(probability);
        if happens {
            count(event);
        }
        happens
    }

    /// Begins a step of an operation.
    pub(super) fn step(&mut self) -> io::Result<()> {
        match &mut self.cut_after {
            Some(0) => {
                if !self.is_dead {
                    count(Event::PowerGoes);
                }
                self.is_dead = true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if self.is_dead {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the power is off"));
        }
        Ok(())
    }

    /// How often an operation pends now, and how long it takes.
    pub(super) fn delay(&mut self) -> (u32, Duration) {
        let (most, longest) = (self.faults.pending_max, self.faults.latency_max);
        let times = if most == 0 { 0 } else { self.rng.random_range(0..=most) };
        let time =
            if longest.is_zero() { longest } else { self.rng.random_range(longest / 8..=longest) };
        // An operation is delayed before its effect and after it.
        (times, time / 2)
    }

    pub(super) fn file(&self, file: FileId) -> Option<&Content> {
        self.files.get(&file)
    }

    pub(super) fn file_mut(&mut self, file: FileId) -> io::Result<&mut Content> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::other("no such file"))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.list().iter().map(|file| file.bytes).sum()
    }

    /// Whether files may take so many bytes more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let capacity = self.faults.capacity;
        let has_room =
            bytes == 0 || capacity.is_none_or(|most| self.used_bytes() + bytes as u64 <= most);
        if !has_room {
            count(Event::DiskIsFull);
        }
        has_room
    }

    /// Fails when the process has no descriptor for what it does.
    pub(super) fn descriptor(&self) -> io::Result<()> {
        if !self.faults.no_descriptors {
            return Ok(());
        }
        count(Event::NoDescriptor);
        Err(failed(EMFILE))
    }

    pub(super) fn list(&self) -> Vec<FileInfo> {
        let bytes = |file| self.file(file).map_or(0, |content| content.len() as u64);
        let info = |(name, file): (&String, _)| FileInfo { name: name.clone(), bytes: bytes(file) };
        self.directory.names().map(info).collect()
    }

    pub(super) fn find(&self, name: &FileName) -> io::Result<FileId> {
        self.directory.find(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A new empty file, whatever bore the name.
    pub(super) fn create(&mut self, name: &FileName) -> FileId {
        let file = self.add(Content::default());
        self.directory.create(name, file);
        file
    }

    /// A file that no name leads to yet.
    pub(super) fn add(&mut self, content: Content) -> FileId {
        let file = self.next;
        self.next += 1;
        self.files.insert(file, content);
        file
    }

    pub(super) fn rename(&mut self, from: &FileName, to: &FileName) -> io::Result<()> {
        let file = self.find(from)?;
        if self.chance(self.faults.rename_error, Event::RenameFails) {
            return Err(failed(EIO));
        }
        self.directory.rename(from, to, file);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &FileName) -> io::Result<()> {
        self.find(name)?;
        if self.chance(self.faults.remove_error, Event::RemovalFails) {
            return Err(failed(EIO));
        }
        self.directory.remove(name);
        Ok(())
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        let (any, own) = (self.faults.sync_error, self.faults.directory_sync_error);
        let fails = self.chance(any, Event::DirectorySyncFails);
        if fails || self.chance(own, Event::DirectorySyncFails) {
            self.directory.fail_sync(&mut self.rng);
            return Err(failed(EIO));
        }
        self.directory.sync();
        self.forget_unreachable();
        Ok(())
    }

    pub(super) fn sync(&mut self, file: FileId) -> io::Result<()> {
        let fails = self.chance(self.faults.sync_error, Event::SyncFails);
        let Some(content) = self.files.get_mut(&file) else { return Ok(()) };
        if fails {
            content.fail_sync(&mut self.rng);
            return Err(failed(EIO));
        }
        content.settle_all();
        Ok(())
    }

    pub(super) fn read(&mut self, file: FileId, at: usize, bytes: usize) -> io::Result<Vec<u8>> {
        if self.chance(self.faults.read_error, Event::ReadFails) {
            return Err(failed(EIO));
        }
        let all = self.file_mut(file)?.bytes();
        let end = all.len().min(at.saturating_add(bytes));
        Ok(all.get(at..end).unwrap_or_default().to_vec())
    }

    /// Reads a part of a mapped file into memory.
    pub(super) fn populate(&mut self) -> io::Result<()> {
        let fails = self.chance(self.faults.read_error, Event::ReadFails);
        if fails { Err(failed(EIO)) } else { Ok(()) }
    }

    /// Decides what becomes of a write of `bytes` to the end `end` of a file.
    pub(super) fn fate(&mut self, file: FileId, bytes: usize, end: usize) -> io::Result<Fate> {
        self.writes += 1;
        let planned = match &mut self.fail_write_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        let grows = end.saturating_sub(self.file(file).map_or(0, Content::len));
        if !self.has_room(grows) {
            return Err(failed(ENOSPC));
        }
        if planned || self.chance(self.faults.write_error, Event::WriteFails) {
            return Ok(Fate::Fails);
        }
        if self.chance(self.faults.lost_write, Event::WriteIsLost) {
            return Ok(Fate::Lost);
        }
        if self.chance(self.faults.misdirected_write, Event::WriteIsMisdirected) {
            return Ok(self
                .elsewhere(bytes)
                .map_or(Fate::Lost, |(file, at)| Fate::Misdirected(file, at)));
        }
        Ok(Fate::Done)
    }

    /// A place of any file where so many bytes are.
    fn elsewhere(&mut self, bytes: usize) -> Option<(FileId, usize)> {
        let fits =
            |(_, file): (&String, FileId)| Some((file, self.file(file)?.len().checked_sub(bytes)?));
        let places: Vec<_> = self.directory.names().filter_map(fits).collect();
        let count = places.len();
        let &(file, last) = places.get(self.rng.random_range(0..count.max(1)))?;
        Some((file, self.rng.random_range(0..=last / BLOCK) * BLOCK))
    }

    /// Divides a write by sectors, each written for itself by chance, into those of a first
    /// part and those of a second.
    pub(super) fn parts(&mut self, bytes: usize) -> [Vec<usize>; 2] {
        let (first, second) = (0..bytes.div_ceil(SECTOR)).partition(|_| self.rng.random());
        [first, second]
    }
}
