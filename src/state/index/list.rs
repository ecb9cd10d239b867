//! Going through one list in order: the whole one, a tenant's or a
//! collection's, all of it or what bears one of some tags.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    catalog::{Collection, Tenant},
    locks::share,
    whole::Index,
};
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
        // Where others set the pace, most of what is taken is passed over.
        if self.taken.last().is_some_and(|newest| from.0 > newest.0 + 1) {
            self.take = TAKE_MIN;
        }
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

/// Finds the changes of a list, one after the other. Each id may be a change of the list: whether it bears a tag
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
            // Each of the lists was sought in.
            match steps.checked_sub(1 + self.tags.len()) {
                Some(left) => *steps = left,
                None => {
                    *steps = 0;
                    return Err(from);
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::index::lock;
    use proptest::prelude::*;

    const TAGS: [&[u8]; 3] = [b"\"a\"", b"\"b\"", b"\"c\""];

    /// A change as the lists know it.
    #[derive(Clone, Copy, Debug)]
    struct Listed {
        id: u64,
        /// Whether the tenant's list has it.
        tenant: bool,
        /// Which of `TAGS` it bears, a bit for each.
        tags: u8,
    }

    /// Runs of changes of one kind, so that lists go apart for a while.
    fn changes() -> impl Strategy<Value = Vec<Listed>> {
        let run = (1u64..3, 1usize..150, any::<bool>(), 0u8..8);
        proptest::collection::vec(run, 0..20).prop_map(|runs| {
            let (mut changes, mut id) = (Vec::new(), 0);
            for (step, length, tenant, tags) in runs {
                for _ in 0..length {
                    id += step;
                    changes.push(Listed { id, tenant, tags });
                }
            }
            changes
        })
    }

    fn note(index: &Index, tenant: &Tenant, change: Listed) {
        let id = ChangeId(change.id);
        if change.tenant {
            lock(&tenant.changes).push(id);
        }
        for (n, spelling) in TAGS.into_iter().enumerate() {
            if change.tags & 1 << n != 0 {
                index.push_tag(index.tag(spelling), id);
            }
        }
    }

    /// What a cursor through the tenant's list, or through tags alone, is to find.
    fn scanned(all: &[Listed], of_tenant: bool, tags: u8, from: u64, last: u64) -> Vec<u64> {
        all.iter()
            .filter(|change| from <= change.id && change.id <= last)
            .filter(|change| !of_tenant || change.tenant)
            .filter(|change| tags == 0 || change.tags & tags != 0)
            .map(|change| change.id)
            .collect()
    }

    fn cursor(index: &Index, tenant: &Arc<Tenant>, of_tenant: bool, tags: u8) -> Cursor {
        let tags: Vec<u64> =
            (0..TAGS.len()).filter(|n| tags & 1 << n != 0).map(|n| index.tag(TAGS[n])).collect();
        match of_tenant {
            true => Cursor::tenant(Arc::clone(tenant), &tags),
            false => Cursor::tagged(&tags),
        }
    }

    /// All that `cursor` finds, going on where it stops for want of steps.
    fn found(
        cursor: &mut Cursor,
        index: &Index,
        mut from: u64,
        last: u64,
        steps: usize,
    ) -> Vec<u64> {
        let mut ids = Vec::new();
        let mut left = steps;
        loop {
            match cursor.next(index, ChangeId(from), ChangeId(last), &mut left) {
                Ok(None) => return ids,
                Ok(Some(id)) => {
                    ids.push(id.0);
                    from = id.0 + 1;
                }
                Err(reached) => {
                    assert!(reached.0 > from, "it gets further whatever it may spend");
                    from = reached.0;
                    left = steps;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_cursor_finds_what_a_scan_finds(
            all in changes(),
            queries in proptest::collection::vec(
                (any::<bool>(), 0u8..8, 0u64..3000, 0u64..4000, 0usize..4), 1..12),
        ) {
            let (index, tenant) = (Index::default(), Arc::new(Tenant::new(Uuid::nil(), "t")));
            all.iter().for_each(|change| note(&index, &tenant, *change));
            for (of_tenant, tags, from, last, steps) in queries {
                // Through all changes without tags there is nothing to look up.
                let of_tenant = of_tenant || tags == 0;
                let mut cursor = cursor(&index, &tenant, of_tenant, tags);
                let oldest = all.iter().find(|change| change.tenant).map(|change| ChangeId(change.id));
                prop_assert_eq!(cursor.first(ChangeId(1)), oldest.filter(|_| of_tenant));
                let ids = found(&mut cursor, &index, from, last, steps);
                prop_assert_eq!(ids, scanned(&all, of_tenant, tags, from, last));
            }
        }

        #[test]
        fn a_cursor_goes_on_in_a_list_that_grows(
            all in changes(),
            (of_tenant, tags) in (any::<bool>(), 1u8..8),
            stops in proptest::collection::vec((1usize..200, 0u64..100), 1..20),
        ) {
            let (index, tenant) = (Index::default(), Arc::new(Tenant::new(Uuid::nil(), "t")));
            let mut cursor = cursor(&index, &tenant, of_tenant, tags);
            let (mut noted, mut from, mut ids) = (0, 1, Vec::new());
            for (more, short) in stops {
                let until = all.len().min(noted + more);
                all[noted..until].iter().for_each(|change| note(&index, &tenant, *change));
                noted = until;
                // A reader may know of less than the index holds.
                let newest = noted.checked_sub(1).map_or(0, |n| all[n].id);
                let last = newest.saturating_sub(short).max(from - 1);
                ids.extend(found(&mut cursor, &index, from, last, 1));
                prop_assert_eq!(&ids, &scanned(&all, of_tenant, tags, 1, last));
                from = last + 1;
            }
        }
    }

    #[test]
    fn lists_that_alternate_use_up_steps_and_a_gap_is_leapt_over() {
        let listed = |id, tenant, tags| Listed { id, tenant, tags };
        let (index, tenant) = (Index::default(), Arc::new(Tenant::new(Uuid::nil(), "t")));
        (1..=2000).for_each(|id| note(&index, &tenant, listed(id, id % 2 == 1, 0)));
        (2001..=50_000).for_each(|id| note(&index, &tenant, listed(id, true, 0)));
        note(&index, &tenant, listed(50_001, true, 2));
        let last = ChangeId(50_001);
        // Of the even ones only, the tenant has none.
        (1..=1000).for_each(|n| index.push_tag(index.tag(b"even"), ChangeId(2 * n)));
        let mut apart = Cursor::tenant(Arc::clone(&tenant), &[index.tag(b"even")]);
        let mut steps = 100;
        let reached = apart.next(&index, ChangeId(1), last, &mut steps);
        assert_eq!((reached, steps), (Err(ChangeId(102)), 0), "two lists, fifty places");
        let mut far = cursor(&index, &tenant, true, 2);
        assert_eq!(far.next(&index, ChangeId(2001), last, &mut 2), Ok(Some(last)));
    }
}
