//! How much a follower is sent before it answers, and how soon again after it could not take it.
//!
//! Of a network that breaks every connection after a while, or changes some of what it carries, small
//! requests get through where large ones never would. So each request that failed halves what is
//! sent at once, down to a single entry, and each one that is answered adds what it had. What has no
//! entries, as heartbeats, says nothing of that and never waits.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use crate::{
    base::{
        ids::NodeId,
        timing::{RECONNECT, RESEND_MAX},
    },
    io::cores,
};

/// Bytes of entries that may be unanswered, for each follower: what a slow follower costs. One
/// request may exceed it.
pub(super) const WINDOW_BYTES_MAX: usize = 8 << 20;
/// The same where nothing else gets through.
pub(super) const WINDOW_BYTES_MIN: usize = 64 << 10;

/// What a follower says to entries whose checksums do not match.
pub(super) const DAMAGED: &str = "entries were damaged on their way";

/// Connections that break one after the other, with nothing answered, before that is told.
const LOST_TOLD: u32 = 3;

/// Why a request was not answered as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its connection broke, or brought nothing any more.
    Lost,
    /// The node says why.
    Refused(String),
}

/// The pace of one follower.
pub(super) struct Pace {
    node: NodeId,
    /// Where it is, for what is said of it.
    address: String,
    /// Bytes of entries that may be unanswered.
    ///
    /// Invariant: from [`WINDOW_BYTES_MIN`] to [`WINDOW_BYTES_MAX`].
    window: Cell<usize>,
    /// Requests that failed since one was answered.
    failures: Cell<u32>,
    /// When the next one may be sent.
    next: Cell<Option<Instant>>,
    /// What was told of it.
    told: RefCell<Option<Failure>>,
    /// Connections that broke in turn while a single entry was on its way that is longer than all that
    /// may be sent at once.
    alone: Cell<u32>,
}

impl Pace {
    pub(super) fn new(node: NodeId, address: &str) -> Self {
        let window = Cell::new(WINDOW_BYTES_MAX);
        let (failures, next, told) = (Cell::new(0), Cell::new(None), RefCell::new(None));
        Self {
            node,
            address: address.to_owned(),
            window,
            failures,
            next,
            told,
            alone: Cell::new(0),
        }
    }

    /// Bytes of entries that may be unanswered.
    pub(super) fn window(&self) -> usize {
        self.window.get()
    }

    /// Bytes of entries that one request may have, unless a single entry has more.
    pub(super) fn request_bytes(&self) -> usize {
        (self.window.get() / 2).max(WINDOW_BYTES_MIN)
    }

    /// How long nothing is to be sent.
    pub(super) fn pause(&self) -> Option<Duration> {
        let next = self.next.get()?;
        Some(next.saturating_duration_since(cores::now())).filter(|left| !left.is_zero())
    }

    /// Takes note that a request with so many bytes of entries was answered.
    pub(super) fn note_answered(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.set_window(self.window.get().saturating_add(bytes));
        self.alone.set(0);
        if self.failures.replace(0) == 0 {
            return;
        }
        self.next.set(None);
        if self.told.take().is_some() {
            let address = &*self.address;
            tracing::info!(node = self.node, address, "the node takes entries again");
        }
    }

    /// Takes note that a request with `own` bytes of entries failed while so many were unanswered,
    /// those included.
    pub(super) fn note_failed(&self, bytes: usize, own: usize, failure: &Failure) {
        if bytes == 0 {
            return;
        }
        // Several entries never have more together.
        if own > self.request_bytes() && *failure == Failure::Lost {
            self.note_alone(own);
        }
        self.set_window(self.window.get().min(bytes) / 2);
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let doubled = |times: u32| RECONNECT.saturating_mul(1 << times.min(10)).min(RESEND_MAX);
        let pause = match failure {
            // The first one may just have had its end.
            Failure::Lost => (failures > 1).then(|| doubled(failures - 2)),
            Failure::Refused(why) if why == DAMAGED => Some(doubled(failures - 1)),
            // As soon as a connection is tried again.
            Failure::Refused(_) => Some(RECONNECT),
        };
        self.next.set(pause.map(|pause| cores::now() + pause));
        self.tell(failures, failure);
    }

    fn set_window(&self, bytes: usize) {
        let window = bytes.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        assert!((WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&window), "a window of {window}");
        self.window.set(window);
    }

    /// Takes note that a single entry did not get through, and says so once it is more than chance.
    fn note_alone(&self, bytes: usize) {
        let alone = self.alone.get().saturating_add(1);
        self.alone.set(alone);
        if alone == LOST_TOLD {
            tracing::warn!(
                node = self.node,
                address = &*self.address,
                bytes,
                "a single entry is longer than what passes to the node before its connections break: \
                 it arrives, and what comes after it, once that passes, or by a snapshot; see to what \
                 breaks connections on the way, or have less written in one request (--max-body)"
            );
        }
    }

