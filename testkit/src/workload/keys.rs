//! Clients of keys: plain, conditional and strong operations on a few of them.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    ABSENT, PACE, Shared,
    door::{Door, Heard},
};
use crate::{
    Answer,
    linearizable::{Action, Operation, Outcome},
};

/// One operation on a key, with ids where the checker wants values.
pub(super) struct KeyOperation {
    pub(super) key: usize,
    pub(super) operation: Operation,
    /// The id that it was told: its own, or that of what was in its way.
    pub(super) id: Option<u64>,
}

/// One client of a few keys.
pub(super) struct KeyWorker {
    shared: Arc<Shared>,
    number: u64,
    door: Door,
    path: String,
    rng: StdRng,
    /// The id and the value of each key as it was last seen.
    versions: Vec<Option<(u64, u64)>>,
}

impl KeyWorker {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: usize,
        address: SocketAddr,
        path: String,
        keys: usize,
    ) -> Self {
        Self {
            shared,
            number: number as u64,
            door: Door::new(address),
            path,
            rng: StdRng::seed_from_u64(number as u64),
            versions: vec![None; keys],
        }
    }

    pub(super) fn run(&mut self) -> Vec<KeyOperation> {
        let mut all = Vec::new();
        for n in 1.. {
            if self.shared.ended() {
                break;
            }
            let key = self.rng.random_range(0..self.versions.len());
            // Of this client's own, and never 0.
            let value = n << 8 | self.number;
            all.extend(self.operate(key, value));
            thread::sleep(PACE);
        }
        all
    }

    fn operate(&mut self, key: usize, value: u64) -> Option<KeyOperation> {
        let (id, version) = self.versions[key].unwrap_or_default();
        let known = id > 0;
        let action = match self.rng.random_range(0..12) {
            0..4 => Action::Read,
            4 => Action::Put(value),
            5..8 if known => Action::PutIf { version, value },
            5..9 => Action::PutIfAbsent(value),
            9 => Action::Delete,
            _ if known => Action::DeleteIf { version },
            _ => Action::Put(value),
        };
        let path = format!("{}/{key}", self.path);
        let tag = format!("\"{id}\"");
        let body = format!("{{\"data\":{value}}}");
        let if_match = [("If-Match", tag.as_str())];
        let if_none = [("If-None-Match", "*")];
        let called = self.shared.now();
        let heard = match action {
            Action::Read => {
                self.door.request("GET", &format!("{path}?consistency=strong"), &[], "")
            }
            Action::Put(_) => self.door.request("PUT", &path, &[], &body),
            Action::PutIf { .. } => self.door.request("PUT", &path, &if_match, &body),
            Action::PutIfAbsent(_) => self.door.request("PUT", &path, &if_none, &body),
            Action::Delete => self.door.request("DELETE", &path, &[], ""),
            Action::DeleteIf { .. } => self.door.request("DELETE", &path, &if_match, ""),
        };
        let returned = self.shared.now();
        let (outcome, id) = match heard {
            Heard::NotSent => {
                thread::sleep(ABSENT);
                return None;
            }
            Heard::Broken => (Outcome::Unknown, None),
            Heard::Answer(answer) => self.learn(key, action, value, &answer),
        };
        let answered = !matches!(outcome, Outcome::Unknown | Outcome::Failed);
        self.shared.key_operations.fetch_add(u64::from(answered), Relaxed);
        Some(KeyOperation { key, operation: Operation { called, returned, action, outcome }, id })
    }

    /// What an answer says, and what is known of the key from it.
    fn learn(
        &mut self,
        key: usize,
        action: Action,
        value: u64,
        answer: &Answer,
    ) -> (Outcome, Option<u64>) {
        let reads = action == Action::Read;
        let deletes = matches!(action, Action::Delete | Action::DeleteIf { .. });
        match answer.status {
            200 if reads => {
                let change = answer.json();
                let value = change["data"].as_u64().expect("a value");
                let id = change["_id"].as_u64().expect("an id");
                assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
                self.versions[key] = Some((id, value));
                (Outcome::Saw(Some(value)), Some(id))
            }
            404 if reads => {
                self.versions[key] = None;
                (Outcome::Saw(None), None)
            }
            200 | 201 => {
                let id = answer.id();
                self.versions[key] = (!deletes).then_some((id, value));
                (Outcome::Done, Some(id))
            }
            404 if deletes => {
                self.versions[key] = None;
                (Outcome::Refused(None), None)
            }
            412 => {
                let current = answer.json()["current"].as_u64();
                // Its value is found by its id when all is over.
                (Outcome::Refused(current), current)
            }
            503 => (if reads { Outcome::Unknown } else { Outcome::Failed }, None),
            504 => (Outcome::Unknown, None),
            _ => panic!("an answer on a key: {answer:?} {}", answer.text()),
        }
    }
}
