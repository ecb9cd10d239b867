//! What the bytes of the segments mean: which groups are sound, where the log
//! ends, and whether what does not check is a torn tail or damage. Pure.

use super::{
    Entry, Place, Sealed,
    cursor::is_zero,
    format::{
        Frame, Group, GroupFault, HardState, Rewritten, SegmentHeader, claimed_group, decode_group,
    },
    index::Indexed,
    table::Table,
};
use crate::base::{ids::LogId, planted::planted};
use crate::io::BLOCK;
use bytes::Bytes;
use std::collections::VecDeque;

/// Why reading a segment stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What was durable is damaged at this offset of the segment.
    Damage {
        /// The offset of the group or header that is not sound.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The owner refused an entry.
    Refused {
        /// The entry.
        id: LogId,
        /// What the owner said.
        reason: String,
    },
}

fn damage(offset: usize, reason: &'static str) -> Stop {
    Stop::Damage { offset, reason }
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The offset behind the last sound group.
    pub offset: usize,
    /// Whether a torn write lies there, to be cut.
    pub torn: bool,
}

/// Reads segments one after the other and keeps what they amount to.
#[derive(Debug)]
pub struct Recovery {
    /// Places of the entries.
    pub table: Table,
    /// The hard state of the last group.
    pub state: HardState,
    /// Entries that are not known to be committed, by ascending index.
    pub recent: VecDeque<Entry>,
    /// The number the next group must have.
    pub next_group: u64,
    /// The checksum the next group must continue.
    pub chain: u32,
    /// Whether the last group bears more than marks.
    pub ends_in_data: bool,
    /// Entries below this index are in no segment.
    floor: u64,
    /// Entries up to here are not handed out.
    skip_upto: Option<u64>,
    /// The last entry that an index tells to be committed.
    settled: Option<u64>,
}

impl Recovery {
    /// Starts with the oldest segment's header. `skip_upto` is the last purged
    /// index, when it is known.
    #[must_use]
    pub fn new(oldest: &SegmentHeader, skip_upto: Option<u64>) -> Self {
        Self {
            table: Table::starting_at(oldest.first_index),
            state: HardState::default(),
            recent: VecDeque::new(),
            next_group: oldest.first_group,
            chain: oldest.chain,
            ends_in_data: false,
            floor: oldest.first_index,
            skip_upto,
            settled: None,
        }
    }

    /// Whether `header` continues what was read so far.
    #[must_use]
    pub fn continues(&self, header: &SegmentHeader) -> bool {
        header.first_group == self.next_group
            && header.chain == self.chain
            && header.first_index == self.table.next()
    }

    /// Reads one segment, whose header was checked, and hands each entry that
    /// became committed to `replay`, in index order.
    ///
    /// # Errors
    /// [`Stop`]: damage, or a refusal of `replay`.
    pub fn segment(
        &mut self,
        header: &SegmentHeader,
        bytes: &Bytes,
        last: bool,
        replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
    ) -> Result<End, Stop> {
        let mut at = BLOCK;
        while at < bytes.len() {
            match decode_group(bytes, at, header.nonce) {
                Ok(group) => {
                    self.group(header.sequence, at, &group)?;
                    self.replay(replay)?;
                    at = group.end;
                }
                Err(GroupFault::Padding) => {
                    return Err(damage(at, "bytes behind a sound group are not zero"));
                }
                Err(GroupFault::Checksum) => break,
            }
        }
        let torn = self.torn_at(header, bytes, at, last)?;
        if let Some(Rewritten { ends, continues }) = header.rewritten {
            if self.chain != ends {
                return Err(damage(
                    at,
                    "the last group of a segment that was written anew is missing",
                ));
            }
            if last {
                return Err(damage(at, "the segment after one that was written anew is missing"));
            }
            self.chain = continues;
        }
        // What stays in memory must not keep the whole segment there.
        for entry in &mut self.recent {
            if self.table.place(entry.id.index).is_some_and(|p| p.segment == header.sequence) {
                entry.payload = Bytes::copy_from_slice(&entry.payload);
            }
        }
        Ok(End { offset: at, torn })
    }

    /// Hands entries that stand before a segment with an index to `replay`: they are committed.
    ///
    /// # Errors
    /// `replay` refused one.
    pub fn settle(
        &mut self,
        indexed: &Indexed,
        replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
    ) -> Result<(), Stop> {
        self.replay_upto(indexed.applied, replay)
    }

    /// Goes on with a complete segment by its index. What is before is settled.
    ///
    /// # Errors
    /// It does not follow.
    pub fn indexed(&mut self, indexed: Indexed) -> Result<(), Stop> {
        let Indexed { run, next_group, chain, state, kept, applied, .. } = indexed;
        // What is left was removed since.
        self.recent.clear();
        self.settled = self.settled.max(applied);
        if run.first() < run.next() {
            self.floor = self.floor.min(run.first());
        }
        if !self.table.follow(run, kept) {
            return Err(damage(0, "its index does not follow the segment before it"));
        }
        self.state(0, &state)?;
        (self.next_group, self.chain, self.state) = (next_group, chain, state);
        Ok(())
    }

