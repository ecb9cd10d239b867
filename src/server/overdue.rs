//! A stop that does not come about. The Raft core takes the signals and stops the
//! node; the main thread watches that it does, since a core that hangs would
//! otherwise make the process deaf to them.

use std::{mem::MaybeUninit, time::Instant};

use super::replica::SIGNALS;
use crate::base::timing::STOP_MAX;

/// Since when the node is to stop.
#[derive(Debug, Default)]
pub struct Stop {
    /// A signal waits to be taken since then.
    pending: Option<Instant>,
    /// The stop is under way since then.
    begun: Option<Instant>,
}

impl Stop {
    /// The Raft core stops the node.
    pub fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// Whether the stop takes too long.
    pub fn is_overdue(&mut self, pending: bool, now: Instant) -> bool {
        self.pending = if pending { self.pending.or(Some(now)) } else { None };
        [self.pending, self.begun].into_iter().flatten().any(|since| now - since >= STOP_MAX)
    }
}

/// Whether a signal that stops the node was sent and not taken yet.
#[must_use]
pub fn is_signal_pending() -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: zeros are a valid set, and the call fills it.
    let set = unsafe {
        if libc::sigpending(set.as_mut_ptr()) != 0 {
            return false;
        }
        set.assume_init()
    };
    // SAFETY: the set is initialised and the numbers are those of signals.
    SIGNALS.iter().any(|&signal| unsafe { libc::sigismember(&raw const set, signal) } == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_nobody_takes_and_a_stop_that_does_not_end_are_overdue() {
        let start = Instant::now();
        let mut stop = Stop::default();
        assert!(!stop.is_overdue(true, start));
        assert!(!stop.is_overdue(true, start + STOP_MAX / 2));
        assert!(stop.is_overdue(true, start + STOP_MAX));

        let mut stop = Stop::default();
        assert!(!stop.is_overdue(true, start));
        assert!(!stop.is_overdue(false, start + STOP_MAX), "it was taken");
        stop.begin(start + STOP_MAX);
        assert!(!stop.is_overdue(false, start + STOP_MAX + STOP_MAX / 2));
        assert!(stop.is_overdue(false, start + 2 * STOP_MAX));
    }
}
