//! Which list a file is an export of, kept beside it, so that another one is not
//! mixed with it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::{
    failure::Failure,
    files::{beside, read_if_any, replace},
    list::ListArguments,
    node::Node,
};

/// The form of the file. Stays as it is; another form has another number.
const VERSION: u32 = 1;
/// What the name of the file ends with.
const SUFFIX: &str = ".export";

/// A list of a history.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    version: u32,
    /// The history.
    cluster: Option<String>,
    /// The list, by UUID, with its tags.
    list: String,
}

impl Origin {
    /// The list of a node.
    ///
    /// # Errors
    /// There is none, or the node does not answer.
    pub(super) fn of(node: &Node, list: &ListArguments) -> Result<Self, Failure> {
        // Its first answer says which history it serves.
        node.get_newest()?;
        let list = list.identity(node)?;
        Ok(Self { version: VERSION, cluster: node.cluster().map(str::to_owned), list })
    }

    /// Checks that the file is an export of this, where that is known.
    ///
    /// # Errors
    /// It is one of another list or history.
    pub(super) fn check(&self, path: &Path) -> Result<(), Failure> {
        let note = beside(path, SUFFIX);
        let Some(bytes) = read_if_any(&note)? else { return Ok(()) };
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::Other(format!("{}: not the note of an export: {why}", note.display()))
        };
        let noted: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        if noted.version != VERSION {
            return Err(unreadable(&format!("version {}", noted.version)));
        }
        if noted == *self {
            return Ok(());
        }
        let named = |origin: &Self| {
            format!("{} of cluster {}", origin.list, origin.cluster.as_deref().unwrap_or("unknown"))
        };
        Err(Failure::Other(format!(
            "{}: it is an export of {}, not of {}",
            path.display(),
            named(&noted),
            named(self)
        )))
    }

    /// Notes that the file is an export of this.
    pub(super) fn note(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(|error| Failure::Other(error.to_string()))?;
        replace(&beside(path, SUFFIX), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_export_of_what_was_noted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let origin = |cluster: &str, list: &str| Origin {
            version: VERSION,
            cluster: Some(cluster.into()),
            list: list.into(),
        };
        origin("c", "/changes").check(&path).unwrap();
        origin("c", "/changes").note(&path).unwrap();
        origin("c", "/changes").check(&path).unwrap();
        for other in [origin("d", "/changes"), origin("c", "/changes?tag=a")] {
            let error = other.check(&path).unwrap_err().to_string();
            assert!(error.contains("it is an export of /changes of cluster c"), "{error}");
        }
        let first = r#"{"version":1,"cluster":"c","list":"/changes?tag=b"}"#;
        std::fs::write(beside(&path, SUFFIX), first).unwrap();
        origin("c", "/changes?tag=b").check(&path).unwrap();
        std::fs::write(beside(&path, SUFFIX), first.replace('1', "2")).unwrap();
        assert!(origin("c", "/changes?tag=b").check(&path).is_err());
    }
}
