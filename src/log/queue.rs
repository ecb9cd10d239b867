//! What waits to be written, in order, and how much of it makes the next group.
//! Pure.

use super::{
    Entry, Vote,
    format::{FrameRef, GROUP_HEAD_BYTES},
};
use crate::base::ids::LogId;
use crate::io::BLOCK;
use std::{collections::VecDeque, io};

/// Told once what became of an operation.
pub(super) type Done = Box<dyn FnOnce(io::Result<()>)>;

/// One step of the log.
pub(super) enum Op {
    /// Adds an entry.
    Entry(Entry),
    /// Ends the entries of one call.
    AppendDone(Done),
    /// Saves a vote.
    Vote(Vote, Done),
    /// Removes the entries after an index, or all.
    Truncate(Option<u64>, Done),
    /// Marks entries as purged.
    Purge(LogId, Done),
    /// Marks entries as committed. Lazy: it is written with what follows.
    Mark(LogId),
    /// Makes a group without data of its own.
    Flush(Done),
}

impl Op {
    /// The frame that stands for it, if it has one.
    pub(super) fn frame(&self) -> Option<FrameRef<'_>> {
        match self {
            Self::Entry(entry) => Some(FrameRef::Entry(entry)),
            Self::Truncate(after, _) => Some(FrameRef::Truncate(*after)),
            _ => None,
        }
    }

    fn frame_bytes(&self) -> usize {
        self.frame().map_or(0, |frame| frame.encoded_bytes())
    }

    /// Whether losing the group that bears it would lose something promised.
    pub(super) fn is_data(&self) -> bool {
        !matches!(self, Self::AppendDone(_) | Self::Mark(_) | Self::Flush(_))
    }

    pub(super) fn into_done(self) -> Option<Done> {
        match self {
            Self::Entry(_) | Self::Mark(_) => None,
            Self::AppendDone(done)
            | Self::Vote(_, done)
            | Self::Truncate(_, done)
            | Self::Purge(_, done)
            | Self::Flush(done) => Some(done),
        }
    }
}

/// Room for the next group, in bytes of the active segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// For a group with entries that carry something.
    pub(super) entries: u64,
    /// For one without; the reserve is part of it. An entry without a payload is what a
    /// new leader begins with: without it nothing that is there could be read.
    pub(super) others: u64,
    /// A group with entries stops growing here.
    pub(super) group_bytes: usize,
}

/// What the next group takes from the front of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Operations; 0 when not even the first one fits.
    pub(super) ops: usize,
    /// Bytes of their frames.
    pub(super) body: usize,
}

/// Operations in order. Invariant: two marks never stand side by side.
#[derive(Default)]
pub(super) struct Queue {
    ops: VecDeque<Op>,
    /// Operations other than marks.
    urgent: usize,
    /// Bytes of all frames.
    frame_bytes: u64,
    /// Operations that may each start a group of their own.
    calls: u64,
}

impl Queue {
    pub(super) fn push(&mut self, op: Op) {
        if let (Op::Mark(id), Some(Op::Mark(last))) = (&op, self.ops.back_mut()) {
            *last = *id;
            return;
        }
        self.urgent += usize::from(!matches!(op, Op::Mark(_)));
        self.frame_bytes += op.frame_bytes() as u64;
        self.calls += u64::from(!matches!(op, Op::Mark(_) | Op::Entry(_)));
        self.ops.push_back(op);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether something waits that must be written now.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent > 0
    }

    /// An upper bound of the bytes that writing all of it takes.
    pub(super) fn cost(&self, group_bytes: usize) -> u64 {
        let groups = self.calls + self.frame_bytes / group_bytes.max(1) as u64;
        self.frame_bytes + groups * (GROUP_HEAD_BYTES + BLOCK) as u64
    }

