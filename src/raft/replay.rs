//! The start of a node: what its checkpoint, the indexes of its segments, and the entries after
//! them amount to; and what the serving cores start with.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use openraft::entry::RaftEntry;

use super::{
    fold::Fold,
    indexing::Weights,
    recovered::{Recovered, detached},
    sealing::{SegmentEnd, Unsealed},
    segment_index::{Complete, SegmentIndex, Unusable},
    standing::Standing,
    types::{RaftLogId, StoredMembership, from_log, from_raft_id, only_member, to_log, to_raft_id},
    whole_state::{self, Begun, CheckpointRead},
};
use crate::{
    base::{
        batch::NumberedBatch,
        ids::{ChangeId, LogId, NodeId},
        planted::planted,
    },
    checkpoint::CheckpointFile,
    io::{Files, is_directory_failed},
    log::{
        self, Identity, Place, Reader, Sealed,
        format::SegmentHeader,
        index::{Indexed, Run},
    },
    state::{CheckpointedChanges, Position, SealedSegment},
};

/// Segments that are served from memory at a start because their indexes cannot be written: with
/// more of them a node does not start.
const IN_MEMORY_MAX: usize = 8;

/// A batch of a segment that has no index.
struct Open {
    segment: u64,
    /// That of its entry.
    index: u64,
    batch: NumberedBatch,
}

/// Where the indexes of segments are.
struct Indexes<F> {
    files: F,
    /// Some that were looked at before.
    found: BTreeMap<u64, SegmentIndex>,
    /// The one that the log was told of last.
    told: Option<SegmentIndex>,
}

/// A node's start so far.
pub struct Replay<F> {
    fold: Fold,
    /// None where nothing but entries is to be read, and nothing to be served.
    indexes: Option<Indexes<F>>,
    identity: Option<Identity>,
    /// Batches of segments without an index.
    open: VecDeque<Open>,
    /// Complete segments that were read. Of the last ones some entries may still come.
    left: VecDeque<Sealed>,
    /// Those whose index could not be written.
    complete: VecDeque<Arc<Complete>>,
    /// Segments that have an index: what readers are given of them, in order.
    sealed: Vec<Arc<SealedSegment>>,
    ended: VecDeque<SegmentEnd>,
    /// Where Raft stands after the newest of them.
    newest: Option<(SegmentEnd, Standing)>,
    /// The places of those whose entries were read.
    runs: Vec<Run>,
    weights: Weights,
    /// The segment that the whole state is after which it began with.
    whole: Option<u64>,
    /// The position that it began at.
    begun: Position,
    checkpoint: Option<(RaftLogId, StoredMembership)>,
    checkpointed: Option<Arc<CheckpointedChanges>>,
}

impl<F> Default for Replay<F> {
    fn default() -> Self {
        Self {
            fold: Fold::default(),
            indexes: None,
            identity: None,
            open: VecDeque::new(),
            left: VecDeque::new(),
            complete: VecDeque::new(),
            sealed: Vec::new(),
            ended: VecDeque::new(),
            newest: None,
            runs: Vec::new(),
            weights: Weights::default(),
            whole: None,
            begun: Position::default(),
            checkpoint: None,
            checkpointed: None,
        }
    }
}

impl<F: Files> Reader for Replay<F> {
    fn index(&mut self, segment: &SegmentHeader) -> Option<Indexed> {
        let SegmentHeader { cluster, node, sequence, .. } = *segment;
        self.identity = Some(Identity { cluster, node });
        let applied = self.fold.applied().map(|id| id.index);
        let indexes = self.indexes.as_mut()?;
        let found = match indexes.found.remove(&sequence) {
            Some(found) => Ok(found),
            None => SegmentIndex::open(&indexes.files, sequence),
        };
        let file = log::file_name(sequence);
        match found {
            Ok(found) => {
                // What a checkpoint holds in part is taken up entry by entry.
                let run = &found.log.run;
                let is_whole = found.last() <= applied || applied.is_none_or(|it| it < run.first());
                // What is only looked at in parts is verified in parts.
                let sound = if found.last() > applied { found.sections.verify() } else { Ok(()) };
                if !found.log.is_of(segment) {
                    tracing::warn!(file, "the index of another segment is made anew");
                } else if let Err(error) = sound {
                    tracing::warn!(file, %error, "an index that is not sound is made anew");
                } else if is_whole {
                    let log = found.log.clone();
                    indexes.told = Some(found);
                    return Some(log);
                }
            }
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(file, "the segment has no index and is read");
            }
            Err(error) => tracing::warn!(file, %error, "an index that is not sound is made anew"),
        }
        None
    }

    fn adopt(&mut self, segment: u64) -> Result<bool, String> {
        let Some(index) = self.indexes.as_mut().and_then(|it| it.told.take()) else {
            unreachable!("the log was told of it");
        };
        self.complete_left(segment).map_err(|error| error.to_string())?;
        if !self.complete.is_empty() {
            // Readers are given segments in order.
            return Ok(false);
        }
        let is_held = index.last() <= self.fold.applied().map(|id| id.index);
        if !is_held || planted!(ApplyTwiceAfterCheckpoint) {
            self.weights.changed += index.weight();
            self.fold.absorb(&index).map_err(|fault| fault.to_string())?;
        }
        self.take_up(&index);
        Ok(true)
    }

    fn entry(&mut self, entry: &log::Entry, place: Place) -> Result<(), String> {
        self.committed(entry, place).map_err(|error| error.to_string())
    }

    fn complete(&mut self, sealed: Sealed) {
        if self.indexes.is_some() {
            self.left.push_back(sealed);
        }
    }
}

