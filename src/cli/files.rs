//! What files need besides their bytes.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

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

/// `path` with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// The bytes of a file, if there is one.
pub(super) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file(path)(error)),
    }
}

/// Replaces a small file as a whole: the new one is written and synced under
/// another name and renamed into place, so that there is always one or the other.
pub(super) fn replace(path: &Path, line: &[u8]) -> Result<(), Failure> {
    let fresh = beside(path, ".new");
    let written = File::create(&fresh).and_then(|mut file| {
        file.write_all(line)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(Failure::file(&fresh))?;
    fs::rename(&fresh, path).map_err(Failure::file(path))?;
    sync_directory(path)
}