    /// How many operations the next group takes.
    pub(super) fn plan(&self, room: Room) -> Plan {
        let body_max = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            bytes.checked_sub(GROUP_HEAD_BYTES)
        };
        let mut plan = Plan { ops: 0, body: 0 };
        let mut data = false;
        for op in &self.ops {
            let room_max = match op {
                Op::Entry(entry) if !entry.payload.is_empty() => body_max(room.entries),
                _ => body_max(room.others),
            };
            let body = plan.body + op.frame_bytes();
            let grown = plan.body > 0 && body > room.group_bytes && op.frame_bytes() > 0;
            let trails = matches!(op, Op::Flush(_)) && data;
            if room_max.is_none_or(|most| body > most) || grown || trails {
                break;
            }
            plan = Plan { ops: plan.ops + 1, body };
            data |= op.is_data();
            // The entries after a purge may leave a gap, and a group's marks
            // count only after its frames.
            if matches!(op, Op::Purge(..)) {
                break;
            }
        }
        plan
    }

    /// Takes the first `count` operations.
    pub(super) fn take(&mut self, count: usize) -> Vec<Op> {
        let taken: Vec<Op> = self.ops.drain(..count).collect();
        for op in &taken {
            self.urgent -= usize::from(!matches!(op, Op::Mark(_)));
            self.frame_bytes -= op.frame_bytes() as u64;
            self.calls -= u64::from(!matches!(op, Op::Mark(_) | Op::Entry(_)));
        }
        let are_marks = |pair: &[Op]| matches!(pair, [Op::Mark(_), Op::Mark(_)]);
        assert!(!taken.windows(2).any(are_marks), "marks merge");
        let nothing = self.urgent == 0 && self.frame_bytes == 0 && self.calls == 0;
        assert!(!self.ops.is_empty() || nothing, "what is counted is what waits");
        taken
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> Vec<Op> {
        self.take(self.ops.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::FRAME_HEAD_BYTES;
    use bytes::Bytes;

    fn entry(bytes: usize) -> Op {
        let payload = Bytes::from(vec![0; bytes]);
        Op::Entry(Entry { id: LogId::default(), kind: 0, payload })
    }

    fn done() -> Done {
        Box::new(|_| {})
    }

    fn queue(ops: impl IntoIterator<Item = Op>) -> Queue {
        let mut queue = Queue::default();
        for op in ops {
            queue.push(op);
        }
        queue
    }

    fn room(entries: u64, group_bytes: usize) -> Room {
        Room { entries, others: entries + BLOCK as u64, group_bytes }
    }

    #[test]
    fn a_group_stops_at_its_size_but_takes_one_larger_entry() {
        let waiting = queue([entry(100), entry(100), entry(5000), entry(100)]);
        let plan = waiting.plan(room(1 << 20, 300));
        assert_eq!(plan, Plan { ops: 2, body: 2 * (100 + FRAME_HEAD_BYTES) });
        let waiting = queue([entry(5000), entry(1)]);
        assert_eq!(waiting.plan(room(1 << 20, 300)).ops, 1);
    }

    #[test]
    fn the_reserve_is_for_what_is_not_an_entry() {
        let vote = Vote { term: 1, node: 1, committed: false };
        assert_eq!(queue([entry(10)]).plan(room(0, 4096)).ops, 0);
        assert_eq!(queue([Op::Vote(vote, done())]).plan(room(0, 4096)).ops, 1);
        let begin = [entry(0), Op::AppendDone(done()), entry(1)];
        assert_eq!(queue(begin).plan(room(0, 4096)).ops, 2, "a leader's first entry");
    }

    #[test]
    fn a_flushing_group_stands_alone_and_a_purge_ends_its_group() {
        let waiting = queue([entry(1), Op::AppendDone(done()), Op::Flush(done())]);
        assert_eq!(waiting.plan(room(1 << 20, 4096)).ops, 2);
        let id = LogId { term: 1, index: 9 };
        let waiting = queue([Op::Mark(id), Op::Flush(done()), entry(1)]);
        assert_eq!(waiting.plan(room(1 << 20, 4096)).ops, 3);
        let waiting = queue([Op::Purge(id, done()), entry(1)]);
        assert_eq!(waiting.plan(room(1 << 20, 4096)).ops, 1);
    }

    #[test]
    fn marks_merge_and_do_not_press() {
        let at = |index| LogId { term: 1, index };
        let mut waiting = queue([Op::Mark(at(1)), Op::Mark(at(2))]);
        assert!(!waiting.is_urgent());
        assert!(matches!(waiting.take_all().as_slice(), [Op::Mark(id)] if *id == at(2)));
        assert_eq!(waiting.cost(4096), 0);
    }
}