impl<F: Files> Replay<F> {
    /// Takes in the next committed entry.
    ///
    /// # Errors
    /// When its payload cannot be read by this program.
    fn committed(&mut self, entry: &log::Entry, place: Place) -> io::Result<()> {
        self.complete_left(place.segment)?;
        let entry = from_log(entry)?;
        let id = entry.log_id();
        // What a checkpoint holds is not applied again.
        let is_held = self.fold.applied().is_some_and(|applied| id.index <= applied.index);
        if is_held && !planted!(ApplyTwiceAfterCheckpoint) {
            return Ok(());
        }
        let batch = self.fold.entry(entry, place.segment).batch;
        let segment = place.segment;
        if self.indexes.is_none() {
            // Nobody is to find it.
            self.fold.forget_ended(segment);
        } else if let Some(batch) = batch {
            self.open.push_back(Open { segment, index: id.index, batch });
        }
        Ok(())
    }

    /// Writes the indexes of the segments before `segment`, all of whose entries came.
    ///
    /// # Errors
    /// So many cannot be written that memory might not hold what they stand for.
    fn complete_left(&mut self, segment: u64) -> io::Result<()> {
        while let Some(sealed) = self.left.pop_front_if(|sealed| sealed.sequence < segment) {
            let sequence = sealed.sequence;
            let last = sealed.entries.last().map(|(id, _)| id.index);
            let mut batches = Vec::new();
            while let Some(open) = self.open.pop_front_if(|open| open.segment <= sequence) {
                batches.push((open.index, open.batch));
            }
            let (noted, standing) = self.fold.take_ended(sequence);
            let checkpoint = self.checkpoint.as_ref().map(|(id, _)| id.index);
            if last.is_some() && last <= checkpoint {
                // The checkpoint stands for all of it, and nobody needs an index that is not sound.
                if let Some(indexes) = &self.indexes {
                    let _ = indexes.files.remove(&log::index::file_name(sequence));
                }
                continue;
            }
            let Some(identity) = self.identity else { unreachable!("its header was read") };
            self.write(Complete { identity, sealed, batches, noted, standing })?;
        }
        Ok(())
    }

