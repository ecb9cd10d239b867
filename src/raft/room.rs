//! Whether the logs of a quorum have room for an entry, as their leader hears with each answer.
//!
//! An entry that a leader has taken in and too few others have room for holds up everything after
//! it, changes of the members too, until one of them has. So it is not taken in.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::base::{ids::NodeId, timing::ROOM_PATIENCE};

/// Whether an entry may be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It fits the logs of a quorum, or too few are heard to tell.
    Enough,
    /// It does not at the moment, but a further segment may come any time.
    Unsure,
    /// It does not fit.
    Lacking,
}

/// What one node said last.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    /// Bytes of payload that surely fit; nothing when it lacks no segment.
    room: Option<u64>,
    /// Since when it lacks one.
    lacking_since: Option<Instant>,
}

/// What each other node said of its log last.
#[derive(Default)]
pub(super) struct RoomOfOthers(RefCell<BTreeMap<NodeId, Heard>>);

impl RoomOfOthers {
    /// Takes note of what a node says: `room` bytes of payload fit, where it lacks a segment.
    pub(super) fn note(&self, node: NodeId, room: Option<u64>, at: Instant) {
        let mut all = self.0.borrow_mut();
        let before = all.get(&node).and_then(|heard| heard.lacking_since);
        let lacking_since = room.map(|_| before.unwrap_or(at));
        all.insert(node, Heard { at, room, lacking_since });
    }

    /// Forgets the nodes that are not to be kept.
    pub(super) fn keep(&self, is_member: impl Fn(NodeId) -> bool) {
        self.0.borrow_mut().retain(|node, _| is_member(*node));
    }

    /// Whether `bytes` fit the logs of `needed` of these nodes. Who was not heard within `fresh` is
    /// not counted.
    pub(super) fn fits(
        &self,
        nodes: impl Iterator<Item = NodeId>,
        needed: usize,
        bytes: u64,
        (now, fresh): (Instant, Duration),
    ) -> Room {
        let all = self.0.borrow();
        let (mut heard, mut fit, mut may_fit) = (0, 0, 0);
        for said in nodes.filter_map(|node| all.get(&node)) {
            if now - said.at > fresh {
                continue;
            }
            let fits = said.room.is_none_or(|room| bytes <= room);
            let is_new = said.lacking_since.is_some_and(|since| now - since < ROOM_PATIENCE);
            heard += 1;
            fit += usize::from(fits);
            may_fit += usize::from(fits || is_new);
        }
        if heard < needed || fit >= needed {
            Room::Enough
        } else if may_fit >= needed {
            Room::Unsure
        } else {
            Room::Lacking
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(1);

    #[test]
    fn an_entry_needs_room_at_a_quorum_of_those_that_are_heard() {
        let (start, room) = (Instant::now(), RoomOfOthers::default());
        let later = start + ROOM_PATIENCE;
        let asked = |needed, bytes, now| room.fits([2, 3].into_iter(), needed, bytes, (now, FRESH));
        assert_eq!(asked(1, 10, start), Room::Enough, "nobody is heard: Raft will tell");
        room.note(2, Some(5), start);
        assert_eq!(asked(1, 5, start), Room::Enough);
        assert_eq!(asked(1, 6, start), Room::Unsure, "a segment may be made");
        room.note(2, Some(5), later);
        assert_eq!(asked(1, 6, later), Room::Lacking);
        assert_eq!(asked(2, 6, later), Room::Enough, "too few are heard");
        room.note(3, None, later);
        assert_eq!((asked(1, 6, later), asked(2, 6, later)), (Room::Enough, Room::Lacking));
        // Node 3 falls silent, and node 2 has a segment again.
        let much_later = later + 2 * FRESH;
        room.note(2, Some(5), much_later);
        assert_eq!(asked(1, 6, much_later), Room::Lacking);
        room.note(2, None, much_later);
        assert_eq!(asked(1, 6, much_later), Room::Enough);
        room.keep(|node| node != 2);
        assert_eq!(asked(1, 6, much_later), Room::Enough);
    }
}
