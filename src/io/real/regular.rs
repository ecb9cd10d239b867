//! Opening files by names that something else than a file may bear.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What is stored is not for everyone on the machine.
pub(super) const MODE: u32 = 0o640;

/// Opens a regular file to be read. Of what else may bear its name, a pipe would have whoever
/// opens it wait for ever.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::from_raw_os_error(libc::EISDIR)),
    }
}
