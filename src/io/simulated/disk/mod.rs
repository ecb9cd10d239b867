//! A disk in memory that behaves as badly as real ones may: sectors and
//! directory entries are volatile until synced, a crash keeps any subset of
//! them, and operations fail on demand. The same seed gives the same run.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use crate::io::{BLOCK, Disk, DiskFile, FileInfo, FileName, OpenMode, cores};

mod files;

pub use files::{HeldFile, SimFiles};

/// What the device writes as a whole or not at all.
pub const SECTOR: usize = 512;
/// How often one that hangs is looked at.
const HANGS_LOOK: Duration = Duration::from_millis(10);

/// What goes wrong, and how often. The default is a disk without faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The chance that a write fails, having written any part of itself.
    pub write_error: f64,
    /// The chance that a sync fails, having made any part durable.
    pub sync_error: f64,
    /// The chance that a sync of the directory fails, besides.
    pub directory_sync_error: f64,
    /// The chance that a removal of a file fails, and leaves it.
    pub remove_error: f64,
    /// The chance that a read fails.
    pub read_error: f64,
    /// Bytes that all files together may take, if bounded.
    pub capacity: Option<u64>,
    /// The most often that one operation pends before it goes on.
    pub pending_max: u32,
    /// Nothing goes on.
    pub hangs: bool,
}

/// Which volatile state a power loss keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Everything volatile is lost.
    All,
    /// Everything happens to survive.
    Nothing,
    /// Each sector and directory change for itself.
    Random,
}

#[derive(Clone, Debug, Default)]
struct SimFileState {
    /// What a reader sees.
    live: Vec<u8>,
    /// What surely survives a power loss.
    durable: Vec<u8>,
    /// Sectors that differ, or may. Sectors of a write in flight are among them.
    volatile: BTreeSet<usize>,
}

impl SimFileState {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        if let Some(to) = self.live.get_mut(at..end) {
            to.copy_from_slice(bytes);
        }
        self.volatile.extend(at / SECTOR..end.div_ceil(SECTOR));
    }

    /// Makes one volatile sector durable as it is.
    fn settle(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = self.live.len().min(start + SECTOR);
        let Some(bytes) = self.live.get(start..end) else { return };
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        if let Some(to) = self.durable.get_mut(start..end) {
            to.copy_from_slice(bytes);
        }
    }

    fn settle_range(&mut self, at: usize, end: usize) {
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            if self.volatile.remove(&sector) {
                self.settle(sector);
            }
        }
    }

    fn settle_all(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.volatile) {
            self.settle(sector);
        }
    }

    fn lose_power(&mut self, loss: Loss, rng: &mut StdRng) {
        let keeps = |rng: &mut StdRng| match loss {
            Loss::All => false,
            Loss::Nothing => true,
            Loss::Random => rng.random(),
        };
        if self.durable.len() != self.live.len() && keeps(rng) {
            self.durable.resize(self.live.len(), 0);
        }
        for sector in std::mem::take(&mut self.volatile) {
            if keeps(rng) {
                self.settle(sector);
            }
        }
        self.live.clone_from(&self.durable);
    }
}

