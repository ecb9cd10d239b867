//! How far an import has got, kept beside its file: one JSON object, replaced as
//! a whole before each request.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{
        failure::Failure,
        files::{read_if_any, replace},
    },
    source::Position,
    tally::Tally,
};

/// The form of the journal. Stays as it is; another form has another number.
const VERSION: u32 = 2;

/// The state of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// What the keys of its requests start with.
    pub(super) import: String,
    /// The history that it stores into.
    pub(super) cluster: Option<String>,
    /// The list that it stores into, by UUID.
    pub(super) list: Option<String>,
    /// The request that starts after `position`, when it may have been sent with
    /// an unknown outcome.
    pub(super) doubtful: Option<Doubtful>,
    /// Everything up to here was acknowledged.
    pub(super) position: Position,
    /// What that amounts to.
    pub(super) tally: Tally,
}

/// A request whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Doubtful {
    /// When it was sent first since its outcome was last looked for:
    /// milliseconds since 1970.
    pub(super) sent_ms: u64,
    /// What it stored has higher ids than this.
    pub(super) after: u64,
    /// Where the lines end that it holds.
    pub(super) end: Position,
    /// The digest of what was sent.
    pub(super) digest: String,
}

/// The first form: it did not say what a request in doubt held.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "version")]
    _version: u32,
    import: String,
    cluster: Option<String>,
    in_doubt: bool,
    position: Position,
    tally: Tally,
}

impl Record {
    /// An import that has not stored anything.
    pub(super) fn new() -> Self {
        Self {
            version: VERSION,
            import: Uuid::new_v4().to_string(),
            cluster: None,
            list: None,
            doubtful: None,
            position: Position::default(),
            tally: Tally::default(),
        }
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
        let text = serde_json::to_vec(record).map_err(|error| Failure::Other(error.to_string()))?;
        replace(path, &text)?;
        self.written = Some(record.clone());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Record>, Failure> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Some(bytes) = read_if_any(path)? else { return Ok(None) };
    let not_one = |why: String| {
        Failure::Other(format!("{}: not the journal of an import: {why}", path.display()))
    };
    let unreadable = |error: serde_json::Error| not_one(error.to_string());
    let Version { version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    match version {
        1 => {
            let First { import, cluster, in_doubt, position, tally, .. } =
                serde_json::from_slice(&bytes).map_err(unreadable)?;
            if in_doubt {
                return Err(Failure::Other(format!(
                    "{}: the program that wrote this journal was interrupted, and only that \
                     version of it can go on",
                    path.display()
                )));
            }
            Ok(Some(Record { import, cluster, position, tally, ..Record::new() }))
        }
        VERSION => serde_json::from_slice(&bytes).map(Some).map_err(unreadable),
        _ => Err(not_one(format!("version {version}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    fn read_text(text: &str) -> Result<Option<Record>, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn all_forms_of_the_journal_are_understood() {
        let position = Position { lines: 3, bytes: 40, crc32c: 7, complete: true };
        let tally = Tally { stored: 2, deleted: 1, skipped: 0, first: Some(1), last: 3 };
        let first = r#"{"version":1,"import":"7f6d","cluster":"c","in_doubt":false,"position":{"lines":3,"bytes":40,"crc32c":7,"complete":true},"tally":{"stored":2,"deleted":1,"skipped":0,"first":1,"last":3}}"#;
        let record = read_text(first).unwrap().unwrap();
        assert_eq!((record.import.as_str(), record.cluster.as_deref()), ("7f6d", Some("c")));
        assert_eq!((record.position, &record.tally), (position, &tally));
        assert_eq!((record.list, record.doubtful), (None, None));
        let doubt = first.replace("false", "true");
        assert!(read_text(&doubt).unwrap_err().to_string().contains("only that version"));

        let second = r#"{"version":2,"import":"7f6d","cluster":"c","list":"/changes","doubtful":{"sent_ms":1784873643123,"after":9,"end":{"lines":5,"bytes":60,"crc32c":8,"complete":false},"digest":"ab"},"position":{"lines":3,"bytes":40,"crc32c":7,"complete":true},"tally":{"stored":2,"deleted":1,"skipped":0,"first":1,"last":3}}"#;
        let record = read_text(second).unwrap().unwrap();
        assert_eq!((record.position, record.tally), (position, tally));
        assert_eq!(record.list.as_deref(), Some("/changes"));
        let end = Position { lines: 5, bytes: 60, crc32c: 8, complete: false };
        let doubtful = Doubtful { sent_ms: 1_784_873_643_123, after: 9, end, digest: "ab".into() };
        assert_eq!(record.doubtful, Some(doubtful));
    }

    #[test]
    fn another_file_is_not_taken_for_a_journal() {
        for text in ["", "{}", "{\"_id\":1}", "{\"version\":3}", "{\"version\":2}"] {
            assert!(read_text(text).is_err(), "{text:?}");
        }
    }
}
