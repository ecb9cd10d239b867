//! What a key must hold by all that was acknowledged for it. Pure.

use crate::answers::page::Change;
use crate::load::payload::{Origin, Payload};
use crate::measure::verification::{Verification, Violation};

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing: it was never put, or deleted.
    Absent,
    /// The change with this id, which was sent as `origin`.
    Version { id: u64, origin: Origin },
}

/// What a write does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Put(Origin),
    Delete,
}

/// One key. Only one connection uses it, one request at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// What was acknowledged last.
    pub(super) held: Held,
    /// A write of which it is not known whether it was done: the key is then left alone.
    pub(super) in_doubt: Option<Effect>,
}

impl Key {
    /// A key that was never put.
    pub(super) const UNUSED: Self = Self { held: Held::Absent, in_doubt: None };

    /// Whether it may be what was found under it, `None` being nothing.
    pub(super) fn allows(
        &self,
        found: Option<&Change<'_>>,
        payload: &Payload,
        scratch: &mut Vec<u8>,
    ) -> bool {
        match found {
            None => self.held == Held::Absent || self.in_doubt == Some(Effect::Delete),
            Some(change) => {
                let mut bears = |origin| payload.matches(change.data(), origin, scratch);
                let is_held = matches!(self.held, Held::Version { id, origin }
                    if id == change.id && bears(origin));
                is_held || matches!(self.in_doubt, Some(Effect::Put(origin)) if bears(origin))
            }
        }
    }
}

/// Compares all keys, by their number, with pages of them that are fed in order.
#[derive(Debug)]
pub(super) struct KeysVerifier<'a> {
    payload: &'a Payload,
    keys: &'a [Key],
    next: usize,
    scratch: Vec<u8>,
    result: Verification,
}

impl<'a> KeysVerifier<'a> {
    /// A verifier of these keys.
    pub(super) fn new(payload: &'a Payload, keys: &'a [Key]) -> Self {
        Self { payload, keys, next: 0, scratch: Vec::new(), result: Verification::default() }
    }

    /// Takes the key of this number, as it was found.
    pub(super) fn found(&mut self, number: usize, change: &Change<'_>) {
        while self.next < number.min(self.keys.len()) {
            self.check(None);
        }
        if self.next > number || number >= self.keys.len() {
            let violation = Violation::WrongKey;
            self.result.violate(violation, || format!("key {number} is there twice, or unknown"));
        } else {
            self.check(Some(change));
        }
    }

    /// The result, when all were fed.
    pub(super) fn finish(mut self) -> Verification {
        while self.next < self.keys.len() {
            self.check(None);
        }
        self.result.conclude()
    }

    fn check(&mut self, found: Option<&Change<'_>>) {
        let Some(key) = self.keys.get(self.next) else { return };
        if !key.allows(found, self.payload, &mut self.scratch) {
            wrong(&mut self.result, self.next, key, found);
        }
        self.next += 1;
    }
}

/// Notes that a key is not what it must be.
pub(super) fn wrong(
    result: &mut Verification,
    number: usize,
    key: &Key,
    found: Option<&Change<'_>>,
) {
    result.violate(Violation::WrongKey, || {
        let found = found.map_or("nothing".to_owned(), |change| format!("id {}", change.id));
        format!("key {number} has {found}, but must be {key:?}")
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::page;

    fn check(key: Key, found: Option<(u64, u32)>) -> bool {
        let payload = Payload::new(5, 80).expect("a valid size");
        let text = found.map(|(id, sequence)| {
            let mut data = Vec::new();
            payload.write(&mut data, Origin { worker: 1, sequence });
            let data = String::from_utf8(data).expect("text");
            format!(r#"{{"_id":{id},"_ts":1,"key":"a","data":{data}}}"#)
        });
        let change =
            text.as_ref().map(|text| page::parse_change(text.as_bytes()).expect("a change"));
        let mut verifier = KeysVerifier::new(&payload, std::slice::from_ref(&key));
        if let Some(change) = &change {
            verifier.found(0, change);
        }
        verifier.finish().passed
    }

    #[test]
    fn a_key_holds_what_was_acknowledged_last() {
        let origin = |sequence| Origin { worker: 1, sequence };
        let held = Held::Version { id: 7, origin: origin(3) };
        let known = Key { held, in_doubt: None };
        assert!(check(known, Some((7, 3))));
        for wrong in [None, Some((7, 4)), Some((6, 3))] {
            assert!(!check(known, wrong), "{wrong:?}");
        }
        assert!(check(Key::UNUSED, None));
        assert!(!check(Key::UNUSED, Some((7, 3))));
    }

    #[test]
    fn a_key_in_doubt_holds_one_or_the_other() {
        let origin = |sequence| Origin { worker: 1, sequence };
        let held = Held::Version { id: 7, origin: origin(3) };
        let put = Key { held, in_doubt: Some(Effect::Put(origin(4))) };
        assert!(check(put, Some((7, 3))) && check(put, Some((8, 4))));
        assert!(!check(put, None) && !check(put, Some((9, 5))));
        let deleted = Key { held, in_doubt: Some(Effect::Delete) };
        assert!(check(deleted, Some((7, 3))) && check(deleted, None));
    }

    #[test]
    fn keys_that_nobody_put_are_wrong() {
        let payload = Payload::new(5, 80).expect("a valid size");
        let text = br#"{"_id":1,"_ts":1,"key":"a","data":1}"#;
        let change = page::parse_change(text).expect("a change");
        let mut verifier = KeysVerifier::new(&payload, &[Key::UNUSED]);
        verifier.found(4, &change);
        assert_eq!(
            verifier.finish().violations.into_iter().collect::<Vec<_>>(),
            [(Violation::WrongKey, 1)]
        );
    }
}
