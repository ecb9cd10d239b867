//! A node that must not go on with what its data directory holds: it says so,
//! serves nothing more, and is not started again on that directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use super::run::{HOW_TO_GO_ON, ServerError};
use crate::{
    io::{cores, real::disk::GlommioDisk},
    node::Status,
    raft::Replica,
};

/// The file that says why.
const FILE: &str = "HALTED";

/// Whether a node may be started on a directory.
pub(super) fn check(directory: &Path) -> Result<(), ServerError> {
    let name = directory.display().to_string();
    match fs::read_to_string(directory.join(FILE)) {
        Ok(why) => Err(ServerError::Halted(name, why.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ServerError::Checkpoint(name, error)),
    }
}

/// Ends what the node does, once it must not go on.
pub(super) async fn watch(
    replica: Rc<Replica<GlommioDisk>>,
    directory: PathBuf,
    status: Arc<Status>,
) {
    let why = replica.halted().await.to_string();
    status.set_halted(format!("{why}; {HOW_TO_GO_ON}"));
    tracing::error!(why, "this node must not go on and serves nothing more: {HOW_TO_GO_ON}");
    if let Err(error) = cores::off_core(move || note(&directory, &why)).await {
        // A leader tells it again when it is started again.
        tracing::warn!(%error, "why this node must not go on could not be written down");
    }
}

/// Writes down why, durably.
fn note(directory: &Path, why: &str) -> io::Result<()> {
    let mut file = File::create(directory.join(FILE))?;
    writeln!(file, "{why}")?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}
