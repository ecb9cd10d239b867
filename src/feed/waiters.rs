//! Long-polls parked on one core: each waits for a change beyond its `since`
//! and costs one slot. A commit wakes those it concerns and nobody else.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::base::ids::ChangeId;

#[derive(Default)]
struct Inner {
    /// The newest change that waiters were told of.
    last: ChangeId,
    /// By what they wait for, then by number. Invariant: each key's `since` is
    /// at least `last`; whoever waited for less was woken and taken out.
    waiting: BTreeMap<(ChangeId, u64), Waker>,
    next: u64,
}

/// The waiters of one core.
#[derive(Clone, Default)]
pub struct Waiters(Rc<RefCell<Inner>>);

impl Waiters {
    /// Waits for a change with an id above `since`.
    #[must_use]
    pub fn beyond(&self, since: ChangeId) -> Wait {
        Wait { waiters: self.clone(), since, number: None }
    }

    /// Wakes all that wait for something up to `last`.
    pub fn advance(&self, last: ChangeId) {
        let woken = {
            let mut inner = self.0.borrow_mut();
            inner.last = inner.last.max(last);
            // Those with a `since` of `last` or more go on waiting.
            let told = inner.last;
            let waiting = inner.waiting.split_off(&(told, 0));
            std::mem::replace(&mut inner.waiting, waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

/// Resolves once there is a change beyond its `since`. Dropping it frees its
/// slot at once.
pub struct Wait {
    waiters: Waiters,
    since: ChangeId,
    number: Option<u64>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut inner = this.waiters.0.borrow_mut();
        if inner.last > this.since {
            return Poll::Ready(());
        }
        let number = *this.number.get_or_insert_with(|| {
            inner.next += 1;
            inner.next
        });
        match inner.waiting.entry((this.since, number)) {
            std::collections::btree_map::Entry::Occupied(mut slot) => {
                slot.get_mut().clone_from(cx.waker());
            }
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.waiters.0.borrow_mut().waiting.remove(&(self.since, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(waiters: &Waiters) -> usize {
        waiters.0.borrow().waiting.len()
    }

    fn poll(wait: &mut Wait) -> Poll<()> {
        Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_those_behind_the_new_change_are_woken() {
        let waiters = Waiters::default();
        waiters.advance(ChangeId(5));
        let mut past = waiters.beyond(ChangeId(4));
        assert!(poll(&mut past).is_ready(), "what is there needs no waiting");
        let mut next = waiters.beyond(ChangeId(5));
        let mut far = waiters.beyond(ChangeId(9));
        assert!(poll(&mut next).is_pending() && poll(&mut far).is_pending());
        assert_eq!(waiting(&waiters), 2);
        waiters.advance(ChangeId(6));
        assert_eq!(waiting(&waiters), 1);
        assert!(poll(&mut next).is_ready() && poll(&mut far).is_pending());
        waiters.advance(ChangeId(9));
        assert!(poll(&mut far).is_pending());
        waiters.advance(ChangeId(10));
        assert!(poll(&mut far).is_ready());
    }

    #[test]
    fn a_dropped_waiter_frees_its_slot() {
        let waiters = Waiters::default();
        let mut waits: Vec<_> = (0..100).map(|_| waiters.beyond(ChangeId(3))).collect();
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        assert_eq!(waiting(&waiters), 100);
        waits.truncate(1);
        assert_eq!(waiting(&waiters), 1);
        waits.clear();
        assert_eq!(waiting(&waiters), 0);
    }
}