/// A change to the directory that is not synced yet.
#[derive(Clone, Debug)]
enum Change {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        Change::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    faults: Faults,
    /// Fails the writes to come, after letting so many succeed.
    fail_write_after: Option<u64>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    files: Vec<SimFileState>,
    writes: u64,
    /// Power was lost: handles from before are dead.
    dead: bool,
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|&id| self.file(id).map_or(0, |file| file.live.len() as u64)).sum()
    }

    fn file(&self, id: usize) -> Option<&SimFileState> {
        self.files.get(id)
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn list(&self) -> Vec<FileInfo> {
        let bytes = |id| self.file(id).map_or(0, |file| file.live.len() as u64);
        let info =
            |(name, &id): (&String, &usize)| FileInfo { name: name.clone(), bytes: bytes(id) };
        self.names.iter().map(info).collect()
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> io::Result<()> {
        self.find(from)?;
        self.change(Change::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&mut self, name: &FileName) -> io::Result<()> {
        self.find(name)?;
        if self.chance(self.faults.remove_error) {
            return Err(SimDisk::injected());
        }
        self.change(Change::Remove(name.into()));
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        if self.chance(self.faults.sync_error) || self.chance(self.faults.directory_sync_error) {
            return Err(SimDisk::injected());
        }
        for change in std::mem::take(&mut self.changes) {
            apply(&mut self.durable_names, &change);
        }
        Ok(())
    }

    /// Makes all of a file durable.
    fn sync(&mut self, id: usize) -> io::Result<()> {
        if self.chance(self.faults.sync_error) {
            return Err(SimDisk::injected());
        }
        if let Some(file) = self.files.get_mut(id) {
            file.settle_all();
        }
        Ok(())
    }

    fn find(&self, name: &FileName) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A new empty file, whatever bore the name.
    fn create(&mut self, name: &FileName) -> usize {
        let id = self.files.len();
        self.files.push(SimFileState::default());
        self.change(Change::Create(name.into(), id));
        id
    }

    /// The bytes of a file, unless reading fails.
    fn read(&mut self, id: usize) -> io::Result<Vec<u8>> {
        if self.chance(self.faults.read_error) {
            return Err(SimDisk::injected());
        }
        Ok(self.file(id).map_or_else(Vec::new, |file| file.live.clone()))
    }

    /// Whether files may take so many bytes more.
    fn has_room(&self, bytes: usize) -> bool {
        let capacity = self.faults.capacity;
        bytes == 0 || capacity.is_none_or(|most| self.used_bytes() + bytes as u64 <= most)
    }

    fn write_fails(&mut self) -> bool {
        self.writes += 1;
        let planned = match &mut self.fail_write_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        planned || self.chance(self.faults.write_error)
    }
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk whose faults and delays follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// An empty disk with `faults`.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                faults,
                fail_write_after: None,
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                changes: Vec::new(),
                files: Vec::new(),
                writes: 0,
                dead: false,
            })),
        }
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Lets `count` more writes succeed and fails all after them.
    pub fn fail_writes_after(&self, count: u64) {
        self.lock().fail_write_after = Some(count);
    }

    /// Sets what all files together may take.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().faults.capacity = bytes;
    }

    /// Writes asked for so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Cuts the power: every open handle of this disk fails from now on, and
    /// the disk that is given back holds what survived. Planned faults are
    /// gone.
    #[must_use]
    pub fn crash(&self, loss: Loss) -> Self {
        let mut state = self.lock();
        state.dead = true;
        let seed = state.rng.random();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut names = state.durable_names.clone();
        for change in &state.changes {
            let kept = match loss {
                Loss::All => false,
                Loss::Nothing => true,
                Loss::Random => rng.random(),
            };
            if kept {
                apply(&mut names, change);
            }
        }
        let mut files = state.files.clone();
        for file in &mut files {
            file.lose_power(loss, &mut rng);
        }
        Self {
            state: Arc::new(Mutex::new(State {
                rng,
                faults: Faults {
                    capacity: state.faults.capacity,
                    pending_max: state.faults.pending_max,
                    ..Faults::default()
                },
                fail_write_after: None,
                durable_names: names.clone(),
                names,
                changes: Vec::new(),
                files,
                writes: 0,
                dead: false,
            })),
        }
    }

    /// Kills the process that uses the disk, without a power loss: open handles
    /// fail, and what is volatile stays so and stays readable.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.dead = true;
        let seed = state.rng.random();
        Self {
            state: Arc::new(Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                faults: state.faults.clone(),
                fail_write_after: None,
                names: state.names.clone(),
                durable_names: state.durable_names.clone(),
                changes: state.changes.clone(),
                files: state.files.clone(),
                writes: 0,
                dead: false,
            })),
        }
    }

    /// Every file's name and bytes, as a reader sees them.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let bytes = |id| state.file(id).map_or_else(Vec::new, |file| file.live.clone());
        state.names.iter().map(|(name, &id)| (name.clone(), bytes(id))).collect()
    }

    /// An equal disk that shares nothing with this one, all of it durable.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        for (name, bytes) in self.snapshot() {
            copy.put(&name, bytes);
        }
        copy
    }

    /// Places a file with these bytes, durably.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let id = state.files.len();
        state.files.push(SimFileState {
            live: bytes.clone(),
            durable: bytes,
            volatile: BTreeSet::new(),
        });
        state.names.insert(name.into(), id);
        state.durable_names.insert(name.into(), id);
    }

    /// Takes a file away, durably, as damage does.
    pub fn take(&self, name: &str) {
        let mut state = self.lock();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Changes the bytes of a file at rest, as a failing medium does.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, name: &str, change: impl Fn(&mut [u8])) {
        let mut state = self.lock();
        let id = *state.names.get(name).unwrap_or_else(|| panic!("no file {name}"));
        if let Some(file) = state.files.get_mut(id) {
            change(&mut file.live);
            change(&mut file.durable);
        }
    }

    /// Flips one bit of a file at rest.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) {
        self.damage(name, |bytes| {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panicked under the lock has failed its test.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> io::Result<()> {
        if self.lock().dead {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the power is off"));
        }
        Ok(())
    }

    /// Pends a seeded number of times.
    async fn delay(&self) -> io::Result<()> {
        let times = {
            let mut state = self.lock();
            let most = state.faults.pending_max;
            if most == 0 { 0 } else { state.rng.random_range(0..=most) }
        };
        Pend(times).await;
        while self.lock().faults.hangs {
            cores::sleep(HANGS_LOOK).await;
        }
        self.alive()
    }

    /// Runs `work` on the state of one file.
    fn with_file<T>(&self, id: usize, work: impl FnOnce(&mut SimFileState) -> T) -> io::Result<T> {
        let mut state = self.lock();
        let file = state.files.get_mut(id).ok_or_else(|| io::Error::other("no such file"))?;
        Ok(work(file))
    }

    fn room_for(&self, id: usize, end: usize) -> io::Result<()> {
        let state = self.lock();
        let grows = end.saturating_sub(state.file(id).map_or(0, |file| file.live.len()));
        if state.has_room(grows) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn injected() -> io::Error {
        io::Error::other("injected fault")
    }
}

/// A future that wakes itself a number of times before it is ready.
struct Pend(u32);

impl Future for Pend {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Files = SimFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<SimFile> {
        self.delay().await?;
        let mut state = self.lock();
        let id = match (state.names.get(name).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), OpenMode::Read | OpenMode::WriteDurable) => id,
            (None, OpenMode::Create) => state.create(name),
            (None, OpenMode::Read | OpenMode::WriteDurable) => {
                return Err(io::ErrorKind::NotFound.into());
            }
        };
        Ok(SimFile { disk: self.clone(), id, mode })
    }

    async fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.delay().await?;
        Ok(self.lock().list())
    }

    async fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        self.delay().await?;
        self.lock().rename(from, to)
    }

    async fn remove(&self, name: &FileName) -> io::Result<()> {
        self.delay().await?;
        self.lock().remove(name)
    }

    async fn sync_directory(&self) -> io::Result<()> {
        self.delay().await?;
        self.lock().sync_directory()
    }

    async fn pause(&self) {
        // A failure of the disk shows at the next operation.
        let _ = self.delay().await;
    }

    async fn free_bytes(&self) -> io::Result<u64> {
        self.delay().await?;
        let state = self.lock();
        Ok(state.faults.capacity.map_or(u64::MAX, |most| most.saturating_sub(state.used_bytes())))
    }

    fn files(&self) -> SimFiles {
        SimFiles::new(self.clone())
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    id: usize,
    mode: OpenMode,
}

