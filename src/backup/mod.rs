//! A history as files apart from any node: a backup, which is made of what a node gives of its log,
//! and a data directory that is made of a backup. The files are segments and a checkpoint as a node
//! has them, and a manifest that says what belongs to the backup.
//!
//! Nothing here knows where the bytes come from, or of what kind the place is that they go to: see
//! [`Source`] and [`Target`].

mod checkpoint;
#[cfg(test)]
mod crash_tests;
mod directory;
mod ends;
mod error;
mod held;
mod manifest;
mod restore;
mod run;
mod verify;

pub use directory::InDirectory;
pub use ends::{Part, Piece, Source, Target};
pub use error::BackupError;
pub use held::{Held, NotABackup, is_part};
pub use manifest::{FileEntry, MANIFEST, Manifest, ManifestError};
pub use restore::{Request, Restored, Until, restore};
pub use run::run;
pub use verify::{RestoreError, is_one, is_unfinished, verify};
