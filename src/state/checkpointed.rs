//! The current versions of keys whose changes are in no segment any more: lines
//! of a checkpoint, each a change as it is sent.

use std::{ops::Range, sync::Arc};

use crate::{base::ids::ChangeId, io::map::Mapping};

/// The changes that a checkpoint holds. Immutable, shared by all cores.
pub struct CheckpointedChanges {
    /// Invariant: sorted by id, none twice.
    lines: Vec<Line>,
    map: Arc<Mapping>,
}

/// Where a change lies in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: ChangeId,
    /// Where its line begins.
    pub offset: u64,
    /// The length of the line, without its end.
    pub bytes: u32,
}

impl CheckpointedChanges {
    /// Changes at `lines` of a checkpoint.
    #[must_use]
    pub fn new(mut lines: Vec<Line>, map: Mapping) -> Self {
        lines.sort_unstable_by_key(|line| line.id);
        assert!(lines.is_sorted_by(|a, b| a.id < b.id), "a change is the current one of one key");
        Self { lines, map: Arc::new(map) }
    }

    /// Where the change `id` lies, if it is here.
    #[must_use]
    pub fn range(&self, id: ChangeId) -> Option<Range<usize>> {
        let at = self.lines.binary_search_by_key(&id, |line| line.id).ok()?;
        let Line { offset, bytes, .. } = self.lines[at];
        Some(offset as usize..offset as usize + bytes as usize)
    }

    /// The change that lies there, as it is sent. Touches the pages of the range:
    /// see that they are resident.
    #[must_use]
    pub fn change(&self, range: Range<usize>) -> Option<&[u8]> {
        self.map.get(range)
    }

    /// The mapped file, for residency.
    #[must_use]
    pub fn map(&self) -> &Arc<Mapping> {
        &self.map
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}
