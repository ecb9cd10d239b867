//! Tickets that have been used on this node.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::signed::NONCE_BYTES;
use crate::base::ids::Timestamp;

/// So many are remembered at most: each for as long as it would be good.
pub(super) const USED_MAX: usize = 65_536;

/// Whether a ticket may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It may, this once.
    First,
    /// It was used before.
    Again,
    /// It cannot be remembered: as many others were used within their time as may be.
    Crowded,
}

/// The tickets that were used, by when they expire and their random bytes.
#[derive(Debug, Default)]
pub(super) struct UsedTickets(Mutex<BTreeSet<(Timestamp, [u8; NONCE_BYTES])>>);

impl UsedTickets {
    /// Uses a ticket, which has not expired.
    pub(super) fn take(&self, expires: Timestamp, nonce: [u8; NONCE_BYTES], now: Timestamp) -> Use {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while used.first().is_some_and(|(end, _)| *end <= now) {
            used.pop_first();
        }
        match used.contains(&(expires, nonce)) {
            true => Use::Again,
            false if used.len() >= USED_MAX => Use::Crowded,
            false => {
                used.insert((expires, nonce));
                Use::First
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(n: usize) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&(n as u64).to_le_bytes());
        nonce
    }

    #[test]
    fn a_ticket_is_used_once_and_forgotten_when_it_has_expired() {
        let used = UsedTickets::default();
        let take = |expires, n, now| used.take(Timestamp(expires), nonce(n), Timestamp(now));
        assert_eq!(take(60, 1, 0), Use::First);
        assert_eq!(take(60, 1, 59), Use::Again);
        assert_eq!(take(60, 2, 59), Use::First);
        assert_eq!(take(61, 1, 59), Use::First);
        assert_eq!(take(100, 1, 60), Use::First);
        assert_eq!(used.0.lock().unwrap().len(), 2, "those of 60 are forgotten");
    }

    #[test]
    fn there_is_a_bound_and_room_again_in_time() {
        let used = UsedTickets::default();
        let take = |expires, n, now| used.take(Timestamp(expires), nonce(n), Timestamp(now));
        for n in 0..USED_MAX {
            assert_eq!(take(60, n, 0), Use::First);
        }
        assert_eq!(take(61, 0, 59), Use::Crowded);
        assert_eq!(take(60, 7, 59), Use::Again);
        assert_eq!(take(61, 0, 60), Use::First);
    }
}
