//! The idempotency keys of the latest writes and what became of them: part of
//! the replicated state, and so the same on every node.
//!
//! A key is kept until [`KEYS_MAX`] others came after it, or until it is
//! [`KEPT`] old by the stamps of batches, whichever is first. Then it is
//! forgotten with one of the next requests that bear a key, a bounded number at
//! once: that many keys expire together costs no request a long wait.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use smallvec::SmallVec;

use serde::{Deserialize, Serialize};

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
/// Keys forgotten at once; the same holds. More than one, so that they do not
/// gather.
const FORGOTTEN_AT_ONCE: usize = 64;
/// The parts that the keys are divided into, so that making room for more of
/// them moves few at once.
const SHARDS: usize = 64;

/// What is known of an idempotency key, as checkpoints spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Digest of the key.
    #[serde(with = "hex")]
    pub key: [u8; 16],
    /// Digest of the request.
    #[serde(with = "hex")]
    pub request: [u8; 16],
    /// The stamp of the batch that decided it, in microseconds.
    pub at: u64,
    /// How it was decided.
    pub result: Result<Effect, Refusal>,
}

/// Digests as 32 hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = <&str>::deserialize(from)?;
        u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(D::Error::custom)
    }
}

/// See the module.
#[derive(Debug)]
pub struct IdempotencyKeys {
    /// By the first byte of the key, then by its stem: the same key of the client
    /// may stand for several tenants.
    known: [HashMap<[u8; 8], SmallVec<[Known; 1]>>; SHARDS],
    /// Invariant: the keys of `known`, oldest first.
    order: VecDeque<(Timestamp, [u8; 16])>,
    keys_max: usize,
}

impl Default for IdempotencyKeys {
    fn default() -> Self {
        let known = std::array::from_fn(|_| HashMap::new());
        Self { known, order: VecDeque::new(), keys_max: KEYS_MAX }
    }
}

impl IdempotencyKeys {
    /// How a repeat of an earlier request is decided; `None` when it is the
    /// first of its key.
    #[must_use]
    pub fn decision(&self, asked: &Idempotency) -> Option<Decision> {
        let known = self.get(&asked.key)?;
        Some(match known.request == asked.request {
            true => Decision { result: known.result, replayed: true },
            false => Err(Refusal::IdempotencyMismatch).into(),
        })
    }

    /// How an earlier request with the stem of this key was decided, if it was the
    /// very same request, whatever tenant it was found to be of.
    #[must_use]
    pub fn repeated(&self, asked: &Idempotency) -> Option<Decision> {
        let alike = self.known[shard(&asked.key)].get(&stem(&asked.key))?;
        let known = alike.iter().find(|known| known.request == asked.request)?;
        Some(Decision { result: known.result, replayed: true })
    }

    fn get(&self, key: &[u8; 16]) -> Option<&Known> {
        self.known[shard(key)].get(&stem(key))?.iter().find(|known| known.key == *key)
    }

    /// Remembers the result of the first request of a key, applied `at`.
    pub fn insert(&mut self, asked: &Idempotency, at: Timestamp, result: Result<Effect, Refusal>) {
        let Idempotency { key, request } = *asked;
        self.restore(Known { key, request, at: at.0, result });
        self.expire(at);
    }

    /// Remembers what was known before. Nothing is forgotten for it: what is
    /// known at a place of the log must be the same however a node came there.
    pub fn restore(&mut self, known: Known) {
        let alike = self.known[shard(&known.key)].entry(stem(&known.key)).or_default();
        match alike.iter_mut().find(|other| other.key == known.key) {
            Some(other) => *other = known,
            None => {
                alike.push(known);
                self.order.push_back((Timestamp(known.at), known.key));
            }
        }
    }

    /// Forgets what need not be kept any longer, some of it.
    pub fn expire(&mut self, now: Timestamp) {
        let oldest = now.0.saturating_sub(KEPT.as_micros() as u64);
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(&(at, key)) = self.order.front() else { return };
            if self.order.len() <= self.keys_max && at.0 >= oldest {
                return;
            }
            self.order.pop_front();
            let shard = &mut self.known[shard(&key)];
            if let Some(alike) = shard.get_mut(&stem(&key)) {
                alike.retain(|known| known.key != key);
                if alike.is_empty() {
                    shard.remove(&stem(&key));
                }
            }
        }
    }

    /// All that is known, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.order.iter().filter_map(|(_, key)| self.get(key))
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

fn shard(key: &[u8; 16]) -> usize {
    usize::from(key[0]) % SHARDS
}

/// The half of a key's digest that is the same for all tenants.
fn stem(key: &[u8; 16]) -> [u8; 8] {
    *key.first_chunk().expect("half of it")
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
    fn a_key_stands_for_each_tenant_by_itself() {
        let of = |tenant: u8, request: u8| Idempotency {
            key: std::array::from_fn(|n| if n < 8 { 1 } else { tenant }),
            request: [request; 16],
        };
        let mut keys = IdempotencyKeys { keys_max: 2, ..IdempotencyKeys::default() };
        keys.insert(&of(1, 1), Timestamp(1), result(1));
        assert_eq!(keys.decision(&of(2, 2)), None);
        keys.insert(&of(2, 2), Timestamp(2), result(2));
        let replayed = |id| Some(Decision { result: result(id), replayed: true });
        assert_eq!(keys.decision(&of(1, 1)), replayed(1));
        assert_eq!(keys.decision(&of(2, 2)), replayed(2));
        // The same request is known without its tenant; no other is.
        assert_eq!(keys.repeated(&of(3, 2)), replayed(2));
        assert_eq!(keys.repeated(&of(3, 3)), None);
        // One leaves, the other stays.
        keys.insert(&asked(9, 9), Timestamp(3), result(3));
        assert_eq!((keys.decision(&of(1, 1)), keys.decision(&of(2, 2))), (None, replayed(2)));
        let known: Vec<_> = keys.iter().map(|known| known.at).collect();
        assert_eq!(known, [2, 3]);
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
        assert!(keys.is_empty() && keys.known.iter().all(HashMap::is_empty));
    }

    #[test]
    fn many_that_expire_together_are_forgotten_by_and_by() {
        let mut keys = IdempotencyKeys::default();
        let id = |n: u16| {
            let [high, low] = n.to_be_bytes();
            let mut key = [low; 16];
            key[1] = high;
            Idempotency { key, request: [0; 16] }
        };
        (0..1000).for_each(|n| keys.insert(&id(n), Timestamp(1), result(1)));
        let late = Timestamp(KEPT.as_micros() as u64 + 2);
        keys.insert(&id(1000), late, result(2));
        assert_eq!(keys.len(), 1001 - FORGOTTEN_AT_ONCE);
        // Those that are overdue and still known outlive a restart like others.
        let mut restored = IdempotencyKeys::default();
        keys.iter().for_each(|known| restored.restore(*known));
        assert!(restored.iter().eq(keys.iter()));
        (0..20).for_each(|_| keys.expire(late));
        assert_eq!(keys.len(), 1);
        assert!(keys.decision(&id(1000)).is_some() && keys.decision(&id(999)).is_none());
    }
}
