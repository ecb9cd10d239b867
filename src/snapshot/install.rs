//! A snapshot takes the place of the log that was there, or nothing happens.
//!
//! ```text
//! all files staged · the mark is durable · the node stops, and starts · the vote of the old log is
//! in the mark · files get their names · the old ones go · a segment of its own follows, which bears
//! the vote · the mark goes
//! ```
//!
//! From the mark on the way leads only ahead: each start takes each step once more until the mark is
//! gone. Nothing else is done to a directory with a mark.

use std::{collections::BTreeSet, io};

use serde::{Deserialize, Serialize};

use super::{
    file::{STAGED, TEMPORARY, remove_staged},
    manifest::{Manifest, STATE_SUFFIX},
};
use crate::{
    base::{
        ids::{ClusterId, LogId, NodeId},
        planted::planted,
    },
    checkpoint::store,
    io::{Files, put_file, sync_directory},
    log::{self, Composer, HardState, Identity, OpenError, Vote, index::Indexed},
    sections::{Builder, Sections},
};

/// The mark.
const MARK: &str = "snapshot.install";
const INSTALL: u32 = 1;
/// What to do about a directory that nothing can go on from.
const REPLACE: &str =
    "this directory is to be replaced by an empty one, so that the node is taken in anew";
/// In the place of the last segment: the files are a log that says itself what its node voted for. No
/// segment has this number.
const WHOLE: u64 = 0;

#[derive(Debug, Serialize, Deserialize)]
struct Install {
    cluster: [u8; 16],
    node: NodeId,
    last: LogId,
    purged: Option<LogId>,
    /// The last of the segments; [`WHOLE`] when they need no other after them.
    segment: Option<u64>,
    /// The names that files get.
    names: Vec<String>,
    /// What the log that was there says of votes; nothing as long as it was not asked.
    vote: Option<Option<Vote>>,
}

