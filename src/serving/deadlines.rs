//! The waits of all connections of one core: one slot each and one task for all,
//! so that moving a deadline costs a store and no timer is armed for it. What a
//! connection waits for also says whether it may be closed to make room.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    pressure,
    waiting::{BEGUN_MIN, IDLE_MIN, Idle, Slot, Waiting},
};
use crate::io::cores;

/// Deadlines are noticed at most this late.
const GRANULARITY: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Inner {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slow clients are looked for.
    watches: bool,
    /// When the sweeper looks next; `None` while it waits to be told.
    next_sweep: Option<Instant>,
    sweeper: Option<Waker>,
}

/// The slots of one core's connections. Clones share them.
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
        self.0.borrow_mut().slots.iter_mut().for_each(Slot::wake);
    }

    /// Has the connection close that has been idle for longest, and not just for a
    /// moment; whether there is one. All of a kind are idle for equally long before
    /// they are closed, so that is the one with the earliest deadline.
    #[must_use]
    pub fn close_idle(&self, kind: Idle, now: Instant) -> bool {
        let mut inner = self.0.borrow_mut();
        let least = match kind {
            // Its client is to speak first.
            Idle::Silent => Duration::ZERO,
            Idle::Begun | Idle::Handshake => BEGUN_MIN,
            Idle::Welcome | Idle::Refused => IDLE_MIN,
        };
        let long = |since: Instant| now.saturating_duration_since(since) >= least;
        let idle = inner.slots.iter_mut().filter(|slot| {
            let waiting = &slot.waiting;
            waiting.idle == Some(kind) && !slot.cut && waiting.since.is_some_and(long)
        });
        let Some(longest) = idle.min_by_key(|slot| slot.waiting.until) else { return false };
        longest.cut = true;
        longest.wake();
        true
    }

    /// Has connections cut off that hold bytes and whose clients are too slow to
    /// deserve it, the slowest first, until `excess` bytes are free. To be called
    /// now and then, with 0 while there is room.
    pub fn relieve(&self, excess: usize, now: Instant) {
        let mut inner = self.0.borrow_mut();
        if excess > 0 || inner.watches {
            pressure::relieve(&mut inner.slots, excess, now);
        }
        inner.watches = excess > 0;
    }

    /// Wakes tasks whose deadline has passed, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            let next = self.sweep(cores::now());
            let moved = poll_fn(|cx| self.poll_moved(cx, next));
            match next {
                None => moved.await,
                Some(next) => {
                    let wait = next.saturating_duration_since(cores::now()).max(GRANULARITY);
                    cores::within(wait, moved).await;
                }
            }
        }
    }

    /// Wakes what is due and returns the earliest deadline left.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.0.borrow_mut();
        let mut next: Option<Instant> = None;
        for slot in &mut inner.slots {
            let Some(deadline) = slot.waiting.until.filter(|_| !slot.passed) else { continue };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            slot.passed = true;
            slot.wake();
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
    /// Says what the task waits for from now on.
    pub fn wait(&self, waiting: Waiting) {
        let mut inner = self.deadlines.0.borrow_mut();
        let slot = &mut inner.slots[self.slot];
        slot.waiting = waiting;
        slot.passed = false;
        let Some(deadline) = waiting.until else { return };
        if inner.next_sweep.is_none_or(|next| deadline < next) {
            inner.next_sweep = Some(deadline);
            if let Some(waker) = inner.sweeper.take() {
                waker.wake();
            }
        }
    }

    /// Whether the connection is to make room for others, now that it waits.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.deadlines.0.borrow().slots[self.slot].cut
    }

    /// Says that the connection has made room, as far as it is to.
    pub fn spare(&self) {
        self.deadlines.0.borrow_mut().slots[self.slot].cut = false;
    }

    /// Whether the wait is over: the deadline has passed, the connection is to go,
    /// or it may be worth another try. If not, the task is woken when that is so, and by
    /// [`Deadlines::wake_all`].
    pub fn poll_passed(&self, cx: &Context<'_>) -> bool {
        let mut inner = self.deadlines.0.borrow_mut();
        let slot = &mut inner.slots[self.slot];
        if slot.passed || slot.cut || std::mem::take(&mut slot.nudged) {
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
