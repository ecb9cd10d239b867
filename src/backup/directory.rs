//! A directory as the place of a backup.

use std::io::{self, Read};

use super::{
    ends::Target,
    manifest::{MANIFEST, Manifest, TEMPORARY},
};
use crate::{
    base::planted::planted,
    io::{Files, Output},
};

/// Bytes that are written before they are synced: more at once would hold up whoever else writes to
/// the disk, and that may be the node.
const SYNC_BYTES: u64 = 4 << 20;

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
        while io::copy(&mut content.take(SYNC_BYTES), &mut out)? == SYNC_BYTES {
            if !planted!(SkipBackupSync) {
                out.sync()?;
            }
        }
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
