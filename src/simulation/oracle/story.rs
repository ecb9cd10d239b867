//! Histories that tests put together by hand.

use uuid::Uuid;

use super::{Settings, check};
use crate::simulation::history::{
    Asked, Call, Condition, Consistency, Filter, Moment, New, Place, Seen, Thing, Told,
};

/// A history that is put together by hand.
#[derive(Default)]
pub struct Story {
    pub calls: Vec<Call>,
    now: Moment,
}

pub const TENANT: Uuid = Uuid::from_u128(1);
pub const COLLECTION: Uuid = Uuid::from_u128(2);
pub const PLAIN: Place = Place { tenant: None, collection: None, key: None, tag: None, ttl: None };
pub const OF_TENANT: Place = Place { tenant: Some(TENANT), ..PLAIN };
pub const KEY: Place = Place { collection: Some(COLLECTION), key: Some(1), ..OF_TENANT };

pub fn text(id: u64, label: u64) -> String {
    at(id, label, PLAIN).text
}

pub fn seen(id: u64, label: u64) -> Seen {
    Seen { id, text: text(id, label) }
}

pub fn at(id: u64, label: u64, place: Place) -> Seen {
    change(id, place, &format!(r#""data":{{"w":{label}}}"#))
}

pub fn gone(id: u64, place: Place) -> Seen {
    change(id, place, r#""deleted":true"#)
}

pub fn change(id: u64, place: Place, rest: &str) -> Seen {
    let tenant = place.tenant.map(|id| format!(r#""tenant":"{id}","#)).unwrap_or_default();
    let of = place.collection.map(|id| format!(r#""collection":"{id}","#)).unwrap_or_default();
    let key = place.key.map(|key| format!(r#""key":"k{key}","#)).unwrap_or_default();
    let text = format!(r#"{{"_id":{id},"_ts":{},{tenant}{of}{key}{rest}}}"#, 1_000 + id);
    Seen { id, text }
}

pub fn key(id: u64, label: u64, key: u64) -> Seen {
    at(id, label, Place { key: Some(key), ..KEY })
}

pub fn append(labels: &[u64]) -> Asked {
    Asked::Append(labels.iter().map(|&label| New { label, place: PLAIN }).collect())
}

pub fn append_to(label: u64, place: Place) -> Asked {
    Asked::Append(vec![New { label, place }])
}

pub fn put(label: u64, condition: Condition) -> Asked {
    Asked::Put { new: New { label, place: KEY }, condition }
}

pub fn list(since: u64, consistency: Consistency) -> Asked {
    Asked::List { filter: Filter::default(), since, consistency }
}

pub fn list_of(thing: Thing, consistency: Consistency) -> Asked {
    Asked::List { filter: Filter { of: Some(thing), ..Filter::default() }, since: 0, consistency }
}

pub fn read_key() -> Asked {
    Asked::Key { key: KEY.key().unwrap(), consistency: Consistency::Strong }
}

pub fn done(first: u64) -> Told {
    Told::Done { first, created: true }
}

pub fn page(changes: &[Seen], last: u64) -> Told {
    Told::Page { changes: changes.to_vec(), last, at_end: true }
}

impl Story {
    /// Adds what returned before the next is called.
    pub fn then(mut self, asked: Asked, told: Told, last: u64) -> Self {
        let (called, returned) = (self.now + 1, self.now + 2);
        self.now = returned;
        self.add(called, returned, asked, told, last);
        self
    }

    /// Adds what was under way all the time.
    pub fn beside(mut self, asked: Asked, told: Told) -> Self {
        self.add(0, Moment::MAX - 1, asked, told, 0);
        self.calls.last_mut().unwrap().last = None;
        self
    }

    pub fn add(&mut self, called: Moment, returned: Moment, asked: Asked, told: Told, last: u64) {
        let (last, idempotency) = (Some(last), None);
        let (client, node, life) = (1, 1, 0);
        self.calls.push(Call {
            cluster: None,
            age: None,
            client,
            node,
            life,
            called,
            returned,
            asked,
            idempotency,
            told,
            last,
        });
    }

    /// The newest was asked under that key.
    pub fn keyed(mut self, key: &str) -> Self {
        self.calls.last_mut().unwrap().idempotency = Some(key.to_owned());
        self
    }

    /// The newest was asked at another node.
    pub fn elsewhere(mut self) -> Self {
        self.calls.last_mut().unwrap().node = 2;
        self
    }

    /// Somebody has read all of it in the end.
    pub fn all(self, changes: &[Seen]) -> Self {
        let last = changes.last().map_or(0, |change| change.id);
        self.then(list(0, Consistency::Local), page(changes, last), last)
    }

    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub fn holds(self) {
        check(&self.calls, Settings::default()).unwrap();
    }

    pub fn breaks(self, rule: &str) {
        let broken = check(&self.calls, Settings::default()).unwrap_err();
        assert_eq!(broken.rule, rule, "{broken}");
    }

    pub fn breaks_with_retention(self, rule: &str) {
        let settings = Settings { retained_min: Some(2), ..Settings::default() };
        assert_eq!(check(&self.calls, settings).unwrap_err().rule, rule);
    }

    pub fn holds_with_retention(self) {
        check(&self.calls, Settings { retained_min: Some(2), ..Settings::default() }).unwrap();
    }

    /// Whether what changes of keys say to have replaced breaks a rule.
    pub fn tells_previous(self) -> bool {
        let settings = Settings { tells_previous: true, ..Settings::default() };
        match check(&self.calls, settings) {
            Ok(_) => true,
            Err(broken) => {
                assert_eq!(broken.rule, "prev", "{broken}");
                false
            }
        }
    }
}
