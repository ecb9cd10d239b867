//! The ids of one list, copied out of the index some at a time.

use std::sync::Arc;

use super::{collection::Collection, key::ListKey, span::Span, tenant::Tenant, whole::Index};
use crate::{base::ids::ChangeId, state::unread::Unread};

/// Ids taken from the index at once: few at first, since most reads want few.
const TAKE_MIN: usize = 16;
const TAKE_MAX: usize = 256;

/// Bounds of a list that are known without looking into it.
#[derive(Clone, Debug)]
pub(super) enum Bounds {
    Tenant(Arc<Tenant>),
    Collection(Arc<Collection>),
    /// A tag's: none.
    Unknown,
}

impl Bounds {
    fn span(&self) -> Option<&Span> {
        match self {
            Self::Tenant(tenant) => Some(&tenant.span),
            Self::Collection(collection) => Some(&collection.span),
            Self::Unknown => None,
        }
    }
}

/// Ids of one list, some of them copied out.
#[derive(Debug)]
pub(super) struct Run {
    key: ListKey,
    bounds: Bounds,
    /// Ids copied and not passed yet, in `taken[at..]`.
    taken: Vec<ChangeId>,
    at: usize,
    take: usize,
    /// Nothing up to this id was left out of what was taken.
    known_to: ChangeId,
}

/// How far a search came.
pub(super) enum Sought {
    /// The lowest id of the list, or none up to the last.
    Found(Option<ChangeId>),
    /// Nothing up to this id.
    Nothing(ChangeId),
}

impl Run {
    pub(super) fn new(key: ListKey, bounds: Bounds) -> Self {
        let (taken, at, take, known_to) = (Vec::new(), 0, TAKE_MIN, ChangeId::ZERO);
        Self { key, bounds, taken, at, take, known_to }
    }

    /// Another through the same list from its beginning.
    pub(super) fn again(&self) -> Self {
        Self::new(self.key, self.bounds.clone())
    }

    /// The first change that the list ever had, where that is known.
    pub(super) fn begins(&self) -> Option<ChangeId> {
        self.bounds.span().map(Span::first)
    }

    /// The lowest id that is at least `from`, if it is at most `last`. `from`
    /// must not go back.
    pub(super) fn seek(
        &mut self,
        index: &Index,
        from: ChangeId,
        last: ChangeId,
    ) -> Result<Sought, Unread> {
        while self.taken.get(self.at).is_some_and(|id| *id < from) {
            // What was passed is not far: lists that are joined go in step.
            self.at += 1;
        }
        if self.at == self.taken.len() && self.known_to < last {
            self.refill(index, from, last)?;
        }
        Ok(match self.taken.get(self.at) {
            Some(id) => Sought::Found(Some(*id).filter(|id| *id <= last)),
            None if self.known_to < last => Sought::Nothing(self.known_to),
            None => Sought::Found(None),
        })
    }

    fn refill(&mut self, index: &Index, from: ChangeId, last: ChangeId) -> Result<(), Unread> {
        // Where others set the pace, most of what is taken is passed over.
        if self.taken.last().is_some_and(|newest| from.0 > newest.0 + 1) {
            self.take = TAKE_MIN;
        }
        self.taken.clear();
        self.at = 0;
        let mut from = from.max(self.known_to.next());
        if let Some(span) = self.bounds.span() {
            if span.last() < from {
                self.known_to = last;
                return Ok(());
            }
            from = from.max(span.first());
        }
        let (take, out) = (self.take, &mut self.taken);
        self.known_to = index.copy_from(self.key, from, last, take, out)?;
        self.take = (2 * self.take).min(TAKE_MAX);
        Ok(())
    }
}