    fn write(&mut self, mut complete: Complete) -> io::Result<()> {
        let Some(indexes) = &self.indexes else { return Ok(()) };
        let file = log::file_name(complete.sealed.sequence);
        if self.complete.is_empty() {
            match complete.write(&indexes.files) {
                Ok(index) => {
                    tracing::info!(file, "the segment has got an index");
                    self.weights.changed += index.weight();
                    self.runs.push(index.log.run.clone());
                    self.take_up(&index);
                    return Ok(());
                }
                Err(error) if is_directory_failed(&error) => return Err(error),
                // What is in memory serves as well.
                Err(error) => tracing::warn!(file, %error, "cannot write the index of a segment"),
            }
        }
        complete.batches.iter_mut().for_each(|(_, batch)| *batch = detached(batch));
        self.complete.push_back(Arc::new(complete));
        if self.complete.len() > IN_MEMORY_MAX {
            let text = "index files cannot be written, and memory does not serve for more segments";
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    /// Takes up a segment by its index, as far as readers go.
    fn take_up(&mut self, index: &SegmentIndex) {
        let sequence = index.log.run.segment();
        match &index.segment {
            Some(segment) if segment.last() > self.begun.last => {
                self.fold.seal(segment);
                self.sealed.push(Arc::clone(segment));
            }
            _ => self.fold.state().index().forget_segment(sequence),
        }
        let checkpoint = self.checkpoint.as_ref().map(|(id, _)| id.index);
        // One without entries has nothing to purge.
        let before = self.ended.back().map(|end| end.index).max(checkpoint);
        if let Some(last) = index.last().filter(|last| Some(*last) > before) {
            let end = SegmentEnd { sequence, index: last, position: index.position };
            self.ended.push_back(end);
            self.newest = Some((end, index.standing.clone()));
        }
    }

    /// What every serving core starts with.
    #[must_use]
    pub fn finish(&mut self) -> Recovered {
        let applied = self.fold.applied().map(|id| id.index);
        while let Some(sealed) = self.left.front()
            && sealed.entries.last().map(|(id, _)| id.index) <= applied
        {
            let next = sealed.sequence + 1;
            // Memory serves for one more.
            let _ = self.complete_left(next);
        }
        self.open.iter_mut().for_each(|open| open.batch = detached(&open.batch));
        let complete = self.complete.iter().flat_map(|complete| &complete.batches);
        let recent = complete.map(|(_, batch)| batch).chain(self.open.iter().map(|it| &it.batch));
        Recovered {
            sealed: self.sealed.clone(),
            recent: recent.filter(|batch| batch.changes() > 0).cloned().collect(),
            index: Arc::clone(self.fold.state().index()),
            begun: self.begun.last,
            checkpointed: self.checkpointed.clone(),
        }
    }

    /// What entries are to be read onto, for whoever only wants to know what they amount to.
    ///
    /// # Errors
    /// When the newest checkpoint cannot be read, or is damaged.
    pub fn load(files: &F) -> io::Result<(Option<CheckpointFile>, Self)> {
        Ok(Self::of(whole_state::checkpoint(files, None)?, None))
    }

    /// What a node goes on from: the newest checkpoint, or the newest `before` that of a name, the newest
    /// whole state, and the indexes of segments, as far as they are sound. Those that are missing are
    /// made.
    ///
    /// # Errors
    /// When that checkpoint cannot be read, or is damaged.
    pub fn begin(files: F, before: Option<&str>) -> io::Result<(Option<CheckpointFile>, Self)> {
        let begun = whole_state::newest(&files, u64::MAX, before)?;
        let indexes = Indexes { files, found: BTreeMap::new(), told: None };
        Ok(Self::of(begun, Some(indexes)))
    }

    fn of(begun: Begun, indexes: Option<Indexes<F>>) -> (Option<CheckpointFile>, Self) {
        let Begun { fold, checkpoint, found, whole, bytes } = begun;
        let weights = Weights { changed: 0, whole: bytes };
        let mut replay = Self { fold, indexes, weights, whole, ..Self::default() };
        if let Some(indexes) = &mut replay.indexes {
            indexes.found = found;
        }
        let file = checkpoint.map(|checkpoint| {
            let CheckpointRead { file, position, standing: (id, membership), changes } = checkpoint;
            replay.begun = position;
            replay.checkpoint = Some((id, membership));
            replay.checkpointed = Some(changes);
            file
        });
        (file, replay)
    }

    /// The segment that the whole state is after which it began with, if there was one.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        self.whole
    }

    /// The places of entries whose segments have got an index, for the log.
    pub fn take_runs(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs)
    }

    /// An entry that makes `node`, which must be a member, the only one.
    ///
    /// # Errors
    /// When it is none.
    pub fn only_member(&self, node: NodeId, id: LogId) -> io::Result<log::Entry> {
        let membership = self.fold.membership().membership();
        let address = membership.get_node(&node).cloned().ok_or_else(|| {
            io::Error::other(format!("node {node} is not a member of its cluster"))
        })?;
        to_log(only_member(node, address, to_raft_id(id))?)
    }

    /// The last entry taken in, those that the checkpoint stands for included.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.fold.applied().as_ref().map(from_raft_id)
    }

    /// The oldest change held; one past [`last`](Self::last) when there is none.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        self.begun.last.next()
    }

    /// The newest change; [`ChangeId::ZERO`] before the first.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.fold.position().last
    }

    /// The entry and the membership of the checkpoint that it began from.
    pub(super) fn checkpoint(&self) -> Option<(RaftLogId, StoredMembership)> {
        self.checkpoint.clone()
    }

    /// The checkpoint that it began from, as a file.
    pub(super) fn checkpointed(&self) -> Option<Arc<CheckpointedChanges>> {
        self.checkpointed.clone()
    }

    /// The position that it began at.
    pub(super) fn begun(&self) -> Position {
        self.begun
    }

    /// What the entries amount to.
    pub(super) fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The same, taken out, with what is left to be done.
    pub(super) fn into_parts(self) -> (Fold, Unsealed, Weights) {
        let batches = self.open.into_iter().map(|open| (open.index, open.batch)).collect();
        let given = self.sealed.iter().map(Arc::downgrade).collect();
        let Self { left: sealed, complete, ended, newest, fold, weights, .. } = self;
        (fold, Unsealed { batches, sealed, complete, ended, given, newest }, weights)
    }
}
