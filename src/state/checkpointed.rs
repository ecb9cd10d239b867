//! The current versions of keys whose changes are in no segment any more: lines
//! of a checkpoint, each a change as it is sent.

use std::{fmt::Display, num::TryFromIntError, ops::Range, sync::Arc};

use super::Damaged;
use crate::{base::ids::ChangeId, io::map::Mapping};

/// The changes that a checkpoint holds. Immutable, shared by all cores.
pub struct CheckpointedChanges {
    /// Invariant: sorted by id, none twice.
    lines: Vec<Line>,
    map: Arc<Mapping>,
    /// Its name.
    file: String,
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
    /// The checksum of that.
    pub crc32c: u32,
}

impl Line {
    /// The place of the change `id`, which is the line `bytes` at `offset`.
    ///
    /// # Errors
    /// When it is longer than a line may be.
    pub fn new(id: ChangeId, offset: u64, bytes: &[u8]) -> Result<Self, TryFromIntError> {
        let crc32c = crc32c::crc32c(bytes);
        Ok(Self { id, offset, bytes: bytes.len().try_into()?, crc32c })
    }

    fn range(&self) -> Range<usize> {
        self.offset as usize..self.offset as usize + self.bytes as usize
    }
}

impl CheckpointedChanges {
    /// Changes at `lines` of the checkpoint `file`.
    #[must_use]
    pub fn new(file: String, mut lines: Vec<Line>, map: Mapping) -> Self {
        lines.sort_unstable_by_key(|line| line.id);
        assert!(lines.is_sorted_by(|a, b| a.id < b.id), "a change is the current one of one key");
        Self { lines, map: Arc::new(map), file }
    }

    fn line(&self, id: ChangeId) -> Option<&Line> {
        let at = self.lines.binary_search_by_key(&id, |line| line.id).ok()?;
        self.lines.get(at)
    }

    /// Whether the change of `line` is here, byte for byte.
    #[must_use]
    pub fn has(&self, line: &Line) -> bool {
        let held = self.line(line.id);
        held.is_some_and(|held| (held.bytes, held.crc32c) == (line.bytes, line.crc32c))
    }

    /// The ids of the changes, in order.
    pub fn ids(&self) -> impl Iterator<Item = ChangeId> {
        self.lines.iter().map(|line| line.id)
    }

    /// Where the change `id` lies, if it is here.
    #[must_use]
    pub fn range(&self, id: ChangeId) -> Option<Range<usize>> {
        self.line(id).map(Line::range)
    }

    /// The change `id`, which is here, as it is sent. Touches the pages of its range:
    /// see that they are resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn change(&self, id: ChangeId) -> Result<&[u8], Damaged> {
        let line = self.line(id).ok_or_else(|| self.damaged(id, &"it is not there"))?;
        let bytes = self.map.get(line.range());
        bytes
            .filter(|bytes| crc32c::crc32c(bytes) == line.crc32c)
            .ok_or_else(|| self.damaged(id, &"it does not match its checksum"))
    }

    /// What to say of the change `id`, which cannot be read for that reason.
    #[must_use]
    pub fn damaged(&self, id: ChangeId, reason: &dyn Display) -> Damaged {
        let offset = self.line(id).map_or(0, |line| line.offset);
        let (file, reason) = (self.file.clone(), reason.to_string());
        Damaged { file, offset, first: id, last: id, reason }
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
