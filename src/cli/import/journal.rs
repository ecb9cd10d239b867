//! How far an import has got, kept beside its file.
//!
//! One JSON object, replaced as a whole: the new one is written and synced under
//! another name and renamed into place, so that there is always one or the other.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{failure::Failure, files::sync_directory},
    source::Position,
    tally::Tally,
};

/// The form of the journal. Stays as it is; another form has another number.
const VERSION: u32 = 1;

/// The state of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// What the keys of its requests start with.
    pub(super) import: String,
    /// The history that it stores into.
    pub(super) cluster: Option<String>,
    /// Whether the request that starts after `position` may have been sent, with
    /// an unknown outcome.
    pub(super) in_doubt: bool,
    /// Everything up to here was acknowledged.
    pub(super) position: Position,
    /// What that amounts to.
    pub(super) tally: Tally,
}

impl Record {
    /// An import that has not stored anything.
    pub(super) fn new() -> Self {
        Self {
            version: VERSION,
            import: Uuid::new_v4().to_string(),
            cluster: None,
            in_doubt: false,
            position: Position::default(),
            tally: Tally::default(),
        }
    }

    /// The same while the next request is on its way.
    pub(super) fn while_sending(&self) -> Self {
        Self { in_doubt: true, ..self.clone() }
    }
}

/// The file of an import's state, if it has one.
#[derive(Debug)]
pub(super) struct Journal {
    path: Option<PathBuf>,
    /// What the file says.
    written: Option<Record>,
}

impl Journal {
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let written = path.as_deref().map_or(Ok(None), read)?;
        Ok(Self { path, written })
    }

    /// What an earlier run left.
    pub(super) fn record(&self) -> Option<&Record> {
        self.written.as_ref()
    }

    /// Makes the state durable.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(path) = self.path.as_deref().filter(|_| self.written.as_ref() != Some(record))
        else {
            return Ok(());
        };
        let mut fresh = path.to_owned().into_os_string();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let text = serde_json::to_vec(record).map_err(|error| Failure::Other(error.to_string()))?;
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(Failure::file(&fresh))?;
        fs::rename(&fresh, path).map_err(Failure::file(path))?;
        sync_directory(path)?;
        self.written = Some(record.clone());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Record>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file(path)(error)),
    };
    let not_one = |why: String| {
        Failure::Other(format!("{}: not the journal of an import: {why}", path.display()))
    };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| not_one(error.to_string()))?;
    if record.version != VERSION {
        return Err(not_one(format!("version {}", record.version)));
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.import");
        let mut journal = Journal::open(Some(path.clone())).unwrap();
        assert_eq!(journal.record(), None);
        let mut record = Record::new();
        for stored in [1, 2] {
            record.tally.stored = stored;
            journal.write(&record).unwrap();
            assert_eq!(Journal::open(Some(path.clone())).unwrap().record(), Some(&record));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn the_first_form_of_the_journal_is_understood() {
        let text = r#"{"version":1,"import":"7f6d8b1e-9a43-4a53-8a3e-5a1d3c1b7e11","cluster":"c","in_doubt":true,"position":{"lines":3,"bytes":40,"crc32c":7,"complete":true},"tally":{"stored":2,"deleted":1,"skipped":0,"first":1,"last":3}}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let record = read(file.path()).unwrap().unwrap();
        assert!(record.in_doubt && record.cluster.as_deref() == Some("c"));
        assert_eq!(record.import, "7f6d8b1e-9a43-4a53-8a3e-5a1d3c1b7e11");
        let position = Position { lines: 3, bytes: 40, crc32c: 7, complete: true };
        assert_eq!(record.position, position);
        let tally = Tally { stored: 2, deleted: 1, skipped: 0, first: Some(1), last: 3 };
        assert_eq!(record.tally, tally);
    }

    #[test]
    fn another_file_is_not_taken_for_a_journal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "{}", "{\"_id\":1}"] {
            fs::write(file.path(), text).unwrap();
            assert!(read(file.path()).is_err(), "{text:?}");
        }
    }
}
