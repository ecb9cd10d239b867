//! The index file of a segment: made once the segment is wholly applied, so that nobody need hold
//! in memory, nor read at a start, what it says.
//!
//! ```text
//! written under another name · synced · renamed · directory synced · mapped
//! ```
//!
//! It is made of what the log, the state and Raft know of the segment, each in sections of its
//! own. Every one can be made anew from the segments up to it.

use std::{io, sync::Arc};

use super::{
    standing::{Standing, put_standing, standing},
    unsound::LOOKED_AT,
};
use crate::{
    base::batch::NumberedBatch,
    io::{Files, put_file},
    log::{
        self, Identity, Sealed,
        index::{Indexed, SUFFIX, file_name},
        number,
    },
    sections::{Builder, Fault, Sections},
    state::{Noted, Position, SealedSegment, delta, sealed},
};

const TEMPORARY: &str = "index.tmp";
/// The name of an index that is made anew while others are made.
pub(super) const ANEW_TEMPORARY: &str = "anew.tmp";
/// How the names of whole states end.
pub(super) const WHOLE_SUFFIX: &str = ".state";
pub(super) const WHOLE_TEMPORARY: &str = "state.tmp";
/// The name of an index that is being written anew.
pub(super) const ERASED_TEMPORARY: &str = "erased.tmp";
/// A segment that is wholly applied, as its index is made of it.
pub(super) struct Complete {
    pub(super) identity: Identity,
    pub(super) sealed: Sealed,
    /// The batches that are applied, with the indexes of their entries.
    pub(super) batches: Vec<(u64, NumberedBatch)>,
    pub(super) noted: Noted,
    /// After its last entry.
    pub(super) standing: Standing,
}

impl Complete {
    fn build(&self) -> io::Result<Vec<u8>> {
        let mut builder = Builder::default();
        let applied = self.standing.applied.as_ref().map(|id| id.index);
        log::index::put(&mut builder, self.identity, &self.sealed, applied);
        let first = self.sealed.entries.first().map_or(0, |(id, _)| id.index);
        let entry = |index: u64| (index - first) as usize;
        let entries = self.sealed.entries.len();
        let all = || self.batches.iter().map(|(_, batch)| batch);
        let found = self.batches.iter().filter(|(_, batch)| batch.changes() > 0);
        let found = found.map(|(index, batch)| (entry(*index), batch));
        let (last, lists) = (self.noted.position.last, self.noted.lists());
        sealed::put(&mut builder, entries, found, last, lists);
        delta::put(&mut builder, &self.noted, all());
        put_standing(&mut builder, &self.standing)?;
        Ok(builder.finish())
    }

    /// Writes the index, and reads it back: durable on return.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) fn write(&self, files: &impl Files) -> io::Result<SegmentIndex> {
        self.write_as(files, TEMPORARY)
    }

    /// The same, under this name first.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) fn write_as(&self, files: &impl Files, temporary: &str) -> io::Result<SegmentIndex> {
        let name = file_name(self.sealed.sequence);
        put_file(files, temporary, &name, &self.build()?)?;
        SegmentIndex::open(files, self.sealed.sequence).map_err(|error| match error {
            Unusable::Io(error) => error,
            Unusable::Fault(fault) => io::Error::other(format!("{name}: {fault}")),
        })
    }
}

/// Why an index is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The index of a segment, mapped.
pub(super) struct SegmentIndex {
    pub(super) sections: Arc<Sections>,
    pub(super) log: Indexed,
    /// How far the list goes with the segment.
    pub(super) position: Position,
    /// After its last entry.
    pub(super) standing: Standing,
    /// What readers are given, unless no change is in it.
    pub(super) segment: Option<Arc<SealedSegment>>,
}

