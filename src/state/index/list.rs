//! Going through one list in order: the whole one, a tenant's or a
//! collection's, all of it or what bears one of some tags.

use std::sync::Arc;

use uuid::Uuid;

use super::{collection::Collection, key::ListKey, span::Span, tenant::Tenant, whole::Index};
use crate::{base::ids::ChangeId, state::unread::Unread};

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

/// Bounds of a list that are known without looking into it.
#[derive(Clone, Debug)]
enum Bounds {
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
struct Run {
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
enum Sought {
    /// The lowest id of the list, or none up to the last.
    Found(Option<ChangeId>),
    /// Nothing up to this id.
    Nothing(ChangeId),
}

impl Run {
    fn new(key: ListKey, bounds: Bounds) -> Self {
        let (taken, at, take, known_to) = (Vec::new(), 0, TAKE_MIN, ChangeId::ZERO);
        Self { key, bounds, taken, at, take, known_to }
    }

    /// The lowest id that is at least `from`, if it is at most `last`. `from`
    /// must not go back.
    fn seek(&mut self, index: &Index, from: ChangeId, last: ChangeId) -> Result<Sought, Unread> {
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

/// Tags of which a change must bear at least one, as the index knows them.
pub type TagSet = [ListKey];

/// Finds the changes of a list, one after the other. Each id may be a change of the list: whether it bears a tag
/// is for whoever reads it to see, as tags may share a place in the index.
#[derive(Debug)]
pub struct Cursor {
    list: Option<Run>,
    /// Of each tag; none when all changes are wanted.
    tags: Vec<Run>,
}

/// Why a search stopped before it came to a change, or to the end.
pub enum Reached {
    /// All steps are used up: everything below this id was looked at.
    Id(ChangeId),
    /// Something must be loaded first, or is damaged.
    Unread(Unread),
}

impl From<Unread> for Reached {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl Cursor {
    /// Through a tenant's list.
    #[must_use]
    pub fn tenant(tenant: Arc<Tenant>, tags: &TagSet) -> Self {
        Self::new(Some(Run::new(tenant.id.into(), Bounds::Tenant(tenant))), tags)
    }

    /// Through a collection's list.
    #[must_use]
    pub fn collection(collection: Arc<Collection>, tags: &TagSet) -> Self {
        Self::new(Some(Run::new(collection.id.into(), Bounds::Collection(collection))), tags)
    }

    /// Through the changes of the whole list that bear one of `tags`.
    #[must_use]
    pub fn tagged(tags: &TagSet) -> Self {
        Self::new(None, tags)
    }

    fn new(list: Option<Run>, tags: &TagSet) -> Self {
        let tags = tags.iter().map(|tag| Run::new(*tag, Bounds::Unknown)).collect();
        Self { list, tags }
    }

    /// The next change of the list from `from` on, up to `last`; nothing when
    /// there is none. Stops when `steps` are used up.
    ///
    /// # Errors
    /// [`Reached`]
    pub fn next(
        &mut self,
        index: &Index,
        mut from: ChangeId,
        last: ChangeId,
        steps: &mut usize,
    ) -> Result<Option<ChangeId>, Reached> {
        loop {
            from = match self.look(index, from, last)? {
                Look::Done(found) => return Ok(found),
                Look::From(from) => from,
            };
            // Each of the lists was sought in.
            match steps.checked_sub(1 + self.tags.len()) {
                Some(left) => *steps = left,
                None => {
                    *steps = 0;
                    return Err(Reached::Id(from));
                }
            }
        }
    }

    fn look(&mut self, index: &Index, from: ChangeId, last: ChangeId) -> Result<Look, Unread> {
        let listed = match &mut self.list {
            None => Some(from),
            Some(list) => match list.seek(index, from, last)? {
                Sought::Found(found) => found,
                Sought::Nothing(reached) => return Ok(Look::From(reached.next())),
            },
        };
        let Some(listed) = listed.filter(|id| *id <= last) else { return Ok(Look::Done(None)) };
        if self.tags.is_empty() {
            return Ok(Look::Done(Some(listed)));
        }
        let (mut tagged, mut reached) = (None::<ChangeId>, last);
        for tag in &mut self.tags {
            match tag.seek(index, listed, last)? {
                Sought::Found(None) => {}
                Sought::Found(Some(id)) => {
                    tagged = Some(tagged.map_or(id, |lowest| lowest.min(id)))
                }
                Sought::Nothing(to) => reached = reached.min(to),
            }
        }
        Ok(match tagged.filter(|tagged| *tagged <= reached) {
            None if reached < last => Look::From(reached.next()),
            None => Look::Done(None),
            Some(tagged) if tagged == listed || self.list.is_none() => Look::Done(Some(tagged)),
            Some(tagged) => Look::From(tagged),
        })
    }

    /// Another through the same list, whatever tags its changes bear.
    #[must_use]
    pub fn whole(&self) -> Self {
        let list = self.list.as_ref().map(|list| Run::new(list.key, list.bounds.clone()));
        Self { list, tags: Vec::new() }
    }

    /// A change below which the list has none, if it is not the whole one.
    #[must_use]
    pub fn begins(&self) -> Option<ChangeId> {
        self.list.as_ref()?.bounds.span().map(Span::first)
    }
}

/// What one look came to.
enum Look {
    Done(Option<ChangeId>),
    /// It is to go on from here.
    From(ChangeId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::Missing;
    use crate::state::index::{Tail, lists};
    use proptest::prelude::*;
    use uuid::Uuid;

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

    /// Lists whose segments end now and then, some of them with an index file.
    struct Lists {
        index: Index,
        tenant: Arc<Tenant>,
        tail: Arc<Tail>,
        newest: u64,
    }

    impl Lists {
        fn new() -> Self {
            let (index, tail) = (Index::default(), Arc::new(Tail::new(1, ChangeId(1))));
            index.begin_segment(Arc::clone(&tail));
            let tenant = Arc::new(Tenant::new(Uuid::from_u128(7), "t"));
            Self { index, tenant, tail, newest: 0 }
        }

        fn note(&mut self, change: Listed) {
            note(&self.tail, &self.tenant, change);
            self.newest = change.id;
        }

        /// Ends the segment, and gives it an index file perhaps.
        fn end(&mut self, sealed: bool) {
            let tail = Tail::new(self.tail.segment + 1, ChangeId(self.newest + 1));
            let ended = std::mem::replace(&mut self.tail, Arc::new(tail));
            self.index.begin_segment(Arc::clone(&self.tail));
            if sealed {
                self.index.seal(ended.segment, ended.first, &lists::tests::sealed(&ended));
            }
        }
    }

    fn note(tail: &Tail, tenant: &Tenant, change: Listed) {
        let id = ChangeId(change.id);
        if change.tenant {
            tail.push(tenant.id.into(), id);
            tenant.span.extend(id);
        }
        for (n, spelling) in TAGS.into_iter().enumerate() {
            if change.tags & 1 << n != 0 {
                tail.push(ListKey::tag(spelling), id);
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

    fn cursor(tenant: &Arc<Tenant>, of_tenant: bool, tags: u8) -> Cursor {
        let tags: Vec<ListKey> =
            (0..TAGS.len()).filter(|n| tags & 1 << n != 0).map(|n| ListKey::tag(TAGS[n])).collect();
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
                Err(Reached::Id(reached)) => {
                    assert!(reached.0 > from, "it gets further whatever it may spend");
                    from = reached.0;
                    left = steps;
                }
                Err(Reached::Unread(Unread::Missing(Missing { map, range }, _))) => {
                    map.populate(range).unwrap();
                }
                Err(Reached::Unread(Unread::Damaged(damaged))) => panic!("{damaged}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_cursor_finds_what_a_scan_finds(
            all in changes(),
            queries in proptest::collection::vec(
                (any::<bool>(), 0u8..8, 0u64..3000, 0u64..4000, 0usize..4), 1..12),
            ends in proptest::collection::vec(0usize..300, 0..4),
        ) {
            let mut lists = Lists::new();
            for (n, change) in all.iter().enumerate() {
                lists.note(*change);
                if ends.contains(&(n % 300)) {
                    lists.end(n % 2 == 0);
                }
            }
            let Lists { index, tenant, .. } = lists;
            for (of_tenant, tags, from, last, steps) in queries {
                // Through all changes without tags there is nothing to look up.
                let of_tenant = of_tenant || tags == 0;
                let mut cursor = cursor(&tenant, of_tenant, tags);
                let oldest = all.iter().find(|change| change.tenant).map_or(0, |change| change.id);
                let begins = of_tenant.then_some(ChangeId(oldest));
                prop_assert_eq!(cursor.begins(), begins);
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
            let mut lists = Lists::new();
            let mut cursor = cursor(&lists.tenant, of_tenant, tags);
            let (mut noted, mut from, mut ids) = (0, 1, Vec::new());
            for (more, short) in stops {
                let until = all.len().min(noted + more);
                all[noted..until].iter().for_each(|change| lists.note(*change));
                noted = until;
                lists.end(more % 2 == 0);
                // A reader may know of less than the index holds.
                let newest = noted.checked_sub(1).map_or(0, |n| all[n].id);
                let last = newest.saturating_sub(short).max(from - 1);
                ids.extend(found(&mut cursor, &lists.index, from, last, 1));
                prop_assert_eq!(&ids, &scanned(&all, of_tenant, tags, 1, last));
                from = last + 1;
            }
        }
    }

    #[test]
    fn lists_that_alternate_use_up_steps_and_a_gap_is_leapt_over() {
        let listed = |id, tenant, tags| Listed { id, tenant, tags };
        let mut lists = Lists::new();
        // Of the even ones only, the tenant has none.
        for id in 1..=2000 {
            lists.note(listed(id, id % 2 == 1, 0));
            if id % 2 == 0 {
                lists.tail.push(ListKey::tag(b"even"), ChangeId(id));
            }
        }
        (2001..=50_000).for_each(|id| lists.note(listed(id, true, 0)));
        lists.note(listed(50_001, true, 2));
        let Lists { index, tenant, .. } = lists;
        let last = ChangeId(50_001);
        let mut apart = Cursor::tenant(Arc::clone(&tenant), &[ListKey::tag(b"even")]);
        let mut steps = 100;
        let reached = apart.next(&index, ChangeId(1), last, &mut steps);
        assert!(matches!(reached, Err(Reached::Id(ChangeId(102)))), "two lists, fifty places");
        assert_eq!(steps, 0);
        let mut far = cursor(&tenant, true, 2);
        assert!(
            matches!(far.next(&index, ChangeId(2001), last, &mut 2), Ok(Some(id)) if id == last)
        );
    }
}
