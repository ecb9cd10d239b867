//! Going through a list in order: the whole one, a tenant's or a collection's, or several
//! of these as one; all of it, or what bears one of some tags.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    collection::Collection,
    key::ListKey,
    run::{Bounds, Run, Sought},
    tenant::Tenant,
    union::Union,
    whole::Index,
};
use crate::{base::ids::ChangeId, state::unread::Unread};

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

/// A tenant or a collection whose list a [`Cursor`] goes through beside others.
#[derive(Clone, Debug)]
pub enum ListOf {
    /// A tenant.
    Tenant(Arc<Tenant>),
    /// A collection.
    Collection(Arc<Collection>),
}

/// Tags of which a change must bear at least one, as the index knows them.
pub type TagSet = [ListKey];

/// Finds the changes of a list, one after the other. Each id may be a change of the list: whether it bears a tag
/// is for whoever reads it to see, as tags may share a place in the index.
#[derive(Debug)]
pub struct Cursor {
    list: Listed,
    /// Of each tag; none when all changes are wanted.
    tags: Vec<Run>,
}

/// What a cursor goes through.
#[derive(Debug)]
enum Listed {
    /// Every change.
    All,
    /// The changes of one tenant or collection.
    One(Run),
    /// Those of any of several.
    Any(Union),
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
        Self::new(Listed::One(Run::new(tenant.id.into(), Bounds::Tenant(tenant))), tags)
    }

    /// Through a collection's list.
    #[must_use]
    pub fn collection(collection: Arc<Collection>, tags: &TagSet) -> Self {
        Self::new(Listed::One(Run::new(collection.id.into(), Bounds::Collection(collection))), tags)
    }

    /// Through the changes of the whole list that bear one of `tags`.
    #[must_use]
    pub fn tagged(tags: &TagSet) -> Self {
        Self::new(Listed::All, tags)
    }

    /// Through the lists of several tenants and collections as one: each change once, in order. Of
    /// each list only what is not below its `floor`, the oldest change that it may still have.
    #[must_use]
    pub fn any(lists: impl IntoIterator<Item = (ListOf, ChangeId)>, tags: &TagSet) -> Self {
        let run = |(part, floor)| match part {
            ListOf::Tenant(tenant) => (Run::new(tenant.id.into(), Bounds::Tenant(tenant)), floor),
            ListOf::Collection(collection) => {
                (Run::new(collection.id.into(), Bounds::Collection(collection)), floor)
            }
        };
        Self::new(Listed::Any(Union::new(lists.into_iter().map(run))), tags)
    }

    fn new(list: Listed, tags: &TagSet) -> Self {
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
            match steps.checked_sub(self.list.sought() + self.tags.len()) {
                Some(left) => *steps = left,
                None => {
                    *steps = 0;
                    return Err(Reached::Id(from));
                }
            }
        }
    }

    fn look(&mut self, index: &Index, from: ChangeId, last: ChangeId) -> Result<Look, Unread> {
        let sought = match &mut self.list {
            Listed::All => Sought::Found(Some(from)),
            Listed::One(list) => list.seek(index, from, last)?,
            Listed::Any(lists) => lists.seek(index, from, last)?,
        };
        let listed = match sought {
            Sought::Found(found) => found,
            Sought::Nothing(reached) => return Ok(Look::From(reached.next())),
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
            Some(tagged) if tagged == listed || matches!(self.list, Listed::All) => {
                Look::Done(Some(tagged))
            }
            Some(tagged) => Look::From(tagged),
        })
    }

    /// Another through the same list from its beginning.
    #[must_use]
    pub fn again(&self) -> Self {
        let tags = self.tags.iter().map(Run::again).collect();
        Self { tags, ..self.whole() }
    }

    /// Another through the same list, whatever tags its changes bear.
    #[must_use]
    pub fn whole(&self) -> Self {
        let list = match &self.list {
            Listed::All => Listed::All,
            Listed::One(list) => Listed::One(list.again()),
            Listed::Any(lists) => Listed::Any(lists.again()),
        };
        Self { list, tags: Vec::new() }
    }

    /// The first change that one tenant or collection ever had, where this goes through its list
    /// alone.
    #[must_use]
    pub fn begins(&self) -> Option<ChangeId> {
        match &self.list {
            Listed::One(list) => list.begins(),
            Listed::All | Listed::Any(_) => None,
        }
    }
}

impl Listed {
    /// How many lists were sought in at the last look.
    fn sought(&self) -> usize {
        match self {
            Self::All | Self::One(_) => 1,
            Self::Any(lists) => lists.sought(),
        }
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
        fn several_lists_are_found_as_one(
            changes in proptest::collection::vec((1u64..4, 0u8..16, 0u8..8), 0..1500),
            floors in proptest::collection::vec(0u64..2000, 4),
            (lists, tags) in (1u8..16, 0u8..8),
            stops in proptest::collection::vec((1usize..700, 0usize..9), 1..6),
        ) {
            let tenants: Vec<_> =
                (10..14).map(|n| Arc::new(Tenant::new(Uuid::from_u128(n), "t"))).collect();
            let is_in = |set: u8, n: usize| set & 1 << n != 0;
            let mut all = Lists::new();
            let keys: Vec<ListKey> =
                (0..TAGS.len()).filter(|n| is_in(tags, *n)).map(|n| ListKey::tag(TAGS[n])).collect();
            let wanted = (0..4).filter(|n| is_in(lists, *n));
            let parts = wanted.map(|n| {
                (ListOf::Tenant(Arc::clone(&tenants[n])), ChangeId(floors[n]))
            });
            let mut cursor = Cursor::any(parts, &keys);
            let (mut id, mut noted, mut from) = (0, 0, 1);
            let (mut want, mut ids) = (Vec::new(), Vec::new());
            for (more, steps) in stops {
                for (step, of, own) in changes.iter().skip(noted).take(more).copied() {
                    id += step;
                    for (_, tenant) in tenants.iter().enumerate().filter(|(n, _)| is_in(of, *n)) {
                        all.tail.push(tenant.id.into(), ChangeId(id));
                        tenant.span.extend(ChangeId(id));
                    }
                    all.note(Listed { id, tenant: false, tags: own });
                    let listed = (0..4).any(|n| is_in(lists & of, n) && id >= floors[n]);
                    if listed && (tags == 0 || own & tags != 0) {
                        want.push(id);
                    }
                }
                noted += more;
                ids.extend(found(&mut cursor, &all.index, from, id, steps));
                from = id + 1;
                prop_assert_eq!(&ids, &want);
                if more % 3 == 0 {
                    all.end(more % 2 == 0);
                }
            }
            let again = found(&mut cursor.again(), &all.index, 1, id, 3);
            prop_assert_eq!(again, want);
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
