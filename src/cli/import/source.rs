//! The changes of the file that is imported, with how far reading has got.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::super::{failure::Failure, input, node::ANSWER_BYTES_MAX, values::Values};

/// The longest change: no node holds a longer one.
const VALUE_BYTES_MAX: u64 = ANSWER_BYTES_MAX;

/// How far a text has been read, and what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Lines, the last one perhaps without its line break.
    pub(super) lines: u64,
    /// Bytes.
    pub(super) bytes: u64,
    /// CRC-32C of these bytes.
    pub(super) crc32c: u32,
    /// Whether the last line had its line break, or was left behind within an
    /// array.
    pub(super) complete: bool,
}

impl Position {
    fn pass(&mut self, bytes: &[u8]) {
        let (Some(last), breaks) = (bytes.last(), count_breaks(bytes)) else { return };
        // What follows a break is another line; the rest of one is not.
        self.lines += breaks + u64::from(*last != b'\n') - u64::from(self.is_within_line());
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.complete = *last == b'\n';
    }

    fn is_within_line(&self) -> bool {
        !self.complete
    }
}

fn count_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What is counted: `line` or `element`.
    pub(super) unit: &'static str,
    pub(super) number: u64,
}

/// A file or standard input.
pub(super) struct Source {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    /// How long the text is, where that is known.
    pub(super) size: Option<u64>,
    pub(super) position: Position,
    values: Values,
    /// Whether the values are the elements of an array.
    is_array: bool,
    /// Values that were read, blank ones aside.
    count: u64,
    value: Vec<u8>,
}

impl Source {
    /// Opens it; a file is locked, so that two imports of it cannot both store
    /// its changes.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let (input, size) = if path.as_os_str() == "-" {
            (input::open(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(Failure::file(path))?;
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                let text = format!("{}: another import is reading it", path.display());
                return Err(Failure::Other(text));
            }
            let about = file.metadata().map_err(Failure::file(path))?;
            (input::open(file), about.is_file().then_some(about.len()))
        };
        let input = input.map_err(Failure::file(path))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(256 << 10, input.reader),
            size: size.filter(|_| !input.is_unpacked),
            position: Position::default(),
            values: Values::of_lines_or_array(),
            is_array: false,
            count: 0,
            value: Vec::new(),
        })
    }

    /// Where the value stands that was read last.
    pub(super) fn place(&self) -> Place {
        if self.is_array {
            return Place { unit: "element", number: self.count };
        }
        // The value ends on the line that was read last.
        let value = self.value.trim_ascii_start();
        let later = count_breaks(value) - u64::from(value.ends_with(b"\n"));
        Place { unit: "line", number: self.position.lines - later }
    }

    /// The next value, or an empty one for a blank line; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.next_before(u64::MAX)
    }

    /// The same, but no further than that many bytes into the text.
    pub(super) fn next_before(&mut self, end: u64) -> Result<Option<&[u8]>, Failure> {
        let Self { path, reader, position, values, is_array, value, .. } = self;
        value.clear();
        let start = position.bytes;
        loop {
            let bytes = reader.fill_buf().map_err(Failure::file(path))?;
            let left = usize::try_from(end - position.bytes).unwrap_or(usize::MAX);
            let Some(bytes) = bytes.get(..left.min(bytes.len())).filter(|bytes| !bytes.is_empty())
            else {
                if left > 0 && values.is_in_array() {
                    let text = format!("{}: an array that does not end", path.display());
                    return Err(Failure::Other(text));
                }
                break;
            };
            let (used, complete) = values.take(bytes, value);
            *is_array |= values.is_in_array();
            position.pass(bytes.get(..used).unwrap_or_default());
            reader.consume(used);
            if complete {
                break;
            }
            if value.len() as u64 > VALUE_BYTES_MAX {
                let text =
                    format!("{}: a change is longer than {VALUE_BYTES_MAX} bytes", path.display());
                return Err(Failure::Other(text));
            }
        }
        if position.bytes == start {
            return Ok(None);
        }
        let value = self.value.trim_ascii();
        self.count += u64::from(!value.is_empty());
        Ok(Some(value))
    }

    /// Goes on where an earlier import has got to: how many values that passes,
    /// blank ones aside.
    ///
    /// # Errors
    /// These bytes are not the ones that were read then.
    pub(super) fn skip_to(&mut self, position: &Position) -> Result<u64, Failure> {
        let before = self.count;
        // A position that ends within a line is only reached by reading to it.
        while self.position.bytes < position.bytes && self.next_before(position.bytes)?.is_some() {}
        self.check(position)?;
        Ok(self.count - before)
    }

    /// Checks that what was read up to here is what an earlier import read.
    pub(super) fn check(&mut self, position: &Position) -> Result<(), Failure> {
        if self.position != *position {
            return Err(Failure::Other(format!(
                "{}: its first {} bytes are not those that were imported before; import another \
                 file with another --journal",
                self.path.display(),
                position.bytes
            )));
        }
        let count = self.count;
        // Past an element that is whole, a line may go on.
        if !position.complete && !self.is_array && self.value_may_go_on()? {
            return Err(Failure::Other(format!(
                "{}: line {} has become longer since it was imported",
                self.path.display(),
                position.lines
            )));
        }
        self.count = count;
        Ok(())
    }

    /// Reads the rest of a line that had no break: whether there is any.
    fn value_may_go_on(&mut self) -> Result<bool, Failure> {
        Ok(self.next()?.is_some_and(|rest| !rest.is_empty()))
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
    fn changes_may_be_spread_over_lines_or_stand_in_an_array() {
        let pretty = "{\n  \"data\": 1\n}\n\n{\n  \"data\": 2\n}\n";
        for (text, places) in [
            (pretty, [("line", 1), ("line", 5)]),
            ("[{\"data\":1},{\"data\":2}]", [("element", 1), ("element", 2)]),
            ("[\n{\"data\":\n1},\n\n{\"data\":2}\n]\n", [("element", 1), ("element", 2)]),
        ] {
            let mut whole = source(text);
            let (mut found, mut positions) = (Vec::new(), vec![whole.position]);
            while let Some(value) = whole.next().unwrap().map(<[u8]>::to_vec) {
                if !value.is_empty() {
                    serde_json::from_slice::<serde_json::Value>(&value).unwrap();
                    found.push((whole.place().unit, whole.place().number));
                }
                positions.push(whole.position);
            }
            assert_eq!(found, places, "{text}");
            for position in positions {
                let mut again = source(text);
                let passed = again.skip_to(&position).unwrap();
                while again.next().unwrap().is_some() {}
                assert_eq!((again.count, again.position), (2, whole.position), "{text} {passed}");
            }
        }
        let mut torn = source("[{\"data\":1},{\"data\":2}");
        assert!(torn.next().unwrap().is_some());
        assert!(torn.next().unwrap_err().to_string().contains("does not end"));
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
