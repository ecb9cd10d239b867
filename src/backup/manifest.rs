//! The manifest of a backup: what it holds, and the checksums of its files.
//!
//! ```text
//! {"changeagent-backup":1,"cluster":uuid,"entry":{"term":…,"index":…},
//!  "first":…,"last":…,"last_at":"2026-…","made_at":"2026-…","highest":…,
//!  "files":[{"name":…,"bytes":…,"crc32c":…},…],"crc32c":…}
//! ```
//!
//! on one line. The last member is the checksum of all bytes before its comma. `entry` is null in
//! a backup that was begun and never completed. It is written as a whole under another name, synced
//! and renamed, after everything that it names is durable. It is stable: the number of the format is
//! its first member.

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    base::ids::{ClusterId, LogId, NodeId},
    io::Files,
};

/// The name of the manifest in a backup.
pub const MANIFEST: &str = "backup.json";
/// The name of a file that is being written.
pub(super) const TEMPORARY: &str = "backup.tmp";
/// The format written, and read.
const FORMAT: u32 = 1;
/// What comes before the checksum.
const CHECKSUM: &str = ",\"crc32c\":";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(rename = "changeagent-backup")]
    format: u32,
    cluster: Uuid,
    /// The last entry of the log; none before the backup was completed once.
    pub entry: Option<LogId>,
    /// The oldest change.
    pub first: u64,
    /// The newest change; 0 when there is none.
    pub last: u64,
    /// When that was made.
    pub last_at: String,
    /// When the node that gave it held no more than this.
    pub made_at: String,
    /// The highest number that a member of the cluster ever had.
    pub highest: NodeId,
    /// The files, in the order in which they are read.
    pub files: Vec<FileEntry>,
}

/// A file of a backup. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The checksum of its bytes.
    pub crc32c: u32,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error("no {MANIFEST} is there, so this is no backup, or one that was never completed")]
    Missing,
    /// It is not what was written.
    #[error("{MANIFEST} is damaged: {0}")]
    Damaged(String),
    /// Another version of the program wrote it.
    #[error("{MANIFEST} has format {0}; this program reads format {FORMAT}")]
    Format(u64),
    /// The disk failed.
    #[error("{MANIFEST}: {0}")]
    Io(io::Error),
}

impl Manifest {
    /// That of a backup of `cluster` that is begun.
    #[must_use]
    pub fn begun(cluster: ClusterId) -> Self {
        let (last_at, made_at) = (String::new(), String::new());
        let cluster = cluster.0;
        Self {
            format: FORMAT,
            cluster,
            entry: None,
            first: 1,
            last: 0,
            last_at,
            made_at,
            highest: 0,
            files: Vec::new(),
        }
    }

    /// The cluster whose history it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        ClusterId(self.cluster)
    }

    /// How many bytes its files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Its bytes as a file.
    ///
    /// # Panics
    /// Never: it has no member that JSON cannot say.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("it has nothing that JSON cannot say");
        text.pop();
        let checksum = crc32c::crc32c(text.as_bytes());
        text += &format!("{CHECKSUM}{checksum}}}\n");
        text.into_bytes()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct AnyFormat {
            #[serde(rename = "changeagent-backup")]
            format: u64,
        }
        let damaged = |text: &str| ManifestError::Damaged(text.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        // What a later version wrote may be laid out otherwise.
        let any: AnyFormat = serde_json::from_str(text).map_err(|_| damaged("it is not JSON"))?;
        if any.format != u64::from(FORMAT) {
            return Err(ManifestError::Format(any.format));
        }
        let (content, end) = text.rsplit_once(CHECKSUM).ok_or(damaged("its end is missing"))?;
        let expected = end.strip_suffix("}\n").and_then(|number| number.parse().ok());
        if expected != Some(crc32c::crc32c(content.as_bytes())) {
            return Err(damaged("it does not match its checksum"));
        }
        let content = format!("{content}}}");
        serde_json::from_str(&content).map_err(|error| damaged(&error.to_string()))
    }

    /// The manifest of a directory.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn read(files: &impl Files) -> Result<Self, ManifestError> {
        match files.read(MANIFEST) {
            Ok(bytes) => Self::from_bytes(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ManifestError::Missing),
            Err(error) => Err(ManifestError::Io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ids::Timestamp, moment::text};

    /// What this build must read for ever.
    const FIXTURE: &str = concat!(
        r#"{"changeagent-backup":1,"cluster":"00000000-0000-0000-0000-000000000007","#,
        r#""entry":{"term":3,"index":41},"first":1,"last":40,"last_at":"2026-07-24T06:00:43.123456Z","#,
        r#""made_at":"2026-07-24T06:00:44.000000Z","highest":3,"files":[{"name":"00000000000000000001.seg","#,
        r#""bytes":32768,"crc32c":123}],"crc32c":388780561}"#,
        "\n"
    );

    fn manifest() -> Manifest {
        let file =
            FileEntry { name: "00000000000000000001.seg".into(), bytes: 32_768, crc32c: 123 };
        Manifest {
            entry: Some(LogId { term: 3, index: 41 }),
            last: 40,
            last_at: text(Timestamp(1_784_872_843_123_456)),
            made_at: text(Timestamp(1_784_872_844_000_000)),
            highest: 3,
            files: vec![file],
            ..Manifest::begun(ClusterId(Uuid::from_u128(7)))
        }
    }

    #[test]
    fn the_format_is_stable() {
        let bytes = manifest().to_bytes();
        assert_eq!(String::from_utf8_lossy(&bytes), FIXTURE);
        assert_eq!(Manifest::from_bytes(&bytes).unwrap(), manifest());
    }

    #[test]
    fn any_byte_that_is_another_is_found() {
        let bytes = manifest().to_bytes();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(Manifest::from_bytes(&other).is_err(), "byte {at}");
        }
        for end in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_later_format_is_named() {
        let text = r#"{"changeagent-backup":2,"all":"new"}"#;
        let error = Manifest::from_bytes(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
