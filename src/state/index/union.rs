//! Several lists as one: their changes in order, each once.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    run::{Run, Sought},
    whole::Index,
};
use crate::{base::ids::ChangeId, state::unread::Unread};

/// The lists of several tenants and collections. The one that may have the lowest change stands on top of
/// a heap, so a step costs one list and not all of them.
#[derive(Debug)]
pub(super) struct Union {
    runs: Vec<Floored>,
    /// What is known of each list. Invariant: it has one entry for each of `runs`.
    next: BinaryHeap<Reverse<Next>>,
    /// How many lists the last search looked into.
    sought: usize,
}

/// A list of which nothing below a change is wanted.
#[derive(Debug)]
struct Floored {
    run: Run,
    floor: ChangeId,
}

/// What is known of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    /// It has nothing below this that was not passed.
    id: ChangeId,
    /// Its number.
    run: usize,
    /// It has a change with this id.
    found: bool,
}

impl Union {
    /// Of lists with the lowest change that is wanted of each.
    pub(super) fn new(lists: impl IntoIterator<Item = (Run, ChangeId)>) -> Self {
        let runs: Vec<Floored> =
            lists.into_iter().map(|(run, floor)| Floored { run, floor }).collect();
        let next =
            |(run, list): (usize, &Floored)| Reverse(Next { id: list.floor, run, found: false });
        let next = runs.iter().enumerate().map(next).collect();
        Self { runs, next, sought: 0 }
    }

    /// Another through the same lists from their beginnings.
    pub(super) fn again(&self) -> Self {
        Self::new(self.runs.iter().map(|list| (list.run.again(), list.floor)))
    }

    /// How many lists the last search looked into, at least one.
    pub(super) fn sought(&self) -> usize {
        self.sought.max(1)
    }

    /// The lowest id of any list that is at least `from`, if it is at most `last`. `from` must
    /// not go back.
    pub(super) fn seek(
        &mut self,
        index: &Index,
        from: ChangeId,
        last: ChangeId,
    ) -> Result<Sought, Unread> {
        assert_eq!(self.next.len(), self.runs.len(), "each list has its place in the heap");
        self.sought = 0;
        loop {
            let Some(mut top) = self.next.peek_mut() else { return Ok(Sought::Found(None)) };
            let Next { id, run, found } = top.0;
            if id > last {
                return Ok(Sought::Found(None));
            }
            if found && id >= from {
                return Ok(Sought::Found(Some(id)));
            }
            self.sought += 1;
            let (id, found) = match self.runs[run].run.seek(index, id.max(from), last)? {
                Sought::Found(Some(id)) => (id, true),
                Sought::Found(None) => (last.next(), false),
                Sought::Nothing(reached) => (reached.next(), false),
            };
            // It sinks to its place when it is let go.
            top.0 = Next { id, run, found };
        }
    }
}
