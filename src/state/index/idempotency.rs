//! The idempotency keys of the latest writes and what became of them: part of
//! the replicated state, and so the same on every node.
//!
//! A key is kept until [`KEYS_MAX`] others came after it, or until it is
//! [`KEPT`] old by the stamps of batches, whichever is first. Then it is
//! forgotten with one of the next requests that bear a key, a bounded number at
//! once: that many keys expire together costs no request a long wait.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

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
/// How much of a key's digest is of the key alone, and so the same for all tenants.
const STEM_BYTES: usize = 8;

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

/// Digests as 32 hexadecimal digits, where it is text.
mod hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        if !out.is_human_readable() {
            return bytes.serialize(out);
        }
        out.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        if !from.is_human_readable() {
            return <[u8; 16]>::deserialize(from);
        }
        let text = <&str>::deserialize(from)?;
        u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(D::Error::custom)
    }
}

/// The idempotency keys that are remembered, with what became of their requests.
#[derive(Debug)]
pub struct IdempotencyKeys {
    /// By the first byte of the key, then by the key.
    known: [HashMap<[u8; 16], Known>; SHARDS],
    /// What follows the stem of the keys of `known`, by the stem and the request
    /// together: a request is found whichever tenant it was of, however many tenants
    /// use its key.
    requests: [HashMap<[u8; 16], [u8; 16 - STEM_BYTES]>; SHARDS],
    /// Invariant: the keys of `known`, oldest first.
    order: VecDeque<(Timestamp, [u8; 16])>,
    keys_max: usize,
}

impl Default for IdempotencyKeys {
    fn default() -> Self {
        Self {
            known: std::array::from_fn(|_| HashMap::new()),
            requests: std::array::from_fn(|_| HashMap::new()),
            order: VecDeque::new(),
            keys_max: KEYS_MAX,
        }
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
        let rest = self.requests[shard(&asked.key)].get(&stemmed(&asked.key, &asked.request))?;
        let mut key = asked.key;
        key[STEM_BYTES..].copy_from_slice(rest);
        let known = self.get(&key)?;
        Some(Decision { result: known.result, replayed: true })
    }

    fn get(&self, key: &[u8; 16]) -> Option<&Known> {
        self.known[shard(key)].get(key)
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
        let Known { key, request, at, .. } = known;
        match self.known[shard(&key)].insert(key, known) {
            Some(former) => self.forget_request(&former),
            None => self.order.push_back((Timestamp(at), key)),
        }
        self.requests[shard(&key)].insert(stemmed(&key, &request), rest(&key));
    }

    /// Forgets what need not be kept any longer, some of it.
    pub fn expire(&mut self, now: Timestamp) {
        let oldest = now.0.saturating_sub(KEPT.as_micros() as u64);
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(&(at, _)) = self.order.front() else { return };
            if self.order.len() <= self.keys_max && at.0 >= oldest {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Remembers what came after all that is known. A key comes again only when it was forgotten
    /// before, and then all that is older was too.
    pub fn restore_next(&mut self, known: Known) {
        while self.get(&known.key).is_some() {
            self.forget_oldest();
        }
        self.restore(known);
    }

    /// Forgets all but the newest `count`, as they were at a place of the log.
    pub fn keep_newest(&mut self, count: usize) {
        while self.order.len() > count {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        let known = self.known[shard(&key)].remove(&key);
        assert!(known.is_some(), "what stands in the order is known");
        if let Some(known) = known {
            self.forget_request(&known);
        }
    }

    /// Forgets the request of a key, unless a later one was the same.
    fn forget_request(&mut self, Known { key, request, .. }: &Known) {
        if let Entry::Occupied(entry) = self.requests[shard(key)].entry(stemmed(key, request))
            && *entry.get() == rest(key)
        {
            entry.remove();
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

/// What follows the stem of a key.
fn rest(key: &[u8; 16]) -> [u8; 16 - STEM_BYTES] {
    *key.last_chunk().expect("no longer than the key")
}

/// The stem of a key and the digest of a request, in one.
fn stemmed(key: &[u8; 16], request: &[u8; 16]) -> [u8; 16] {
    let (stem, _) = key.split_at(STEM_BYTES);
    let mut both = *request;
    both.iter_mut().zip(stem).for_each(|(byte, stem)| *byte ^= stem);
    both
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
    fn one_key_of_many_tenants_costs_no_more_than_many_keys() {
        const TENANTS: u32 = 200_000;
        let of = |tenant: u32| Idempotency {
            key: (u128::from(tenant) | 1 << 120).to_be_bytes(),
            request: u128::from(tenant).to_be_bytes(),
        };
        let begun = std::time::Instant::now();
        let mut keys = IdempotencyKeys::default();
        for tenant in 0..TENANTS {
            assert_eq!(keys.decision(&of(tenant)), None);
            keys.insert(&of(tenant), Timestamp(1), result(1));
        }
        assert_eq!(keys.iter().count(), TENANTS as usize);
        // Looking through those of all tenants each time takes hours.
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        // Two tenants were sent the same request: the later one is known to the last.
        let (one, two) = (of(1), Idempotency { request: of(1).request, ..of(2) });
        let mut keys = IdempotencyKeys { keys_max: 2, ..IdempotencyKeys::default() };
        keys.insert(&one, Timestamp(1), result(1));
        keys.insert(&two, Timestamp(2), result(2));
        keys.insert(&asked(9, 9), Timestamp(3), result(3));
        assert_eq!(keys.decision(&one), None);
        assert_eq!(keys.repeated(&one).map(|it| it.result), Some(result(2)));
        keys.insert(&asked(8, 8), Timestamp(4), result(4));
        assert_eq!(keys.repeated(&one), None);
        assert!(keys.requests.iter().map(HashMap::len).sum::<usize>() == 2);
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