/// Why a snapshot could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The disk fails.
    #[error("a snapshot cannot be installed: {0}")]
    Io(#[from] io::Error),
    /// The log that was there is damaged at its end, where its vote stands.
    #[error("a snapshot cannot be installed: {0}")]
    Log(#[from] OpenError),
}

/// Marks what is staged as what the next start goes on from. Durable on return.
pub(super) fn begin(files: &impl Files, identity: Identity, manifest: &Manifest) -> io::Result<()> {
    // What is staged must bear its name before the mark does.
    sync_directory(files)?;
    let install = Install {
        cluster: *identity.cluster.0.as_bytes(),
        node: identity.node,
        last: manifest.last,
        purged: manifest.purged,
        segment: manifest.last_segment(),
        names: manifest.files.iter().map(|file| file.kind.name()).collect(),
        vote: None,
    };
    mark(files, &install)
}

/// Marks the files that are staged under these names, which are a whole log up to the entry `last`, as
/// what the next start goes on from. Durable on return.
///
/// # Errors
/// What the disk reports.
pub fn install_log(
    files: &impl Files,
    identity: Identity,
    last: LogId,
    names: Vec<String>,
) -> io::Result<()> {
    sync_directory(files)?;
    let (cluster, node) = (*identity.cluster.0.as_bytes(), identity.node);
    let (purged, segment, vote) = (None, Some(WHOLE), Some(None));
    mark(files, &Install { cluster, node, last, purged, segment, names, vote })
}

fn mark(files: &impl Files, install: &Install) -> io::Result<()> {
    let mut builder = Builder::default();
    builder.add(INSTALL, postcard::to_allocvec(install).map_err(io::Error::other)?);
    put_file(files, TEMPORARY, MARK, &builder.finish())
}

/// Whether a snapshot is to be installed at the next start.
///
/// # Errors
/// What the disk reports.
pub fn is_interrupted(files: &impl Files) -> io::Result<bool> {
    Ok(files.list()?.iter().any(|file| file.name == MARK))
}

/// Whether a snapshot is to be installed at the next start, and can be, as far as that can be told
/// without doing it.
///
/// # Errors
/// The mark is damaged, a file that it names is missing, or what the disk reports: a start is refused.
pub fn verify(files: &impl Files) -> io::Result<bool> {
    if !is_interrupted(files)? {
        return Ok(false);
    }
    check_all_there(files, &marked(files)?)?;
    Ok(true)
}

/// What the mark says.
fn marked(files: &impl Files) -> io::Result<Install> {
    let damaged = |text: String| {
        let text = format!("{MARK} is damaged: {text}: {REPLACE}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let sections = Sections::open(files.map(MARK)?).map_err(|fault| damaged(fault.to_string()))?;
    let bytes = sections.all(INSTALL).map_err(|fault| damaged(fault.to_string()))?;
    postcard::from_bytes(bytes).map_err(|error| damaged(format!("{error}, at byte 0")))
}

/// Installs what is marked, if anything is; says whether. Nobody may have the log open. Durable on
/// return.
///
/// # Errors
/// [`InstallError`]: the next start goes on with it.
pub fn finish(files: &impl Files) -> Result<bool, InstallError> {
    if !is_interrupted(files)? {
        return Ok(false);
    }
    let mut install = marked(files)?;
    let vote = match install.vote {
        Some(vote) => vote,
        None => {
            let vote = log::hard_state(files)?.vote.filter(|_| !planted!(ForgetVoteAtInstall));
            install.vote = Some(vote);
            mark(files, &install)?;
            vote
        }
    };
    check_all_there(files, &install)?;
    for name in &install.names {
        match files.rename(&(name.clone() + STAGED), name) {
            // It has its name already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    sync_directory(files)?;
    remove_others(files, &install)?;
    put_own(files, &install, vote)?;
    files.remove(MARK)?;
    sync_directory(files)?;
    tracing::info!(
        last = install.last.index,
        files = install.names.len(),
        "a snapshot is installed"
    );
    Ok(true)
}

/// Whether each file is there still, under the one name or the other: nothing is done before.
fn check_all_there(files: &impl Files, install: &Install) -> io::Result<()> {
    let there: BTreeSet<String> = files.list()?.into_iter().map(|file| file.name).collect();
    let is_there =
        |name: &&String| there.contains(*name) || there.contains(&format!("{name}{STAGED}"));
    match install.names.iter().find(|name| !is_there(name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("{name}{STAGED} is missing: {REPLACE}");
            Err(io::Error::new(io::ErrorKind::NotFound, text))
        }
    }
}

/// Removes all of the log that was there.
fn remove_others(files: &impl Files, install: &Install) -> io::Result<()> {
    let is_of_log = |name: &str| {
        log::number(name, log::SUFFIX).is_some()
            || log::number(name, log::index::SUFFIX).is_some()
            || log::number(name, STATE_SUFFIX).is_some()
            || store::is_checkpoint(name)
    };
    for file in files.list()? {
        if is_of_log(&file.name) && !install.names.contains(&file.name) {
            files.remove_slowly(&file.name)?;
        }
    }
    remove_staged(files, |_| true)?;
    sync_directory(files)
}

/// Puts the segment that follows, which says what the node voted for.
fn put_own(files: &impl Files, install: &Install, vote: Option<Vote>) -> io::Result<()> {
    let cluster = ClusterId(uuid::Uuid::from_bytes(install.cluster));
    let identity = Identity { cluster, node: install.node };
    let composer = match install.segment {
        Some(WHOLE) => return Ok(()),
        None => {
            let mut composer = Composer::begin(identity, 0, install.purged);
            if let Some(vote) = vote {
                composer.vote(vote);
            }
            composer
        }
        Some(segment) => {
            let unsound = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
            let name = log::index::file_name(segment);
            let sections = Sections::open(files.map(&name)?);
            let index = sections.and_then(|found| Indexed::read(&found.into()));
            let index = index.map_err(|fault| unsound(format!("{name}: {fault}")))?;
            let committed = Some(install.last);
            let state = HardState { vote, committed, purged: install.purged };
            Composer::following(&index, identity, state)
        }
    };
    for segment in composer.finish() {
        put_file(files, TEMPORARY, &log::file_name(segment.sequence), &segment.bytes)?;
    }
    Ok(())
}
