//! A node that must not go on with what its data directory holds: it says so,
//! serves nothing more, and is not started again on that directory.

use std::{
    io::{self, Write},
    rc::Rc,
    sync::Arc,
};

use super::Status;
use crate::{
    io::{Disk, Files, Output, cores},
    raft::Replica,
};

/// The file that says why.
const FILE: &str = "HALTED";

/// What whoever runs the node is told to do.
pub const HOW_TO_GO_ON: &str = "to go on, move the directory away and start the node empty, under its addresses and with --join";

/// Why no node may be started on a directory, if there is a reason.
///
/// # Errors
/// When that cannot be read.
pub fn reason(files: &impl Files) -> io::Result<Option<String>> {
    match files.read(FILE) {
        Ok(why) => Ok(Some(String::from_utf8_lossy(&why).trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends what the node does, once it must not go on.
pub async fn watch<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    let why = replica.halted().await.to_string();
    status.set_halted(format!("{why}; {HOW_TO_GO_ON}"));
    tracing::error!(why, "this node must not go on and serves nothing more: {HOW_TO_GO_ON}");
    let files = replica.log().files();
    if let Err(error) = cores::off_core(move || note(&files, &why)).await {
        // A leader tells it again when it is started again.
        tracing::warn!(%error, "why this node must not go on could not be written down");
    }
}

/// Writes down why, durably.
fn note(files: &impl Files, why: &str) -> io::Result<()> {
    let mut file = files.create(FILE)?;
    writeln!(file, "{why}")?;
    file.sync()?;
    files.sync_directory()
}