    /// How a segment that was read to its end was left.
    #[must_use]
    pub fn sealed(&self, header: &SegmentHeader) -> Sealed {
        Sealed {
            nonce: header.nonce,
            next_group: self.next_group,
            chain: self.chain,
            state: self.state,
            ..self.table.sealed(header.sequence)
        }
    }

    /// Whether entries that were applied are known to be committed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled <= self.state.committed.map(index)
    }

    /// Decides what lies at `at`, where no sound group is: nothing, a torn
    /// write, or damage.
    fn torn_at(
        &self,
        header: &SegmentHeader,
        bytes: &Bytes,
        at: usize,
        last: bool,
    ) -> Result<bool, Stop> {
        if is_zero(bytes.get(at..).unwrap_or(&[])) {
            return Ok(false);
        }
        // One write is in flight at a time and a segment is left only when its
        // last write is durable, so anything later proves that this was whole.
        let later = |block: usize| {
            claimed_group(bytes, block, header.nonce).is_some_and(|n| n > self.next_group)
        };
        let followed = (at + BLOCK..bytes.len()).step_by(BLOCK).any(later);
        if !last || (followed && !planted!(CutLogAtCorruption)) {
            return Err(damage(at, "a group that was followed by others is not sound"));
        }
        Ok(true)
    }

    fn group(&mut self, sequence: u64, at: usize, group: &Group) -> Result<(), Stop> {
        if group.place.number != self.next_group || group.place.previous != self.chain {
            return Err(damage(at, "the group does not continue the one before it"));
        }
        for frame in &group.frames {
            match frame {
                Frame::Entry(entry, offset) => {
                    let bytes = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
                    let place = Place { segment: sequence, offset: *offset, bytes };
                    if !self.table.push(entry.id, place) {
                        return Err(damage(at, "an entry does not follow the one before it"));
                    }
                    self.recent.push_back(entry.clone());
                }
                Frame::Truncate(after) => self.truncate(at, *after)?,
            }
        }
        self.state(at, &group.state)?;
        let HardState { vote, purged, .. } = group.state;
        self.ends_in_data =
            !group.frames.is_empty() || self.state.vote != vote || self.state.purged != purged;
        self.state = group.state;
        self.next_group += 1;
        self.chain = group.checksum;
        Ok(())
    }

    fn truncate(&mut self, at: usize, after: Option<u64>) -> Result<(), Stop> {
        if self.state.committed.is_some_and(|id| after.is_none_or(|after| after < id.index)) {
            return Err(damage(at, "committed entries are removed"));
        }
        self.table.truncate(after);
        let next = after.map_or(0, |after| after + 1);
        self.floor = self.floor.min(next);
        while self.recent.back().is_some_and(|entry| entry.id.index >= next) {
            self.recent.pop_back();
        }
        Ok(())
    }

    /// Checks a group's marks against the entries and applies its purge.
    fn state(&mut self, at: usize, state: &HardState) -> Result<(), Stop> {
        if let Some(purged) = state.purged {
            self.table.purge(purged.index);
            while self.recent.front().is_some_and(|entry| entry.id.index <= purged.index) {
                self.recent.pop_front();
            }
        }
        let sound =
            state.committed.map_or(state.purged.is_none(), |id| id.index < self.table.next())
                && state.committed.map(index) >= self.state.committed.map(index)
                && state.purged.map(index) >= self.state.purged.map(index)
                && state.committed.map(index) >= state.purged.map(index);
        if sound { Ok(()) } else { Err(damage(at, "the marks of the group contradict its log")) }
    }

    fn replay(
        &mut self,
        replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
    ) -> Result<(), Stop> {
        self.replay_upto(self.state.committed.map(index), replay)
    }

    fn replay_upto(
        &mut self,
        committed: Option<u64>,
        replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
    ) -> Result<(), Stop> {
        while let Some(entry) = self.recent.pop_front_if(|e| Some(e.id.index) <= committed) {
            if self.skip_upto.is_some_and(|upto| entry.id.index <= upto) {
                continue;
            }
            let Some(place) = self.table.place(entry.id.index) else { continue };
            replay(&entry, place).map_err(|reason| Stop::Refused { id: entry.id, reason })?;
        }
        Ok(())
    }

    /// Whether entries that were never purged are missing below the oldest
    /// segment.
    #[must_use]
    pub fn misses_entries(&self) -> bool {
        self.floor > self.state.purged.map_or(0, |id| id.index + 1)
    }

    /// The last entry, purged ones included.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.table.last().or(self.state.purged)
    }
}

fn index(id: LogId) -> u64 {
    id.index
}
