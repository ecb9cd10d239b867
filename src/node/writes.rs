//! The writes of one core that wait for their outcome: a slot each, found by
//! ticket.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::{base::outcome::Outcome, feed::Ticket};

enum Slot {
    Free,
    Waiting(Option<Waker>),
    /// Nobody waits for it any more; freed when its outcome arrives.
    Abandoned,
    Done(Outcome),
}

#[derive(Default)]
struct Inner {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Inner {
    fn release(&mut self, ticket: Ticket) {
        self.slots[ticket.0 as usize] = Slot::Free;
        self.free.push(ticket.0);
    }
}

/// The writes of one core that wait for their outcome. Clones share them. Their number is
/// bounded by the writes that were under way at once.
#[derive(Clone, Default)]
pub struct Writes(Rc<RefCell<Inner>>);

impl Writes {
    /// Opens a slot for a write that is about to be proposed.
    #[must_use]
    pub fn open(&self) -> PendingWrite {
        let mut inner = self.0.borrow_mut();
        let ticket = inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(Slot::Free);
            inner.slots.len() as u32 - 1
        });
        inner.slots[ticket as usize] = Slot::Waiting(None);
        PendingWrite { writes: self.clone(), ticket: Ticket(ticket), proposed: false }
    }

    /// Delivers an outcome.
    ///
    /// # Panics
    /// If nothing was proposed under this ticket.
    pub fn resolve(&self, ticket: Ticket, outcome: Outcome) {
        let mut inner = self.0.borrow_mut();
        let slot = &mut inner.slots[ticket.0 as usize];
        match std::mem::replace(slot, Slot::Done(outcome)) {
            Slot::Waiting(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Abandoned => inner.release(ticket),
            Slot::Free | Slot::Done(_) => panic!("an outcome without a write: {ticket:?}"),
        }
    }
}

/// A write under way; resolves to its outcome. Dropping it does not undo the
/// write.
pub struct PendingWrite {
    writes: Writes,
    ticket: Ticket,
    /// Whether an outcome will come for it.
    proposed: bool,
}

impl PendingWrite {
    /// Its name, for the proposal.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Notes that it was handed on, so that its slot waits for the outcome.
    #[must_use]
    pub fn proposed(mut self) -> Self {
        self.proposed = true;
        self
    }
}

impl Future for PendingWrite {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut inner = self.writes.0.borrow_mut();
        match &mut inner.slots[self.ticket.0 as usize] {
            Slot::Done(outcome) => Poll::Ready(*outcome),
            Slot::Waiting(Some(waker)) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            Slot::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Slot::Free | Slot::Abandoned => unreachable!("its slot lives as long as it"),
        }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        let mut inner = self.writes.0.borrow_mut();
        let slot = &mut inner.slots[self.ticket.0 as usize];
        if self.proposed && matches!(slot, Slot::Waiting(_)) {
            *slot = Slot::Abandoned;
        } else {
            inner.release(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::outcome::WriteError;

    const OUTCOME: Outcome = Err(WriteError::NoLeader);

    fn poll(write: &mut PendingWrite) -> Poll<Outcome> {
        Pin::new(write).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn outcomes_find_their_writes_and_slots_are_used_again() {
        let writes = Writes::default();
        let (mut one, two) = (writes.open().proposed(), writes.open().proposed());
        assert!(poll(&mut one).is_pending());
        writes.resolve(one.ticket(), OUTCOME);
        assert_eq!(poll(&mut one), Poll::Ready(OUTCOME));
        let ticket = two.ticket();
        drop(two);
        let three = writes.open();
        assert_ne!(three.ticket(), ticket, "an abandoned slot waits for its outcome");
        writes.resolve(ticket, OUTCOME);
        drop((one, three));
        let tickets: Vec<_> = (0..3).map(|_| writes.open()).collect();
        assert!(tickets.iter().all(|write| write.ticket().0 < 3));
    }

    #[test]
    fn a_write_never_handed_on_frees_its_slot_at_once() {
        let writes = Writes::default();
        let ticket = writes.open().ticket();
        assert_eq!(writes.open().ticket(), ticket);
    }
}
