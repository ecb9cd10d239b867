//! The files of a snapshot on their way in. Each is written under a name of its own, verified as a
//! whole and made durable; what is complete, and the part of one that is not, is there for the next
//! attempt, of whichever node and after a restart.
//!
//! ```text
//! N.part: on its way · N.staged: complete, verified, durable · install.rs: all of them
//! ```

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    io,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::{
    file::{Begun, STAGED, find, name, remove_staged, remove_unsound},
    install,
    manifest::Manifest,
};
use crate::{
    io::{Files, cores},
    log::Identity,
};

/// The longest part of a file.
pub const PART_BYTES_MAX: usize = 4 << 20;

/// Files that are verified while others are on their way.
const FINISHING_MAX: usize = 2;

/// Names one snapshot on its way.
pub type Transmission = u64;

/// What is wanted next of a snapshot: the number of a file, and the first byte of it. A number
/// behind the last file says that all are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of the file in the manifest.
    pub file: u32,
    /// The first byte.
    pub offset: u64,
}

/// A snapshot that is taken in.
struct Taking<F: Files> {
    id: Transmission,
    manifest: Arc<Manifest>,
    /// The files that need not be sent.
    ///
    /// Invariant: `held` has as many as the manifest has files.
    held: Vec<bool>,
    next: Wanted,
    /// The file that is on its way.
    begun: Option<Begun<F::Output>>,
    /// Files that are being verified.
    finishing: VecDeque<cores::JoinHandle<io::Result<()>>>,
}

/// Takes snapshots in, one at a time.
pub struct Staging<F: Files> {
    files: F,
    identity: Identity,
    next: Cell<Transmission>,
    taking: Mutex<Option<Taking<F>>>,
    /// Names of complete files that this process has verified.
    verified: Rc<RefCell<BTreeSet<String>>>,
    /// The last one that is complete.
    complete: RefCell<Option<(Transmission, Arc<Manifest>)>>,
}

fn given_up() -> io::Error {
    io::Error::other("another snapshot was begun meanwhile")
}

impl<F: Files> Staging<F> {
    /// Into the directory of `files`, which is that of the node `identity`.
    pub fn new(files: F, identity: Identity) -> Rc<Self> {
        let (next, taking, complete) = (Cell::new(1), Mutex::new(None), RefCell::new(None));
        let verified = Rc::default();
        Rc::new(Self { files, identity, next, taking, verified, complete })
    }

    /// Begins to take one in, or goes on with it; says what of it is wanted. One that was under way
    /// is given up.
    ///
    /// # Errors
    /// What the disk reports.
    pub async fn begin(&self, manifest: Manifest) -> io::Result<(Transmission, Wanted)> {
        let id = self.next.replace(self.next.get() + 1);
        let mut taking = self.taking.lock().await;
        if let Some(before) = taking.take() {
            wait_for(before.finishing).await;
            let leave = || before.begun.map(Begun::leave).transpose();
            cores::off_core(leave).await?;
        }
        let manifest = Arc::new(manifest);
        let (files, identity, of) = (self.files.clone(), self.identity, Arc::clone(&manifest));
        let verified = self.verified.borrow().clone();
        let found =
            cores::in_background("snapshot", move || find(&files, identity, &of, &verified));
        let (held, started) = found.await.flatten()?;
        let names = manifest.files.iter().zip(&held).filter(|(_, held)| **held);
        self.verified.replace(names.map(|(file, _)| name(*file, STAGED)).collect());
        let mut begun = Taking {
            id,
            manifest,
            held,
            next: Wanted { file: 0, offset: 0 },
            begun: None,
            finishing: VecDeque::new(),
        };
        begun.go_on(started);
        let wanted = begun.next;
        *taking = Some(begun);
        Ok((id, wanted))
    }

    /// Adds the next part; says what is wanted then.
    ///
    /// # Errors
    /// What the disk reports, or a file that is not sound, which is sent anew next time.
    pub async fn part(&self, to: Transmission, at: Wanted, part: Bytes) -> io::Result<Wanted> {
        let mut taking = self.taking.lock().await;
        let current = taking.as_mut().filter(|taking| taking.id == to).ok_or_else(given_up)?;
        let added = self.add(current, at, part).await;
        if added.is_err()
            && let Some(failed) = taking.take()
        {
            wait_for(failed.finishing).await;
        }
        added
    }

