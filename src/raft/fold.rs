//! Committed entries folded into the state, one after the other: the one way from
//! entries to what they amount to, for a node at work, at its start, and for a
//! checkpoint.

use openraft::{EntryPayload, entry::RaftEntry};

use std::{collections::VecDeque, io};

use super::{
    segment_index::SegmentIndex,
    standing::Standing,
    types::{Entry, RaftLogId, StoredMembership, from_log, highest_member},
};
use crate::{
    base::{batch::NumberedBatch, ids::NodeId, outcome::Decision, planted::planted},
    log,
    sections::Fault,
    state::{Noted, Position, Removed, SealedSegment, State, delta},
};

/// What the entries up to one of them amount to.
#[derive(Default)]
pub(super) struct Fold {
    state: State,
    standing: Standing,
    /// Where it stood after each segment that has no index file yet. Invariant: they ascend.
    ended: VecDeque<(u64, Standing)>,
    /// The segment that the last entry lies in.
    segment: u64,
    /// What stood at the end of the newest segment that was given away, or taken up.
    taken: Taken,
}

#[derive(Default)]
struct Taken {
    position: Position,
    known: usize,
    standing: Standing,
}

/// What one entry came to.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Its batch with the ids that it got, where it is one.
    pub(super) batch: Option<NumberedBatch>,
    /// How each command of it was decided; `None` when all are appends and all were
    /// accepted.
    pub(super) decisions: Option<Vec<Decision>>,
    /// What was taken out of the state and may take long to free.
    pub(super) removed: Vec<Removed>,
    /// It says who the members are.
    pub(super) is_membership: bool,
}

impl Fold {
    /// What a checkpoint says that the entries up to `applied` amount to.
    pub(super) fn from_checkpoint(
        state: State,
        applied: RaftLogId,
        membership: StoredMembership,
        highest: NodeId,
    ) -> Self {
        assert!(highest_member(&membership) <= highest, "no member has a number above the highest");
        let applied = Some(applied);
        let standing = Standing { applied, membership, highest, is_written: true };
        Self::whole(state, standing)
    }

    /// What another segment, and all before it, amount to by its index.
    pub(super) fn absorb(&mut self, index: &SegmentIndex) -> Result<(), Fault> {
        let lists = index.segment.as_ref().map(|segment| &**segment.lists());
        delta::absorb(&mut self.state, &index.sections, lists)?;
        self.standing = index.standing.clone();
        self.segment = index.log.run.segment();
        self.taken = Taken::of(&self.state, &self.standing);
        Ok(())
    }

    /// A whole state, and where Raft stood with it.
    pub(super) fn whole(state: State, standing: Standing) -> Self {
        let taken = Taken::of(&state, &standing);
        Self { state, standing, taken, ..Self::default() }
    }

    /// Has readers find the changes of a segment by its index.
    pub(super) fn seal(&self, segment: &SealedSegment) {
        self.state.index().seal(segment.sequence, segment.first(), segment.lists());
    }

    /// Gives away what was noted of a segment that is wholly applied, and where Raft stood after
    /// it: what it was before where no entry of it was applied.
    pub(super) fn take_ended(&mut self, segment: u64) -> (Noted, Standing) {
        let Some(noted) = self.state.take_noted(segment) else {
            let Taken { position, known, standing } = &self.taken;
            return (Noted::nothing(segment, *position, *known), standing.clone());
        };
        let mut found = None;
        while let Some((ended, standing)) = self.ended.pop_front_if(|(n, _)| *n <= segment) {
            found = Some(standing).filter(|_| ended == segment);
        }
        let standing = found.unwrap_or_else(|| self.standing.clone());
        let (position, known) = (noted.position, noted.known);
        self.taken = Taken { position, known, standing: standing.clone() };
        (noted, standing)
    }

    /// Takes in the next committed entry.
    pub(super) fn entry(&mut self, entry: Entry, segment: u64) -> Folded {
        let id = entry.log_id();
        if segment != self.segment {
            assert!(segment > self.segment, "entry {} goes back to segment {segment}", id.index);
            assert!(
                self.ended.back().is_none_or(|(ended, _)| *ended < self.segment),
                "segments end in order"
            );
            self.ended.push_back((self.segment, self.standing.clone()));
            self.state.begin_segment(segment);
            self.segment = segment;
        }
        let standing = &mut self.standing;
        if let Some(applied) = &standing.applied {
            assert!(
                id.index > applied.index,
                "entry {} is applied after {}",
                id.index,
                applied.index
            );
            assert!(
                id.leader_id >= applied.leader_id,
                "the term of entry {} is below that of the one before",
                id.index
            );
        }
        standing.applied = Some(id);
        match entry.payload {
            EntryPayload::Blank => Folded::default(),
            EntryPayload::Membership(membership) => {
                standing.membership = StoredMembership::new(Some(id), membership);
                standing.highest = standing.highest.max(highest_member(&standing.membership));
                Folded { is_membership: true, ..Folded::default() }
            }
            EntryPayload::Normal(command) => {
                standing.is_written = true;
                let applied = self.state.apply(command.0);
                Folded {
                    batch: Some(applied.batch),
                    decisions: applied.decisions,
                    removed: applied.removed,
                    is_membership: false,
                }
            }
        }
    }

    /// Takes in an entry as it is in the log, unless it is in already; gives its batch, where it is one.
    ///
    /// # Errors
    /// It does not follow the last one, or cannot be read.
    pub(super) fn go_on(
        &mut self,
        entry: &log::Entry,
        segment: u64,
    ) -> io::Result<Option<NumberedBatch>> {
        let (index, applied) = (entry.id.index, self.applied().map(|id| id.index));
        if applied.is_some_and(|applied| index <= applied) {
            return Ok(None);
        }
        let follows = applied.is_none_or(|applied| index == applied + 1);
        if !follows && !planted!(GiveWithoutEntry) {
            return Err(io::Error::other(format!("entry {index} does not follow {applied:?}")));
        }
        Ok(self.entry(from_log(entry)?, segment).batch)
    }

    /// Takes over that a snapshot stands for the entries up to `applied`: the state
    /// is that already.
    pub(super) fn covered(&mut self, applied: Option<RaftLogId>, membership: StoredMembership) {
        self.standing.highest = self.standing.highest.max(highest_member(&membership));
        self.standing.applied = applied;
        self.standing.membership = membership;
    }

    /// Forgets what was noted of segments before `segment`.
    pub(super) fn forget_ended(&mut self, segment: u64) {
        if !self.ended.is_empty() {
            self.ended.clear();
            self.state.take_noted(segment.saturating_sub(1));
            self.state.index().forget_segments(segment);
        }
    }

    /// Where Raft stands after the last entry.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How far the list goes.
    pub(super) fn position(&self) -> Position {
        self.state.position()
    }

    /// The last entry.
    pub(super) fn applied(&self) -> Option<RaftLogId> {
        self.standing.applied
    }

    pub(super) fn membership(&self) -> &StoredMembership {
        &self.standing.membership
    }

    /// The highest number that a member ever had.
    pub(super) fn highest(&self) -> NodeId {
        self.standing.highest
    }

    /// Whether a command was ever applied.
    pub(super) fn is_written(&self) -> bool {
        self.standing.is_written
    }
}

impl Taken {
    fn of(state: &State, standing: &Standing) -> Self {
        let (position, known) = (state.position(), state.index().idempotency().len());
        Self { position, known, standing: standing.clone() }
    }
}
