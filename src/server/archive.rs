//! A backup as one stream: a tar archive of its files, the manifest last.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{
    backup::{MANIFEST, Manifest, Target, is_part},
    io::cores,
};

/// What is stored is not for everyone on the machine.
const MODE: u32 = 0o640;

/// An archive as the place of a backup.
pub struct Archive<W: Write>(tar::Builder<W>);

impl<W: Write> Archive<W> {
    /// Written to `out`.
    pub fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }
}

impl<W: Write> Target for Archive<W> {
    /// What is broken off has no manifest, and is not restored.
    fn begin(&mut self, _: &Manifest) -> io::Result<()> {
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(MODE);
        header.set_mtime(cores::wall_micros() / 1_000_000);
        self.0.append_data(&mut header, name, content)
    }

    fn end(&mut self, manifest: &Manifest) -> io::Result<()> {
        let bytes = manifest.to_bytes();
        self.put(MANIFEST, bytes.len() as u64, &mut bytes.as_slice())?;
        self.0.finish()?;
        self.0.get_mut().flush()
    }
}

/// Writes the files of an archive that belong to a backup into `directory`. They are verified when
/// they are used, so they need not be durable.
///
/// # Errors
/// When it is no archive, has something else in it, or cannot be written.
pub(super) fn unpack(archive: impl Read, directory: &Path) -> io::Result<()> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let depth = path.parent().is_none_or(|parent| matches!(parent.to_str(), Some("" | ".")));
        if depth && is_part(&name) {
            let mut options = File::options();
            options.write(true).create_new(true).mode(MODE);
            io::copy(&mut entry, &mut options.open(directory.join(&name))?)?;
        }
    }
    Ok(())
}