    async fn add(&self, to: &mut Taking<F>, at: Wanted, part: Bytes) -> io::Result<Wanted> {
        assert_eq!(to.held.len(), to.manifest.files.len(), "each file is held or wanted");
        let file = to.manifest.files.get(at.file as usize).copied();
        let end = at.offset + part.len() as u64;
        // Whoever sends ahead of the answers may be wrong.
        let Some(file) = file.filter(|file| at == to.next && end <= file.bytes) else {
            return Ok(to.next);
        };
        let (files, identity, begun) = (self.files.clone(), self.identity, to.begun.take());
        let add = move || {
            let begun = begun.map_or_else(|| Begun::at(&files, file, at.offset), Ok);
            let added = begun.and_then(|begun| begun.add(identity, at.offset, part));
            added.inspect_err(|error| remove_unsound(&files, file, error))
        };
        let begun = cores::off_core(add).await?;
        to.next.offset = end;
        if end < file.bytes {
            to.begun = Some(begun);
            return Ok(to.next);
        }
        if to.finishing.len() >= FINISHING_MAX
            && let Some(oldest) = to.finishing.pop_front()
        {
            oldest.await.unwrap_or_else(|| Err(given_up()))?;
        }
        let files = self.files.clone();
        let finish = move || {
            begun.finish(&files, identity).inspect_err(|error| remove_unsound(&files, file, error))
        };
        let verified = Rc::clone(&self.verified);
        to.finishing.push_back(cores::spawn(async move {
            let finished = cores::in_background("snapshot", finish).await.flatten();
            if finished.is_ok() {
                verified.borrow_mut().insert(name(file, STAGED));
            }
            finished
        }));
        if let Some(held) = to.held.get_mut(at.file as usize) {
            *held = true;
        }
        to.go_on(0);
        Ok(to.next)
    }

    /// Takes note that all is there, once it is verified and durable.
    ///
    /// # Errors
    /// A file is missing or not sound.
    pub async fn end(&self, of: Transmission) -> io::Result<Arc<Manifest>> {
        let mut taking = self.taking.lock().await;
        let ended = taking.take_if(|taking| taking.id == of).ok_or_else(given_up)?;
        let Taking { manifest, held, finishing, .. } = ended;
        let mut outcome = Ok(());
        for finishing in finishing {
            let finished = finishing.await.unwrap_or_else(|| Err(given_up()));
            outcome = outcome.and(finished);
        }
        outcome?;
        if held.contains(&false) {
            return Err(io::Error::other("a file of the snapshot is missing"));
        }
        self.complete.replace(Some((of, Arc::clone(&manifest))));
        Ok(manifest)
    }

    /// Has the next start go on from it, and from nothing else: durable on return.
    ///
    /// # Errors
    /// What the disk reports.
    pub async fn install(&self, of: Transmission) -> io::Result<()> {
        let complete = self.complete.borrow().clone();
        let (_, manifest) = complete.filter(|(id, _)| *id == of).ok_or_else(given_up)?;
        let (files, identity) = (self.files.clone(), self.identity);
        cores::off_core(move || install::begin(&files, identity, &manifest)).await
    }

    /// Removes what was taken in and is not installed.
    ///
    /// # Errors
    /// What the disk reports.
    pub async fn discard(&self) -> io::Result<()> {
        let mut taking = self.taking.lock().await;
        if let Some(before) = taking.take() {
            wait_for(before.finishing).await;
        }
        self.complete.replace(None);
        let files = self.files.clone();
        cores::off_core(move || match install::is_interrupted(&files)? {
            true => Ok(()),
            false => remove_staged(&files, |_| true),
        })
        .await
    }
}

impl<F: Files> Taking<F> {
    /// Finds the next file that is wanted; `offset` bytes of it are there.
    fn go_on(&mut self, offset: u64) {
        let file = self.held.iter().position(|held| !held).unwrap_or(self.held.len());
        self.next = Wanted { file: u32::try_from(file).unwrap_or(u32::MAX), offset };
    }
}

/// Waits until nobody works on files any more.
async fn wait_for(finishing: VecDeque<cores::JoinHandle<io::Result<()>>>) {
    for finishing in finishing {
        // Whoever gave it up knows that it came to nothing.
        let _ = finishing.await;
    }
}