impl SegmentIndex {
    /// Maps the index of a segment, and the segment.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub(super) fn open(files: &impl Files, sequence: u64) -> Result<Self, Unusable> {
        let sections = Arc::new(Sections::open(files.map(&file_name(sequence))?)?);
        let log = Indexed::read(&sections)?;
        let map = files.map(&log::file_name(sequence))?;
        let segment = SealedSegment::open(&sections, log.run.clone(), map)?;
        Ok(Self {
            position: delta::position(&sections)?,
            standing: standing(&sections)?,
            segment: segment.map(Arc::new),
            log,
            sections,
        })
    }

    /// Its last entry, one that a checkpoint may stand for; that of the segments before where it
    /// has none.
    pub(super) fn last(&self) -> Option<u64> {
        self.standing.applied.as_ref().map(|id| id.index)
    }

    /// Bytes that a start which takes it up goes through, about.
    pub(super) fn weight(&self) -> u64 {
        let lists = self.segment.as_ref().map_or(0, |segment| segment.lists().count());
        delta::weight(&self.sections, lists)
    }
}

/// Maps the index of a segment, and the segment.
///
/// # Errors
/// There is none, or it is damaged.
pub(super) fn opened(files: &impl Files, sequence: u64) -> io::Result<SegmentIndex> {
    SegmentIndex::open(files, sequence).map_err(|error| match error {
        Unusable::Io(error) => error,
        Unusable::Fault(fault) => io::Error::other(fault),
    })
}

/// The numbers of the segments that have an index, sorted.
#[cfg(test)]
pub(super) fn all(files: &impl Files) -> io::Result<Vec<u64>> {
    let mut found: Vec<u64> =
        files.list()?.iter().filter_map(|file| number(&file.name, SUFFIX)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The names of the indexes and whole states of a directory, sorted.
///
/// # Errors
/// The directory cannot be read.
pub fn index_names(files: &impl Files) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = files.list()?.into_iter().map(|file| file.name).collect();
    names.retain(|name| [SUFFIX, WHOLE_SUFFIX].iter().any(|end| number(name, end).is_some()));
    names.sort_unstable();
    Ok(names)
}

/// What became of verifying an index or a whole state.
pub struct VerifiedIndex {
    /// Its length.
    pub bytes: u64,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// Verifies every byte of an index or a whole state. Waits for the disk.
///
/// # Errors
/// It is not there any more.
pub fn verify_index(files: &impl Files, name: &str) -> io::Result<VerifiedIndex> {
    let unread = |error: io::Error| Fault { offset: 0, reason: error.to_string() };
    let map = match files.map(name) {
        Ok(map) => map,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(error) => return Ok(VerifiedIndex { bytes: 0, fault: Some(unread(error)) }),
    };
    let bytes = map.len() as u64;
    let verify = || {
        map.populate(0..map.len()).map_err(unread)?;
        Sections::open(map)?.verify()
    };
    Ok(VerifiedIndex { bytes, fault: verify().err() })
}

/// Removes what a process was writing when it ended, indexes of segments that are not from `oldest` to
/// before `active`, and whole states but that after the segment `whole`. Nobody may be writing any.
///
/// # Errors
/// What the disk reports.
pub fn tidy(files: &impl Files, oldest: u64, active: u64, whole: Option<u64>) -> io::Result<()> {
    let of_segment = |name: &str| number(name, SUFFIX);
    remove(files, |name| {
        let stray = of_segment(name).is_some_and(|n| n < oldest || active <= n);
        let unused = number(name, WHOLE_SUFFIX).is_some_and(|n| Some(n) != whole);
        if unused {
            tracing::info!(file = name, "a state that is not gone on from is removed");
        }
        stray
            || unused
            || [TEMPORARY, ANEW_TEMPORARY, WHOLE_TEMPORARY, ERASED_TEMPORARY, LOOKED_AT]
                .contains(&name)
    })
}

/// Removes the indexes of segments before `oldest`, which are purged.
///
/// # Errors
/// What the disk reports.
pub fn remove_before(files: &impl Files, oldest: u64) -> io::Result<()> {
    remove(files, |name| number(name, SUFFIX).is_some_and(|n| n < oldest))
}

/// Removes the files of such names.
pub(super) fn remove(files: &impl Files, is_to_go: impl Fn(&str) -> bool) -> io::Result<()> {
    for file in files.list()?.into_iter().filter(|file| is_to_go(&file.name)) {
        match files.remove(&file.name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
