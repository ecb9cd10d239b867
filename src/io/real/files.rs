//! The files of a directory by calls that block.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{output::OutputFile, regular::open_file};
use crate::io::{FileInfo, FileName, Files, map::Mapping};

/// What a file that is removed slowly gives back at once.
const REMOVED_BYTES: u64 = 4 << 20;
/// How long nothing of it is given back then.
const REMOVED_PAUSE: Duration = Duration::from_millis(4);

/// A directory on the machine's file system; clones are the same directory.
#[derive(Clone, Debug)]
pub struct DirectoryFiles {
    directory: Arc<Path>,
    /// The directory itself, open for as long as the disk is used: that there is no
    /// descriptor left must not look like a sync that failed.
    handle: Arc<File>,
}

impl DirectoryFiles {
    /// The files of `directory`, which must exist.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        let handle = Arc::new(File::open(&directory)?);
        Ok(Self { directory: directory.into(), handle })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn handle(&self) -> &File {
        &self.handle
    }
}

impl Files for DirectoryFiles {
    type Output = OutputFile;

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // It was renamed or removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(FileInfo { name, bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    fn read(&self, name: &FileName) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_file(&self.directory.join(name))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &FileName) -> io::Result<OutputFile> {
        OutputFile::create(&self.directory.join(name))
    }

    fn write_from(&self, name: &FileName, at: u64) -> io::Result<OutputFile> {
        OutputFile::write_from(&self.directory.join(name), at)
    }

    fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn remove_slowly(&self, name: &FileName) -> io::Result<()> {
        let path = self.directory.join(name);
        let file = File::options().write(true).open(&path)?;
        let mut left = file.metadata()?.len();
        // It has no name any more before it is cut, so whatever ends this leaves no part of it.
        fs::remove_file(&path)?;
        while left > REMOVED_BYTES {
            left -= REMOVED_BYTES;
            // Else it all goes when it is closed.
            if file.set_len(left).is_err() {
                break;
            }
            thread::sleep(REMOVED_PAUSE);
        }
        Ok(())
    }

    fn map(&self, name: &FileName) -> io::Result<Mapping> {
        Mapping::open(&self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::io::Output;

    #[test]
    fn a_file_is_written_renamed_read_mapped_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let files = DirectoryFiles::open(directory.path().to_owned()).unwrap();
        let mut output = files.create("a.tmp").unwrap();
        output.write_all(b"seven").unwrap();
        output.sync().unwrap();
        assert_eq!(files.list().unwrap(), [FileInfo { name: "a.tmp".into(), bytes: 5 }]);
        files.rename("a.tmp", "a").unwrap();
        files.sync_directory().unwrap();
        assert_eq!(files.read("a.tmp").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.read("a").unwrap(), b"seven");
        assert_eq!(files.map("a").unwrap().get(1..4), Some(&b"eve"[..]));
        drop(files.create("a").unwrap());
        assert_eq!(files.read("a").unwrap(), b"", "cut to nothing");
        files.remove("a").unwrap();
        let mut output = files.create("b").unwrap();
        output.write_all(&vec![1; 9 << 20]).unwrap();
        drop(output);
        files.remove_slowly("b").unwrap();
        assert_eq!(files.remove_slowly("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.remove("a").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.list().unwrap(), []);
    }

    #[test]
    fn what_vanishes_while_a_directory_is_listed_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let files = DirectoryFiles::open(directory.path().to_owned()).unwrap();
        for n in 0..64 {
            drop(files.create(&format!("{n}.tmp")).unwrap());
        }
        let (others, done) = (files.clone(), Arc::new(()));
        let running = Arc::downgrade(&done);
        let renaming = std::thread::spawn(move || {
            for n in (0..64).cycle() {
                if running.upgrade().is_none() {
                    return;
                }
                let (one, other) = (format!("{n}.tmp"), format!("{n}"));
                others.rename(&one, &other).unwrap();
                others.rename(&other, &one).unwrap();
            }
        });
        let outcome = (0..2_000).try_for_each(|_| files.list().map(drop));
        drop(done);
        renaming.join().unwrap();
        outcome.unwrap();
    }
}
