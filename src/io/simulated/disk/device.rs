//! The simulated disk as a whole, and what a test may do to it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::RngExt;
use tokio::sync::watch;

use super::{
    content::Content,
    faults::{Faults, Loss},
    state::{EIO, EMFILE, State},
};
use crate::io::simulated::tally::{Event, count};

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Told when operations that wait may go on, or never will.
    changed: watch::Sender<()>,
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
        Self::of(State::new(seed, faults))
    }

    fn of(state: State) -> Self {
        let inner = Inner { state: Mutex::new(state), changed: watch::Sender::new(()) };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // What panicked under the lock has failed its test.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Bytes written off the core so far, by the name that their file was created with.
    #[must_use]
    pub fn written_off_core(&self) -> BTreeMap<String, u64> {
        self.lock().written_off_core.clone()
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.change_faults(|old| *old = faults);
    }

    /// Changes the faults from now on.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
        self.inner.changed.send_replace(());
    }

    /// Lets `count` more writes succeed and fails all after them.
    pub fn fail_writes_after(&self, count: u64) {
        self.lock().fail_write_after = Some(count);
    }

    /// Cuts the power after so many steps more: of every operation the parts of a write, and
    /// the effect of all others, on whichever side of the core. What [`crash`](Self::crash)
    /// leaves then is what was there at that step.
    pub fn cut_power_after(&self, steps: u64) {
        self.lock().cut_after = Some(steps);
    }

    /// The same, counting only the steps of work off the core: of checkpoints, above all.
    pub fn cut_power_off_core_after(&self, steps: u64) {
        self.lock().cut_off_core_after = Some(steps);
    }

    /// Cuts no power that was to be cut.
    pub fn keep_power(&self) {
        let mut state = self.lock();
        (state.cut_after, state.cut_off_core_after) = (None, None);
    }

    /// Whether `other` is this disk, and not what was found of it after a restart.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether an operation failed since the process that uses it began.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Resolves when the power is off.
    pub async fn died(&self) {
        let mut changed = self.inner.changed.subscribe();
        while !self.lock().is_dead {
            // Its sender is here.
            let _ = changed.changed().await;
        }
    }

    /// Sets what all files together may take.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.change_faults(|faults| faults.capacity = bytes);
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
        self.restarted(Some(loss))
    }

    /// Kills the process that uses the disk, without a power loss: open handles
    /// fail, and what is volatile stays so and stays readable.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.restarted(None)
    }

    fn restarted(&self, loss: Option<Loss>) -> Self {
        let next = self.lock().restarted(loss);
        self.inner.changed.send_replace(());
        Self::of(next)
    }

    /// Every file's name and bytes, as a reader sees them.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let bytes =
            |file| state.file(file).map_or_else(Vec::new, |content| content.bytes().to_vec());
        state.directory.names().map(|(name, file)| (name.clone(), bytes(file))).collect()
    }

    /// An equal disk that shares nothing with this one, all of it durable: a copy that may be
    /// put in its place later.
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
        let file = state.add(Content::durable(bytes));
        state.directory.put(name, Some(file));
    }

    /// Takes a file away, durably, as damage does.
    pub fn take(&self, name: &str) {
        self.lock().directory.put(name, None);
    }

    /// Changes the bytes of a file at rest, as a failing medium does.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, name: &str, change: impl Fn(&mut [u8])) {
        let mut state = self.lock();
        state.rotted += 1;
        let file = state.find(name).unwrap_or_else(|_| panic!("no file {name}"));
        if let Ok(content) = state.file_mut(file) {
            content.damage(change);
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

    /// Flips any bit of any file at rest, and says where; `None` when there is no byte.
    pub fn rot(&self) -> Option<(String, usize)> {
        let files: Vec<_> = self.lock().list().into_iter().filter(|file| file.bytes > 0).collect();
        let (name, byte, bit) = {
            let rng = &mut self.lock().rng;
            let file = files.get(rng.random_range(0..files.len().max(1)))?;
            let bytes = usize::try_from(file.bytes).unwrap_or(usize::MAX);
            (file.name.clone(), rng.random_range(0..bytes), rng.random_range(0..8))
        };
        self.flip_bit(&name, byte, bit);
        Some((name, byte))
    }

    /// The same of a byte that is not zero, or of any in a file that has no more of them.
    pub fn rot_written(&self) -> Option<(String, usize)> {
        let files: Vec<_> =
            self.snapshot().into_iter().filter(|(_, all)| !all.is_empty()).collect();
        let (name, byte, bit) = {
            let rng = &mut self.lock().rng;
            let (name, bytes) = files.get(rng.random_range(0..files.len().max(1)))?;
            let at = rng.random_range(0..bytes.len());
            let written = (at..bytes.len()).find(|at| bytes[*at] != 0);
            (name.clone(), written.unwrap_or(at), rng.random_range(0..8))
        };
        self.flip_bit(&name, byte, bit);
        Some((name, byte))
    }

    /// Takes any file away, durably, and says which; `None` when there is none.
    pub fn vanish(&self) -> Option<String> {
        let name = {
            let mut state = self.lock();
            let files = state.list();
            let at = state.rng.random_range(0..files.len().max(1));
            files.get(at)?.name.clone()
        };
        self.take(&name);
        Some(name)
    }

    /// Waits for as long as the disk hangs.
    pub(super) async fn goes_on(&self) {
        let mut changed = self.inner.changed.subscribe();
        if self.is_hanging() {
            count(Event::DiskHangs);
        }
        while self.is_hanging() {
            // Its sender is here.
            let _ = changed.changed().await;
        }
    }

    fn is_hanging(&self) -> bool {
        let state = self.lock();
        state.faults.hangs && !state.is_dead
    }

    /// Takes one step.
    pub(super) fn step<T>(
        &self,
        effect: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        let was_dead = state.is_dead;
        let begun = state.step();
        if state.is_dead && !was_dead {
            self.inner.changed.send_replace(());
        }
        begun?;
        let outcome = effect(&mut state);
        let told = outcome.as_ref().err().and_then(io::Error::raw_os_error);
        state.has_failed |= matches!(told, Some(EIO | EMFILE));
        outcome
    }

    /// Takes one step off the core.
    pub(super) fn step_off_core<T>(
        &self,
        effect: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        {
            let state = &mut *self.lock();
            match &mut state.cut_off_core_after {
                Some(0) => state.cut_after = Some(0),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.step(effect)
    }
}
