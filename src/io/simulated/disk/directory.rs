//! The names of a simulated disk's files.
//!
//! Creations, renames and removals are volatile until the directory is synced; POSIX promises
//! no order among them before, so a power loss keeps any subset. A rename that survives may
//! have left the old name, too, but never leads to a file that is under neither; a name always
//! leads to the whole of one file or another. That a file was synced says nothing of its name.

use std::collections::BTreeMap;

use rand::{RngExt, rngs::StdRng};

use super::faults::Loss;
use crate::io::simulated::tally::{Event, count};

pub(super) type FileId = u64;
type Names = BTreeMap<String, FileId>;

/// A change that is not synced yet.
#[derive(Clone, Debug)]
enum Change {
    Create(String, FileId),
    Rename { from: String, to: String, file: FileId },
    Remove(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    /// What a reader sees.
    live: Names,
    /// What surely survives a power loss.
    durable: Names,
    changes: Vec<Change>,
}

fn apply(names: &mut Names, change: &Change, keeps_old_name: bool) {
    match change {
        Change::Create(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Rename { from, to, file } => {
            names.insert(to.clone(), *file);
            if !keeps_old_name {
                names.remove(from);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Directory {
    pub(super) fn names(&self) -> impl Iterator<Item = (&String, FileId)> {
        self.live.iter().map(|(name, &file)| (name, file))
    }

    pub(super) fn find(&self, name: &str) -> Option<FileId> {
        self.live.get(name).copied()
    }

    pub(super) fn create(&mut self, name: &str, file: FileId) {
        self.change(Change::Create(name.into(), file));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, file: FileId) {
        self.change(Change::Rename { from: from.into(), to: to.into(), file });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.into()));
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change, false);
        self.changes.push(change);
    }

    /// Places a name, durably, or takes it away.
    pub(super) fn put(&mut self, name: &str, file: Option<FileId>) {
        for names in [&mut self.live, &mut self.durable] {
            match file {
                Some(file) => names.insert(name.into(), file),
                None => names.remove(name),
            };
        }
    }

    /// Makes all changes so far durable.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            apply(&mut self.durable, &change, false);
        }
    }

    /// Makes any of them durable, and leaves the rest to no later sync.
    pub(super) fn fail_sync(&mut self, rng: &mut StdRng) {
        for change in std::mem::take(&mut self.changes) {
            if rng.random() {
                apply(&mut self.durable, &change, false);
            }
        }
    }

    /// Leaves what survives when the power goes.
    pub(super) fn lose_power(&mut self, loss: Loss, rng: &mut StdRng) {
        match loss {
            Loss::All => self.changes.drain(..).for_each(|_| count(Event::NameIsLost)),
            Loss::Nothing => self.sync(),
            Loss::Random => {
                for change in std::mem::take(&mut self.changes) {
                    if rng.random() {
                        apply(&mut self.durable, &change, rng.random_ratio(1, 4));
                    } else {
                        count(Event::NameIsLost);
                    }
                }
            }
        }
        self.live.clone_from(&self.durable);
    }

    /// Whether any name leads to the file, or may after a power loss.
    pub(super) fn leads_to(&self, file: FileId) -> bool {
        let named = |names: &Names| names.values().any(|&named| named == file);
        let changed = |change: &Change| match change {
            Change::Create(_, created) => *created == file,
            Change::Rename { file: renamed, .. } => *renamed == file,
            Change::Remove(_) => false,
        };
        named(&self.live) || named(&self.durable) || self.changes.iter().any(changed)
    }
}
