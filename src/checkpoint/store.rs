//! The files of checkpoints in a data directory.
//!
//! ```text
//! written under another name · synced · renamed · directory synced
//! ```
//!
//! So what bears the name of a checkpoint is whole, whatever ends the process or the power
//! when. The newest is the one that a start begins from.

use std::io::{self, BufWriter, Write};

use super::format::{self, Checkpoint};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        planted::planted,
    },
    io::{FileName, Files, Output, map::Mapping, sync_directory},
};

/// Bytes of a checkpoint that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;
/// Digits of the number in a file's name.
const DIGITS: usize = 20;
const SUFFIX: &str = ".checkpoint";
/// The name of one that is being written.
const TEMPORARY: &str = "checkpoint.tmp";
/// The name of one that is given to another member.
pub const GIVEN: &str = "checkpoint.given";
/// The name of one that has some tenants alone.
pub const PART: &str = "checkpoint.part";
/// How the name of one begins that another member gives.
const FETCHED: &str = "checkpoint.fetched";
/// How the name of one began that another node sent to an earlier build.
const INCOMING: &str = "checkpoint.incoming-";

/// A checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The name in the data directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The last entry that is in it.
    pub log_id: LogId,
    /// The cluster whose history it is of.
    pub cluster: ClusterId,
}

/// What a checkpoint is written by, gathered into large pieces.
pub type Writer<F> = BufWriter<<F as Files>::Output>;

/// The name of the checkpoint that stands for entries up to `index`.
#[must_use]
pub fn file_name(index: u64) -> String {
    format!("{index:0width$}{SUFFIX}", width = DIGITS)
}

/// The name of the same while another member gives it.
#[must_use]
pub fn fetched_name(index: u64) -> String {
    format!("{FETCHED}-{index}")
}

/// Whether a file of that name is a checkpoint.
#[must_use]
pub fn is_checkpoint(name: &str) -> bool {
    name.strip_suffix(SUFFIX).is_some_and(|number| number.len() == DIGITS)
}

/// The names of the checkpoints of a directory, oldest first.
///
/// # Errors
/// What the disk reports.
pub fn names(files: &impl Files) -> io::Result<Vec<String>> {
    let names = files.list()?.into_iter().map(|file| file.name);
    let mut names: Vec<_> = names.filter(|name| is_checkpoint(name)).collect();
    // They are numbers of one length.
    names.sort_unstable();
    Ok(names)
}

