//! How many connections of other nodes are open at once. Each member has places
//! of its own, and so has whoever is no member or has not said yet who it is:
//! strangers take no place from members. Where all are taken, the connection
//! that has its place longest gives way to the new one, so that neither silent
//! strangers nor connections whose other end is long gone lock anybody out.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::base::ids::NodeId;

/// Connections of those who are no members, or have not said who they are.
const STRANGERS_MAX: usize = 128;
/// Connections of each member: it needs one for each lane, and few besides.
const MEMBER_MAX: usize = 32;

/// Ends a connection.
type End = Rc<dyn Fn()>;

/// Who has a place: a member, or any stranger.
type Holder = Option<NodeId>;

#[derive(Default)]
struct Inner {
    /// By holder, the oldest first.
    ///
    /// Invariant: of each no more than it may have, and none without.
    taken: BTreeMap<Holder, VecDeque<(u64, End)>>,
    next: u64,
}

impl Inner {
    /// Takes a place; gives back how to end the connection that had it, if one did.
    fn take(&mut self, holder: Holder, id: u64, end: End) -> Option<End> {
        let most = if holder.is_some() { MEMBER_MAX } else { STRANGERS_MAX };
        let taken = self.taken.entry(holder).or_default();
        let oldest = if taken.len() >= most { taken.pop_front() } else { None };
        taken.push_back((id, end));
        assert!(taken.len() <= most, "{holder:?} has more places than there are");
        oldest.map(|(_, end)| end)
    }

    fn give_back(&mut self, holder: Holder, id: u64) -> Option<End> {
        let taken = self.taken.get_mut(&holder)?;
        let at = taken.iter().position(|(other, _)| *other == id)?;
        let (_, end) = taken.remove(at)?;
        if taken.is_empty() {
            self.taken.remove(&holder);
        }
        Some(end)
    }
}

/// The places of a node. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Places(Rc<RefCell<Inner>>);

/// The place of one connection, until it is dropped.
pub(super) struct Place {
    places: Places,
    holder: Holder,
    id: u64,
}

impl Places {
    /// The place of a connection that has not said yet who it is. `end` ends it.
    pub(super) fn enter(&self, end: impl Fn() + 'static) -> Place {
        let mut inner = self.0.borrow_mut();
        let id = inner.next;
        inner.next += 1;
        let oldest = inner.take(None, id, Rc::new(end));
        drop(inner);
        if let Some(end) = oldest {
            tracing::debug!("the oldest connection of a stranger gives way to a new one");
            end();
        }
        Place { places: self.clone(), holder: None, id }
    }
}

impl Places {
    /// Ends all connections of a member.
    pub(super) fn end(&self, member: NodeId) {
        let ended = self.0.borrow_mut().taken.remove(&Some(member));
        ended.into_iter().flatten().for_each(|(_, end)| end());
    }
}

impl Place {
    /// The connection is that of a member.
    pub(super) fn belongs_to(&mut self, member: NodeId) {
        let mut inner = self.places.0.borrow_mut();
        // It may have given way already, and ends.
        let Some(end) = inner.give_back(self.holder, self.id) else { return };
        self.holder = Some(member);
        let oldest = inner.take(self.holder, self.id, end);
        drop(inner);
        if let Some(end) = oldest {
            end();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.borrow_mut().give_back(self.holder, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that were ended, by number.
    type Ended = Rc<RefCell<Vec<usize>>>;

    fn enter(places: &Places, ended: &Ended, number: usize) -> Place {
        let ended = Rc::clone(ended);
        places.enter(move || ended.borrow_mut().push(number))
    }

    #[test]
    fn the_oldest_stranger_gives_way_and_no_member_does() {
        let (places, ended) = (Places::default(), Ended::default());
        let mut members: Vec<_> = (0..4).map(|n| enter(&places, &ended, n)).collect();
        members.iter_mut().for_each(|place| place.belongs_to(2));
        let strangers: Vec<_> =
            (10..10 + STRANGERS_MAX).map(|n| enter(&places, &ended, n)).collect();
        assert!(ended.borrow().is_empty(), "there is a place for each");
        let more: Vec<_> = (900..903).map(|n| enter(&places, &ended, n)).collect();
        assert_eq!(*ended.borrow(), [10, 11, 12]);
        drop((strangers, more, members));
        assert!(places.0.borrow().taken.is_empty(), "all places are given back");
    }

    #[test]
    fn a_member_has_its_places_and_takes_none_of_another() {
        let (places, ended) = (Places::default(), Ended::default());
        let mut other = enter(&places, &ended, 0);
        other.belongs_to(3);
        let mut all: Vec<_> = (1..=MEMBER_MAX + 1).map(|n| enter(&places, &ended, n)).collect();
        all.iter_mut().for_each(|place| place.belongs_to(2));
        assert_eq!(*ended.borrow(), [1]);
        // A place that was given up is free for the next.
        drop(all.pop());
        let mut next = enter(&places, &ended, 100);
        next.belongs_to(2);
        assert_eq!(*ended.borrow(), [1]);
    }
}