impl DiskFile for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let at = aligned(at, bytes)?;
        self.disk.delay().await?;
        {
            let mut state = self.disk.lock();
            let probability = state.faults.read_error;
            if state.chance(probability) {
                return Err(SimDisk::injected());
            }
        }
        self.disk.with_file(self.id, |file| {
            let end = (at + bytes).min(file.live.len());
            file.live.get(at..end).unwrap_or(&[]).to_vec()
        })
    }

    async fn write_at(&self, buffer: Vec<u8>, at: u64) -> io::Result<Vec<u8>> {
        let at = aligned(at, buffer.len())?;
        if self.mode == OpenMode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.alive()?;
        let end = at + buffer.len();
        self.disk.room_for(self.id, end)?;
        if self.disk.lock().write_fails() {
            let kept: Vec<bool> = {
                let mut state = self.disk.lock();
                buffer.chunks(SECTOR).map(|_| state.rng.random()).collect()
            };
            self.disk.with_file(self.id, |file| {
                for (n, sector) in buffer.chunks(SECTOR).enumerate() {
                    if kept.get(n) == Some(&true) {
                        file.write(at + n * SECTOR, sector);
                    }
                }
            })?;
            self.disk.delay().await?;
            return Err(SimDisk::injected());
        }
        // Visible and volatile while the write is in flight.
        self.disk.with_file(self.id, |file| file.write(at, &buffer))?;
        self.disk.delay().await?;
        if self.mode == OpenMode::WriteDurable {
            self.disk.with_file(self.id, |file| file.settle_range(at, end))?;
        }
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.delay().await?;
        self.disk.lock().sync(self.id)
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let end = aligned(bytes, 0)?;
        self.disk.room_for(self.id, end)?;
        self.disk.delay().await?;
        self.disk.with_file(self.id, |file| {
            file.live.resize(end, 0);
            file.volatile.retain(|&sector| sector < end / SECTOR);
        })
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        self.disk.delay().await?;
        self.disk.with_file(self.id, |file| file.live.len() as u64)
    }

    async fn close(self) -> io::Result<()> {
        self.disk.delay().await
    }
}

fn aligned(at: u64, bytes: usize) -> io::Result<usize> {
    assert!(at.is_multiple_of(BLOCK as u64), "position {at} is not aligned");
    assert!(bytes.is_multiple_of(BLOCK), "length {bytes} is not aligned");
    usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests;
