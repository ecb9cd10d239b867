//! The idempotency keys of the latest writes and what became of them: part of
//! the replicated state, and so the same on every node.
//!
//! A key is kept until [`KEYS_MAX`] others came after it, or until a batch is
//! applied that is stamped [`KEPT`] later, whichever is first.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::base::{
    batch::Idempotency,
    ids::Timestamp,
    outcome::{Decision, Effect, Refusal},
};

/// Keys kept. Part of what every node must agree on: it must stay, or change
/// with the format of batches.
pub const KEYS_MAX: usize = 1_000_000;
/// How long a key is kept; the same holds.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    request: [u8; 16],
    result: Result<Effect, Refusal>,
}

/// See the module.
#[derive(Debug)]
pub struct IdempotencyKeys {
    known: HashMap<[u8; 16], Known>,
    /// Invariant: the keys of `known`, oldest first.
    order: VecDeque<(Timestamp, [u8; 16])>,
    keys_max: usize,
}

impl Default for IdempotencyKeys {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), keys_max: KEYS_MAX }
    }
}

impl IdempotencyKeys {
    /// How a repeat of an earlier request is decided; `None` when it is the
    /// first of its key.
    #[must_use]
    pub fn decision(&self, asked: &Idempotency) -> Option<Decision> {
        let known = self.known.get(&asked.key)?;
        Some(match known.request == asked.request {
            true => Decision { result: known.result, replayed: true },
            false => Err(Refusal::IdempotencyMismatch).into(),
        })
    }

    /// Remembers the result of the first request of a key, applied `at`.
    pub fn insert(&mut self, asked: &Idempotency, at: Timestamp, result: Result<Effect, Refusal>) {
        let known = Known { request: asked.request, result };
        if self.known.insert(asked.key, known).is_none() {
            self.order.push_back((at, asked.key));
        }
        self.expire(at);
    }

    /// Forgets what need not be kept any longer.
    pub fn expire(&mut self, now: Timestamp) {
        let oldest = now.0.saturating_sub(KEPT.as_micros() as u64);
        while let Some(&(at, key)) = self.order.front() {
            if self.order.len() <= self.keys_max && at.0 >= oldest {
                break;
            }
            self.order.pop_front();
            self.known.remove(&key);
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ChangeId;

    fn asked(key: u8, request: u8) -> Idempotency {
        Idempotency { key: [key; 16], request: [request; 16] }
    }

    fn result(id: u64) -> Result<Effect, Refusal> {
        Ok(Effect::Changes { first: ChangeId(id), count: 1, replaced: false })
    }

    #[test]
    fn a_repeat_gets_the_first_result_and_another_request_is_refused() {
        let mut keys = IdempotencyKeys::default();
        assert_eq!(keys.decision(&asked(1, 1)), None);
        keys.insert(&asked(1, 1), Timestamp(5), result(7));
        let replayed = Decision { result: result(7), replayed: true };
        assert_eq!(keys.decision(&asked(1, 1)), Some(replayed));
        let mismatch = Err(Refusal::IdempotencyMismatch).into();
        assert_eq!(keys.decision(&asked(1, 2)), Some(mismatch));
        assert_eq!(keys.decision(&asked(2, 1)), None);
    }

    #[test]
    fn keys_leave_by_number_and_by_age_oldest_first() {
        let mut keys = IdempotencyKeys { keys_max: 3, ..IdempotencyKeys::default() };
        for key in 1..=5 {
            keys.insert(&asked(key, 0), Timestamp(u64::from(key)), result(u64::from(key)));
        }
        let known = |keys: &IdempotencyKeys| {
            (1..=5).filter(|&key| keys.decision(&asked(key, 0)).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(known(&keys), [3, 4, 5]);
        let day = KEPT.as_micros() as u64;
        keys.expire(Timestamp(day + 3));
        assert_eq!(known(&keys), [3, 4, 5]);
        keys.expire(Timestamp(day + 5));
        assert_eq!(known(&keys), [5]);
        keys.expire(Timestamp(day + 6));
        assert!(keys.is_empty() && keys.known.is_empty());
    }
}
