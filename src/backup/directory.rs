//! A directory as the place of a backup.

use std::io::{self, Read};

use super::{
    ends::Target,
    held::TEMPORARY,
    manifest::{MANIFEST, Manifest},
};
use crate::{
    base::planted::planted,
    io::{Files, Output},
};

/// A directory as the place of a backup. A file is written under another name, synced and renamed,
/// and the directory synced, so what bears its name is whole.
pub struct InDirectory<F>(F);

impl<F: Files> InDirectory<F> {
    /// The directory of `files`.
    pub fn new(files: F) -> Self {
        Self(files)
    }

    fn write(&self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let placed = self.place(name, content);
        placed.inspect_err(|_| {
            // The error before says more than that of this.
            let _ = self.0.remove(TEMPORARY);
        })
    }

    fn place(&self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let mut out = self.0.create(TEMPORARY)?;
        io::copy(content, &mut out)?;
        if !planted!(SkipBackupSync) {
            out.sync()?;
        }
        self.0.rename(TEMPORARY, name)?;
        if planted!(SkipBackupDirectorySync) {
            return Ok(());
        }
        self.0.sync_directory()
    }
}

impl<F: Files> Target for InDirectory<F> {
    fn begin(&mut self, manifest: &Manifest) -> io::Result<()> {
        self.end(manifest)
    }

    fn put(&mut self, name: &str, _: u64, content: &mut dyn Read) -> io::Result<()> {
        self.write(name, content)
    }

    fn end(&mut self, manifest: &Manifest) -> io::Result<()> {
        self.write(MANIFEST, &mut manifest.to_bytes().as_slice())
    }
}