/// The newest checkpoint of a directory, read and mapped; that `before` another one, where it is said.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn load(
    files: &impl Files,
    before: Option<&str>,
) -> io::Result<Option<(CheckpointFile, Checkpoint, Mapping)>> {
    let mut names = names(files)?;
    names.retain(|name| before.is_none_or(|before| name.as_str() < before));
    let Some(name) = names.pop() else { return Ok(None) };
    let damaged = |error: &dyn std::fmt::Display| {
        let text = format!("the checkpoint {name} cannot be used: {error}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let map = files.map(&name).map_err(|error| damaged(&format_args!("{error}, at byte 0")))?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    let checkpoint = format::read(bytes).map_err(|error| damaged(&error))?;
    let (log_id, cluster) = (checkpoint.head.log_id(), ClusterId(checkpoint.head.cluster));
    if name != file_name(log_id.index) {
        // It would stand before later ones for ever.
        return Err(damaged(&format_args!(
            "it stands for entries up to {}, at byte 0",
            log_id.index
        )));
    }
    let file = CheckpointFile { bytes: map.len() as u64, name, log_id, cluster };
    Ok(Some((file, checkpoint, map)))
}

/// Makes a checkpoint for entries up to `index`, of what `write` writes: durable on return.
///
/// # Errors
/// What `write` and the disk report.
pub fn write<F: Files, T>(
    files: &F,
    index: u64,
    write: impl FnOnce(&mut Writer<F>) -> io::Result<T>,
) -> io::Result<(T, Mapping)> {
    let outcome = write_as(files, &file_name(index), write);
    if outcome.is_err() {
        // The error before says more than that of this.
        let _ = files.remove(TEMPORARY);
    }
    outcome
}

/// Takes the place of the checkpoint for entries up to `index` by what `write` writes, which stands
/// for the same: durable on return. An error leaves the one or the other.
///
/// # Errors
/// What `write` and the disk report.
pub fn replace<F: Files, T>(
    files: &F,
    index: u64,
    write: impl FnOnce(&mut Writer<F>) -> io::Result<T>,
) -> io::Result<(T, Mapping)> {
    let replace = || {
        let mut out = create(files, TEMPORARY)?;
        let written = write(&mut out)?;
        if planted!(SkipReplacedCheckpointSync) {
            out.flush()?;
        } else {
            sync(out)?;
        }
        let map = files.map(TEMPORARY)?;
        files.rename(TEMPORARY, &file_name(index))?;
        sync_directory(files)?;
        Ok((written, map))
    };
    replace().inspect_err(|_| {
        // The error before says more than that of this.
        let _ = files.remove(TEMPORARY);
    })
}

/// Maps what `write` writes, which nobody needs after the process: it has no name any more.
///
/// # Errors
/// What `write` and the disk report.
pub fn unnamed<F: Files, T>(
    files: &F,
    name: &FileName,
    write: impl FnOnce(&mut Writer<F>) -> io::Result<T>,
) -> io::Result<Mapping> {
    let written = || {
        let mut out = create(files, name)?;
        write(&mut out)?;
        out.flush()?;
        files.map(name)
    };
    let map = written();
    let removed = files.remove(name);
    map.and_then(|map| removed.map(|()| map))
}

fn write_as<F: Files, T>(
    files: &F,
    name: &FileName,
    write: impl FnOnce(&mut Writer<F>) -> io::Result<T>,
) -> io::Result<(T, Mapping)> {
    let mut out = create(files, TEMPORARY)?;
    let written = write(&mut out)?;
    if planted!(RenameCheckpointBeforeSync) {
        files.rename(TEMPORARY, name)?;
        sync(out)?;
        let map = files.map(name)?;
        return files.sync_directory().map(|()| (written, map));
    }
    if planted!(SkipCheckpointSync) {
        out.flush()?;
    } else {
        sync(out)?;
    }
    let map = files.map(TEMPORARY)?;
    files.rename(TEMPORARY, name)?;
    if !planted!(SkipCheckpointDirectorySync) {
        sync_name(files, name)?;
    }
    Ok((written, map))
}

/// Makes durable that a file bears a name. A later sync may succeed and make nothing of it
/// durable, so after a failure nobody is to begin from that file.
pub(super) fn sync_name(files: &impl Files, name: &FileName) -> io::Result<()> {
    sync_directory(files).inspect_err(|_| {
        let _ = files.remove(name);
    })
}

/// Begins to write a file.
///
/// # Errors
/// What the disk reports.
pub fn create<F: Files>(files: &F, name: &FileName) -> io::Result<Writer<F>> {
    Ok(BufWriter::with_capacity(WRITE_BYTES, files.create(name)?))
}

/// Writes what is left and makes all of it durable.
pub(super) fn sync(out: BufWriter<impl Output>) -> io::Result<()> {
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync()
}

/// Removes what no start begins from any more.
///
/// # Errors
/// What the disk reports.
pub fn tidy(files: &impl Files, newest: Option<&CheckpointFile>) -> io::Result<()> {
    for file in files.list()? {
        let is_left = [TEMPORARY, GIVEN, PART].contains(&&*file.name);
        if is_left || [FETCHED, INCOMING].iter().any(|start| file.name.starts_with(start)) {
            files.remove(&file.name)?;
        }
    }
    newest.map_or(Ok(()), |newest| remove_older(files, newest))
}

/// Removes the checkpoints before `newest`, durably.
///
/// # Errors
/// What the disk reports.
pub fn remove_older(files: &impl Files, newest: &CheckpointFile) -> io::Result<()> {
    for name in names(files)? {
        if name < newest.name {
            files.remove(&name)?;
        }
    }
    sync_directory(files)
}
