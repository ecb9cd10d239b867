//! Going through one list in order: the whole one, a tenant's or a
//! collection's, all of it or what bears one of some tags.

use std::sync::Arc;

use uuid::Uuid;

use super::{Collection, Index, Tenant, share};
use crate::base::ids::ChangeId;

/// Ids taken from the index at once: few at first, since most reads want few.
const TAKE_MIN: usize = 16;
const TAKE_MAX: usize = 256;

/// Names a list of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListId {
    /// Every change.
    #[default]
    All,
    /// A tenant's.
    Tenant(Uuid),
    /// A collection's.
    Collection(Uuid),
}

/// Where a run of ids comes from.
#[derive(Clone, Debug)]
enum Source {
    Tenant(Arc<Tenant>),
    Collection(Arc<Collection>),
    Tag(u64),
}

/// Ids of one source, some of them copied out.
#[derive(Debug)]
struct Run {
    source: Source,
    /// Ids copied and not passed yet, in `taken[at..]`.
    taken: Vec<ChangeId>,
    at: usize,
    take: usize,
    /// Nothing up to this id was left out of what was taken.
    known_to: ChangeId,
}

impl Run {
    fn new(source: Source) -> Self {
        Self { source, taken: Vec::new(), at: 0, take: TAKE_MIN, known_to: ChangeId::ZERO }
    }

    /// The lowest id that is at least `from`, if it is at most `last`. `from`
    /// must not go back.
    fn seek(&mut self, index: &Index, from: ChangeId, last: ChangeId) -> Option<ChangeId> {
        while self.taken.get(self.at).is_some_and(|id| *id < from) {
            // What was passed is not far: lists that are joined go in step.
            self.at += 1;
        }
        if self.at == self.taken.len() && self.known_to < last {
            self.refill(index, from, last);
        }
        self.taken.get(self.at).copied().filter(|id| *id <= last)
    }

    fn refill(&mut self, index: &Index, from: ChangeId, last: ChangeId) {
        self.taken.clear();
        self.at = 0;
        let (take, out) = (self.take, &mut self.taken);
        match &self.source {
            Source::Tenant(tenant) => share(&tenant.changes).copy_from(from, take, out),
            Source::Collection(collection) => {
                share(&collection.changes).copy_from(from, take, out);
            }
            Source::Tag(tag) => {
                if let Some(changes) = share(index.tag_shard(*tag)).get(tag) {
                    changes.copy_from(from, take, out);
                }
            }
        }
        let complete = self.taken.len() < self.take;
        self.known_to = if complete { last } else { self.taken[self.taken.len() - 1] };
        self.take = (2 * self.take).min(TAKE_MAX);
    }
}

/// Tags of which a change must bear at least one, as the index knows them.
pub type TagSet = [u64];

/// See the module. Each id may be a change of the list: whether it bears a tag
/// is for whoever reads it to see, as tags may share a place in the index.
#[derive(Debug)]
pub struct Cursor {
    list: Option<Run>,
    /// Of each tag; none when all changes are wanted.
    tags: Vec<Run>,
}

impl Cursor {
    /// Through a tenant's list.
    #[must_use]
    pub fn tenant(tenant: Arc<Tenant>, tags: &TagSet) -> Self {
        Self::new(Some(Source::Tenant(tenant)), tags)
    }

    /// Through a collection's list.
    #[must_use]
    pub fn collection(collection: Arc<Collection>, tags: &TagSet) -> Self {
        Self::new(Some(Source::Collection(collection)), tags)
    }

    /// Through the changes of the whole list that bear one of `tags`.
    #[must_use]
    pub fn tagged(tags: &TagSet) -> Self {
        Self::new(None, tags)
    }

    fn new(source: Option<Source>, tags: &TagSet) -> Self {
        let tags = tags.iter().map(|tag| Run::new(Source::Tag(*tag))).collect();
        Self { list: source.map(Run::new), tags }
    }

    /// The next change of the list from `from` on, up to `last`; nothing when
    /// there is none. Stops with `Err` and the id that was reached when
    /// `steps` are used up.
    ///
    /// # Errors
    /// See above: everything below the id was looked at.
    pub fn next(
        &mut self,
        index: &Index,
        mut from: ChangeId,
        last: ChangeId,
        steps: &mut usize,
    ) -> Result<Option<ChangeId>, ChangeId> {
        loop {
            let listed = match &mut self.list {
                None => Some(from),
                Some(list) => list.seek(index, from, last),
            };
            let Some(listed) = listed.filter(|id| *id <= last) else { return Ok(None) };
            if self.tags.is_empty() {
                return Ok(Some(listed));
            }
            let tagged = self.tags.iter_mut().filter_map(|tag| tag.seek(index, listed, last)).min();
            match tagged {
                None => return Ok(None),
                Some(tagged) if tagged == listed || self.list.is_none() => return Ok(Some(tagged)),
                Some(tagged) => from = tagged,
            }
            match steps.checked_sub(1) {
                Some(left) => *steps = left,
                None => return Err(from),
            }
        }
    }

    /// The oldest change of the list from `held` on, whatever its tags.
    #[must_use]
    pub fn first(&self, held: ChangeId) -> Option<ChangeId> {
        let mut first = Vec::with_capacity(1);
        match &self.list.as_ref()?.source {
            Source::Tenant(tenant) => share(&tenant.changes).copy_from(held, 1, &mut first),
            Source::Collection(collection) => {
                share(&collection.changes).copy_from(held, 1, &mut first);
            }
            Source::Tag(_) => {}
        }
        first.first().copied()
    }
}
