//! What files need besides their bytes.

use std::{fs::File, path::Path};

use super::failure::Failure;

/// Makes a new or renamed file one that is found again after a crash.
pub(super) fn sync_directory(of: &Path) -> Result<(), Failure> {
    let directory = match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Failure::file(directory))
}
