//! The lines of the file that is imported, with how far reading has got.

use std::{
    fs::{File, TryLockError},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::super::{
    failure::Failure,
    line::{is_complete, read_line},
};

/// How far a file has been read, and what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Lines, the last one perhaps without its line break.
    pub(super) lines: u64,
    /// Bytes.
    pub(super) bytes: u64,
    /// CRC-32C of these bytes.
    pub(super) crc32c: u32,
    /// Whether the last line had its line break.
    pub(super) complete: bool,
}

/// A file or standard input.
pub(super) struct Source {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    /// How long the file is, if it is one.
    pub(super) size: Option<u64>,
    pub(super) position: Position,
    line: Vec<u8>,
}

impl Source {
    /// Opens it; a file is locked, so that two imports of it cannot both store
    /// its changes.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let (input, size): (Box<dyn Read>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(Failure::file(path))?;
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                let text = format!("{}: another import is reading it", path.display());
                return Err(Failure::Other(text));
            }
            let about = file.metadata().map_err(Failure::file(path))?;
            (Box::new(file), about.is_file().then_some(about.len()))
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(256 << 10, input),
            size,
            position: Position::default(),
            line: Vec::new(),
        })
    }

    /// The next line; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.next_within(u64::MAX)
    }

    /// Goes on where an earlier import has got to: how many lines that passes,
    /// blank ones aside.
    ///
    /// # Errors
    /// These bytes are not the ones that were read then.
    pub(super) fn skip_to(&mut self, position: &Position) -> Result<u64, Failure> {
        let mut count = 0;
        while self.position.bytes < position.bytes {
            // A position that ends within a line is only reached by reading to it.
            let left = position.bytes - self.position.bytes;
            match self.next_within(left)? {
                Some(line) => count += u64::from(!line.is_empty()),
                None => break,
            }
        }
        if self.position != *position {
            return Err(Failure::Other(format!(
                "{}: its first {} bytes are not those that were imported before; import another \
                 file with another --journal",
                self.path.display(),
                position.bytes
            )));
        }
        if !position.complete && self.next()?.is_some_and(|rest| !rest.is_empty()) {
            return Err(Failure::Other(format!(
                "{}: line {} has become longer since it was imported",
                self.path.display(),
                position.lines
            )));
        }
        Ok(count)
    }

    /// The next line, or so many bytes of it.
    fn next_within(&mut self, bytes: u64) -> Result<Option<&[u8]>, Failure> {
        let mut reader = (&mut self.reader).take(bytes);
        if !read_line(&mut reader, &mut self.line).map_err(Failure::file(&self.path))? {
            return Ok(None);
        }
        let position = &mut self.position;
        // What follows a line that had no break yet is the rest of that line.
        position.lines += u64::from(position.complete);
        position.bytes += self.line.len() as u64;
        position.crc32c = crc32c::crc32c_append(position.crc32c, &self.line);
        position.complete = is_complete(&self.line);
        Ok(Some(self.line.trim_ascii()))
    }
}

impl Default for Position {
    fn default() -> Self {
        Self { lines: 0, bytes: 0, crc32c: 0, complete: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Source::open(file.path()).unwrap()
    }

    fn read(source: &mut Source) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = source.next().unwrap() {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
        lines
    }

    #[test]
    fn reading_goes_on_where_it_had_got_to() {
        let text = "one\n\ntwo\r\nthree";
        let mut whole = source(text);
        let mut positions = vec![whole.position];
        while whole.next().unwrap().is_some() {
            positions.push(whole.position);
        }
        assert_eq!(whole.position.lines, 4);
        let rests = [4, 3, 2, 1, 0];
        for ((position, rest), passed) in positions.iter().zip(rests).zip([0, 1, 1, 2, 3]) {
            let mut again = source(text);
            assert_eq!(again.skip_to(position).unwrap(), passed);
            assert_eq!(read(&mut again).len(), rest);
            assert_eq!(again.position, whole.position);
        }
    }

    #[test]
    fn a_file_may_grow_but_not_change() {
        let mut short = source("one\ntwo");
        assert_eq!(read(&mut short), ["one", "two"]);
        let mut grown = source("one\ntwo\nthree\n");
        assert_eq!(grown.skip_to(&short.position).unwrap(), 2);
        assert_eq!(read(&mut grown), ["three"]);
        assert_eq!(grown.position.lines, 3);
        for (text, word) in [
            ("one\nTwo\nthree\n", "are not those"),
            ("one\n", "are not those"),
            ("one\ntwo more\n", "line 2 has become longer"),
        ] {
            let error = source(text).skip_to(&short.position).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_is_imported_once_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = Source::open(file.path()).unwrap();
        assert!(Source::open(file.path()).is_err());
        drop(first);
        assert!(Source::open(file.path()).is_ok());
    }
}
