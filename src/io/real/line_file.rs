//! A file of lines that is only added to, and may be moved away meanwhile.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Who did what is for nobody else on the machine.
const MODE: u32 = 0o600;

/// A file of lines that is only added to. It is made with mode 0600 where there is none, and anew once it was moved
/// away or removed, as programs do that keep logs short. What is added is not synced.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// The last line is not whole: the disk took a part of it alone.
    is_torn: bool,
}

impl LineFile {
    /// The file of that path.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: append_to(&path)?, path, is_torn: false })
    }

    /// Adds a line, which ends with a line break. May wait for the disk.
    ///
    /// # Errors
    /// What the file system reports. Of the line nothing is there then, or its beginning, as a line of its own.
    pub fn add(&mut self, line: &str) -> io::Result<()> {
        debug_assert!(line.ends_with('\n'), "a line ends");
        if !self.is_in_place()? {
            self.file = append_to(&self.path)?;
            self.is_torn = false;
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut left = line.as_bytes();
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.is_torn = !left.is_empty();
        }
        Ok(())
    }

    /// Whether the file is still the one that bears its name.
    fn is_in_place(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        Ok(self.path.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino())))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn lines_are_added_to_what_is_there_and_to_a_new_file_once_it_is_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let [path, moved] = ["log", "log.1"].map(|name| directory.path().join(name));
        fs::write(&path, "before\n").unwrap();
        let mut lines = LineFile::open(path.clone()).unwrap();
        lines.add("one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        lines.add("two\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "before\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        lines.add("three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_line_that_cannot_be_added_is_an_error_and_the_next_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("place");
        fs::create_dir(&place).unwrap();
        let mut lines = LineFile::open(place.join("log")).unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert_eq!(lines.add("one\n").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(&place).unwrap();
        lines.add("two\n").unwrap();
        assert_eq!(fs::read_to_string(place.join("log")).unwrap(), "two\n");
        let mut full = LineFile::open("/dev/full".into()).unwrap();
        assert_eq!(full.add("one\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
