//! The deadlines of all connections of one core: one slot each and one task for
//! all, so that moving a deadline costs a store and no timer is armed for it.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use glommio::timer::Timer;

/// Deadlines are noticed at most this late.
const GRANULARITY: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Slot {
    deadline: Option<Instant>,
    /// The deadline was found to have passed; so tasks need not ask the clock.
    passed: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Inner {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// When the sweeper looks next; `None` while it waits to be told.
    next_sweep: Option<Instant>,
    sweeper: Option<Waker>,
}

/// See the module. Clones share the slots.
#[derive(Clone, Default)]
pub struct Deadlines(Rc<RefCell<Inner>>);

impl Deadlines {
    /// A slot without a deadline.
    #[must_use]
    pub fn register(&self) -> Deadline {
        let mut inner = self.0.borrow_mut();
        let slot = inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(Slot::default());
            inner.slots.len() - 1
        });
        Deadline { deadlines: self.clone(), slot }
    }

    /// Wakes every task that waits for its deadline.
    pub fn wake_all(&self) {
        let mut inner = self.0.borrow_mut();
        inner.slots.iter_mut().filter_map(|slot| slot.waker.take()).for_each(Waker::wake);
    }

    /// Wakes tasks whose deadline has passed, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            let next = self.sweep(Instant::now());
            let moved = poll_fn(|cx| self.poll_moved(cx, next));
            match next {
                None => moved.await,
                Some(next) => {
                    let wait = next.saturating_duration_since(Instant::now()).max(GRANULARITY);
                    match select(Timer::new(wait), std::pin::pin!(moved)).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
            }
        }
    }

    /// Wakes what is due and returns the earliest deadline left.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.0.borrow_mut();
        let mut next: Option<Instant> = None;
        for slot in &mut inner.slots {
            let Some(deadline) = slot.deadline.filter(|_| !slot.passed) else { continue };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            slot.passed = true;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        inner.next_sweep = next;
        next
    }

    /// Ready once a deadline was set before `next`.
    fn poll_moved(&self, cx: &mut Context<'_>, next: Option<Instant>) -> Poll<()> {
        let mut inner = self.0.borrow_mut();
        if inner.next_sweep != next {
            return Poll::Ready(());
        }
        inner.sweeper = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One task's deadline. Dropping it frees its slot.
pub struct Deadline {
    deadlines: Deadlines,
    slot: usize,
}

impl Deadline {
    /// Moves the deadline, or clears it.
    pub fn set(&self, deadline: Option<Instant>) {
        let mut inner = self.deadlines.0.borrow_mut();
        let slot = &mut inner.slots[self.slot];
        slot.deadline = deadline;
        slot.passed = false;
        let Some(deadline) = deadline else { return };
        if inner.next_sweep.is_none_or(|next| deadline < next) {
            inner.next_sweep = Some(deadline);
            if let Some(waker) = inner.sweeper.take() {
                waker.wake();
            }
        }
    }

    /// Whether the deadline has passed. If not, the task is woken when it does,
    /// and by [`Deadlines::wake_all`].
    pub fn poll_passed(&self, cx: &Context<'_>) -> bool {
        let mut inner = self.deadlines.0.borrow_mut();
        let slot = &mut inner.slots[self.slot];
        if slot.passed {
            return true;
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        false
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut inner = self.deadlines.0.borrow_mut();
        inner.slots[self.slot] = Slot::default();
        inner.free.push(self.slot);
    }
}