    /// Says once what is wrong with the way there.
    fn tell(&self, failures: u32, failure: &Failure) {
        let is_news = match failure {
            Failure::Lost => failures >= LOST_TOLD,
            Failure::Refused(why) => why == DAMAGED,
        };
        if !is_news || self.told.borrow().as_ref() == Some(failure) {
            return;
        }
        match failure {
            Failure::Lost => tracing::warn!(
                node = self.node,
                address = &*self.address,
                "connections to the node break before it has answered any entries; less is sent at \
                 once, with pauses: see to the network between"
            ),
            Failure::Refused(_) => tracing::warn!(
                node = self.node,
                address = &*self.address,
                "entries arrive damaged at the node, which takes none of them; they are sent again \
                 with pauses: see to the network between, and to the memory of both machines"
            ),
        }
        self.told.replace(Some(failure.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::executor::run;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_fails_is_halved_down_to_one_entry_and_what_is_answered_adds_to_it() {
        run(1, async {
            let pace = Pace::new(2, "");
            assert_eq!((pace.window(), pace.request_bytes()), (WINDOW_BYTES_MAX, 4 * MIB));
            // No more than was under way can have been too much.
            pace.note_failed(3 * MIB, 0, &Failure::Lost);
            assert_eq!(pace.window(), 3 * MIB / 2);
            // A heartbeat has no entries.
            pace.note_failed(0, 0, &Failure::Lost);
            assert_eq!(pace.window(), 3 * MIB / 2);
            for _ in 0..10 {
                pace.note_failed(2 * MIB, 0, &Failure::Lost);
            }
            let least = (pace.window(), pace.request_bytes());
            assert_eq!(least, (WINDOW_BYTES_MIN, WINDOW_BYTES_MIN));
            pace.note_answered(WINDOW_BYTES_MIN);
            assert_eq!(pace.window(), 2 * WINDOW_BYTES_MIN);
            for _ in 0..20 {
                pace.note_answered(MIB);
            }
            assert_eq!(pace.window(), WINDOW_BYTES_MAX);
        });
    }

    #[test]
    fn what_is_refused_as_damaged_is_sent_again_later_and_later_until_something_is_taken() {
        run(1, async {
            let pace = Pace::new(2, "");
            let damaged = Failure::Refused(DAMAGED.to_owned());
            let mut pauses = Vec::new();
            for _ in 0..8 {
                pace.note_failed(100, 0, &damaged);
                let pause = pace.pause().unwrap();
                pauses.push(pause);
                cores::sleep(pause).await;
                assert_eq!(pace.pause(), None);
            }
            assert_eq!(pauses[0], RECONNECT);
            assert!(pauses.windows(2).all(|two| two[1] == (two[0] * 2).min(RESEND_MAX)));
            assert_eq!(pauses[7], RESEND_MAX);
            // What has no entries says nothing of them.
            pace.note_answered(0);
            pace.note_failed(100, 0, &damaged);
            assert_eq!(pace.pause(), Some(RESEND_MAX));
            pace.note_answered(100);
            pace.note_failed(100, 0, &damaged);
            assert_eq!(pace.pause(), Some(RECONNECT));
        });
    }

    #[test]
    fn a_connection_that_ends_is_replaced_at_once_unless_the_next_brings_nothing_either() {
        run(1, async {
            let pace = Pace::new(2, "");
            pace.note_failed(100, 0, &Failure::Lost);
            assert_eq!(pace.pause(), None);
            pace.note_failed(100, 0, &Failure::Lost);
            assert_eq!(pace.pause(), Some(RECONNECT));
            pace.note_answered(100);
            assert_eq!(pace.pause(), None);
        });
    }

    #[test]
    fn a_single_entry_that_does_not_get_through_is_told_apart() {
        run(1, async {
            let pace = Pace::new(2, "");
            // Several entries together are sent in parts.
            (0..8).for_each(|_| pace.note_failed(4 * MIB, 64 << 10, &Failure::Lost));
            assert_eq!((pace.request_bytes(), pace.alone.get()), (WINDOW_BYTES_MIN, 0));
            let single = (64 << 10) + 1;
            pace.note_failed(single, single, &Failure::Lost);
            pace.note_failed(single, single, &Failure::Lost);
            assert_eq!(pace.alone.get(), 2);
            pace.note_failed(single, single, &Failure::Refused(DAMAGED.to_owned()));
            assert_eq!(pace.alone.get(), 2, "that is no matter of its length");
            pace.note_answered(100);
            assert_eq!(pace.alone.get(), 0);
        });
    }
}
