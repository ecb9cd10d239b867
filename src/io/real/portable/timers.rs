//! What tasks of a core wait for by time.

use std::{collections::BTreeMap, task::Waker, time::Instant};

/// The timers of a core, in the order of their times.
#[derive(Default)]
pub(super) struct Timers {
    /// By time, and by a number for those of the same time.
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    /// Has `waker` woken at `due`; the number of that timer.
    pub(super) fn set(&mut self, due: Instant, waker: Waker) -> u64 {
        let number = self.next;
        self.next += 1;
        self.wakers.insert((due, number), waker);
        number
    }

    /// Has another be woken by a timer that has not fired; gives back who was to be.
    pub(super) fn renew(&mut self, timer: (Instant, u64), waker: &Waker) -> Option<Waker> {
        let known = self.wakers.get_mut(&timer).filter(|known| !known.will_wake(waker))?;
        Some(std::mem::replace(known, waker.clone()))
    }

    /// Forgets a timer; gives back who was to be woken.
    pub(super) fn clear(&mut self, timer: (Instant, u64)) -> Option<Waker> {
        self.wakers.remove(&timer)
    }

    /// When the first timer fires.
    pub(super) fn first(&self) -> Option<Instant> {
        self.wakers.first_key_value().map(|(&(due, _), _)| due)
    }

    /// The first of those that are to be woken by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Waker> {
        self.first().filter(|&due| due <= now)?;
        self.wakers.pop_first().map(|(_, waker)| waker)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
        time::Duration,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(woken: &Woken) -> usize {
        woken.0.load(Ordering::Relaxed)
    }

    #[test]
    fn timers_fire_in_order_and_not_before_their_time() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let [early, late] = [(); 2].map(|()| Arc::new(Woken::default()));
        let mut timers = Timers::default();
        assert!(timers.first().is_none());
        timers.set(at(20), Arc::clone(&late).into());
        for _ in 0..2 {
            timers.set(at(10), Arc::clone(&early).into());
        }
        assert_eq!(timers.first(), Some(at(10)));
        assert!(timers.take_due(at(9)).is_none());
        let mut fire = |now| {
            while let Some(waker) = timers.take_due(now) {
                waker.wake();
            }
        };
        fire(at(10));
        assert_eq!((count(&early), count(&late)), (2, 0), "both of the same time");
        fire(at(30));
        assert_eq!((count(&early), count(&late)), (2, 1));
    }

    #[test]
    fn a_timer_that_is_cleared_wakes_nobody_and_a_renewed_one_the_last_who_asked() {
        let due = Instant::now();
        let [first, second] = [(); 2].map(|()| Arc::new(Woken::default()));
        let mut timers = Timers::default();
        let cleared = timers.set(due, Arc::clone(&first).into());
        let renewed = timers.set(due, Arc::clone(&first).into());
        assert!(timers.renew((due, renewed), &Arc::clone(&first).into()).is_none(), "the same");
        assert!(timers.renew((due, renewed), &Arc::clone(&second).into()).is_some());
        assert!(timers.clear((due, cleared)).is_some());
        assert!(timers.clear((due, cleared)).is_none());
        timers.take_due(due).unwrap().wake();
        assert!(timers.take_due(due).is_none());
        assert_eq!((count(&first), count(&second)), (0, 1));
        assert!(timers.renew((due, renewed), &Arc::clone(&first).into()).is_none(), "it has fired");
    }
}
