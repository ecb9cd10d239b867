//! The list, as far as anybody saw it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use super::{Violation, violation};
use crate::simulation::history::{Asked, Call, Filter, Key, Place, Seen, Thing, Told};

/// What a change says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: u64,
    /// What its writer called it; nothing for what records a deletion.
    pub label: Option<u64>,
    pub place: Place,
    pub deleted: bool,
    /// The version of its key that it says to have replaced.
    pub prev: Option<u64>,
    /// It says that it is a deletion because a time to live was over.
    pub expired: bool,
    pub text: String,
    /// Nobody saw it before it was redacted.
    pub redacted: bool,
}

/// What a redaction leaves of a change.
fn redacted(text: &str) -> &str {
    let ends = [",\"tags\":", ",\"data\":", ",\"deleted\":", ",\"redacted\":"];
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    &text[..end.unwrap_or(text.len())]
}

impl Change {
    /// Whether a list has it.
    pub fn is_in(&self, filter: Filter) -> bool {
        let is_of = filter.of.is_none() || filter.things().any(|thing| self.is_of(thing));
        is_of && filter.tag.is_none_or(|tag| self.place.tag == Some(tag))
    }

    /// Whether it is of that tenant or collection.
    pub fn is_of(&self, thing: Thing) -> bool {
        match thing {
            Thing::Tenant(id) => self.place.tenant == Some(id),
            Thing::Collection(id) => self.place.collection == Some(id),
        }
    }

    /// The tenant or the collection whose end it records.
    pub fn ends(&self) -> Option<Thing> {
        let Place { tenant, collection, key, .. } = self.place;
        let ended = collection.map(Thing::Collection).or(tenant.map(Thing::Tenant));
        ended.filter(|_| self.deleted && key.is_none())
    }
}

#[derive(Deserialize)]
struct Text {
    _id: u64,
    _ts: u64,
    tenant: Option<Uuid>,
    collection: Option<Uuid>,
    key: Option<String>,
    prev: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
    ttl: Option<u64>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    expired: bool,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    w: u64,
}

/// Everything that was seen of the list.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    changes: BTreeMap<u64, Change>,
    /// Of each key, what it was from which change on.
    keys: BTreeMap<Key, Vec<(u64, Option<u64>)>>,
    /// By label.
    labels: BTreeMap<u64, u64>,
    /// The tenants of collections.
    tenant_of: BTreeMap<Uuid, Uuid>,
    /// Which change ended what.
    ends: BTreeMap<Thing, u64>,
    /// Changes that somebody saw redacted, or wanted to be.
    redacted: BTreeSet<u64>,
}

impl Truth {
    /// Puts together what all clients saw.
    pub fn of(history: &[Call]) -> Result<Self, Violation> {
        let mut truth = Self::default();
        for call in history {
            if let Asked::Redact(id) = call.asked {
                // It may be purged before somebody sees it so.
                truth.redacted.insert(id);
            }
            match &call.told {
                Told::Page { changes, .. }
                | Told::Keys { changes, .. }
                | Told::State { changes, .. } => {
                    for seen in changes {
                        truth.add(seen, call)?;
                    }
                }
                Told::Key(Some(seen)) => truth.add(seen, call)?,
                Told::Made(id) | Told::Taken(id) => {
                    if let Asked::Make { tenant: Some(tenant), .. } = call.asked {
                        truth.tenant_of.insert(*id, tenant);
                    }
                }
                _ => {}
            }
        }
        truth.index()?;
        Ok(truth)
    }

    fn add(&mut self, seen: &Seen, call: &Call) -> Result<(), Violation> {
        if let Some(known) = self.changes.get(&seen.id) {
            let same = known.text == seen.text
                || redacted(&known.text) == redacted(&seen.text)
                    && (known.redacted || seen.is_redacted());
            if !same {
                let text = format!("{} and {}: {call:?}", known.text, seen.text);
                return Err(violation("one order", text));
            }
            if known.redacted == seen.is_redacted() {
                return Ok(());
            }
            if seen.is_redacted() {
                self.redacted.insert(seen.id);
                return Ok(());
            }
        }
        if seen.is_redacted() {
            self.redacted.insert(seen.id);
        }
        let parsed: Text = serde_json::from_str(&seen.text)
            .map_err(|error| violation("answers", format!("{}: {error}", seen.text)))?;
        if parsed._id != seen.id {
            return Err(violation("answers", format!("{} is not {}", seen.text, seen.id)));
        }
        let place = Place {
            tenant: parsed.tenant,
            collection: parsed.collection,
            key: parsed.key.as_deref().and_then(numbered),
            tag: parsed.tags.first().map(String::as_str).and_then(numbered),
            ttl: parsed.ttl,
        };
        if let Some((collection, tenant)) = place.collection.zip(place.tenant)
            && *self.tenant_of.entry(collection).or_insert(tenant) != tenant
        {
            let text = format!("a collection has two tenants: {call:?}");
            return Err(violation("answers", text));
        }
        let Text { _ts: at, data, deleted, expired, prev, .. } = parsed;
        let (label, text) = (data.map(|data| data.w), seen.text.clone());
        let redacted = seen.is_redacted();
        let change = Change { at, label, place, deleted, prev, expired, text, redacted };
        self.changes.insert(seen.id, change);
        Ok(())
    }

    /// Looks at the list as a whole.
    fn index(&mut self) -> Result<(), Violation> {
        let mut before: Option<(u64, &Change)> = None;
        for (&id, change) in &self.changes {
            if let Some((earlier, of)) = before
                && of.at > change.at
            {
                return Err(violation("stamps", format!("{earlier} is stamped after {id}")));
            }
            before = Some((id, change));
            if let Some(label) = change.label
                && let Some(other) = self.labels.insert(label, id)
            {
                let text = format!("what was written once is at {other} and at {id}: {change:?}");
                return Err(violation("no duplicate", text));
            }
            let of = [
                change.place.tenant.map(Thing::Tenant),
                change.place.collection.map(Thing::Collection),
            ];
            if let Some((gone, end)) =
                of.iter().flatten().find_map(|of| self.ends.get_key_value(of))
            {
                let text = format!("{id} belongs to {gone}, which {end} ended: {change:?}");
                return Err(violation("nothing lives on", text));
            }
            if let Some(key) = change.place.key() {
                let current = (!change.deleted).then_some(id);
                self.keys.entry(key).or_default().push((id, current));
            }
            if let Some(ended) = change.ends() {
                let ended = with_collections(ended, &self.tenant_of);
                for (_, course) in self
                    .keys
                    .iter_mut()
                    .filter(|(key, _)| ended.contains(&Thing::Collection(key.collection)))
                {
                    course.push((id, None));
                }
                for thing in ended {
                    self.ends.entry(thing).or_insert(id);
                }
            }
        }
        Ok(())
    }

    /// The newest change that anybody saw.
    pub fn last(&self) -> u64 {
        self.changes.last_key_value().map_or(0, |(&id, _)| id)
    }

    /// The last change that is stamped `at` or earlier; 0 when there is none.
    pub fn last_upto(&self, at: u64) -> u64 {
        let earlier = self.changes.iter().rev().find(|(_, change)| change.at <= at);
        earlier.map_or(0, |(&id, _)| id)
    }

    /// Whether somebody saw every change up to the newest.
    pub fn is_whole(&self) -> bool {
        self.changes.len() as u64 == self.last()
    }

    /// Whether a change was redacted at some time, or may have been.
    pub fn is_redacted(&self, id: u64) -> bool {
        self.redacted.contains(&id)
    }

    pub fn get(&self, id: u64) -> Option<&Change> {
        self.changes.get(&id)
    }

    pub fn all(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.changes.iter().map(|(&id, change)| (id, change))
    }

    /// Those after `since` up to and with `last`.
    pub fn between(&self, since: u64, last: u64) -> impl Iterator<Item = (u64, &Change)> {
        let range = (since < last).then(|| self.changes.range(since + 1..=last));
        range.into_iter().flatten().map(|(&id, change)| (id, change))
    }

    /// Where what bears a label is.
    pub fn place_of(&self, label: u64) -> Option<u64> {
        self.labels.get(&label).copied()
    }

    /// The change that ended a tenant or a collection, its tenant's end included.
    pub fn end_of(&self, thing: Thing) -> Option<u64> {
        self.ends.get(&thing).copied()
    }

    /// The tenant of a collection.
    pub fn tenant_of(&self, collection: Uuid) -> Option<Uuid> {
        self.tenant_of.get(&collection).copied()
    }

    /// What a key was when the list ended with `at`.
    pub fn key_at(&self, key: Key, at: u64) -> Option<u64> {
        let course = self.keys.get(&key)?;
        let next = course.partition_point(|(id, _)| *id <= at);
        next.checked_sub(1).and_then(|before| course[before].1)
    }

    /// The first end of the list, from `from` on, at which a key was `current`.
    pub fn when_key_was(&self, key: Key, current: Option<u64>, from: u64) -> Option<u64> {
        if self.key_at(key, from) == current {
            return Some(from);
        }
        let course = self.keys.get(&key)?;
        let later = course.partition_point(|(id, _)| *id <= from);
        course[later..].iter().find(|(_, is)| *is == current).map(|(id, _)| *id)
    }

    /// The keys of a collection in their order, each with its number and what it was from which
    /// change on.
    pub fn keys_of(&self, collection: Uuid) -> impl Iterator<Item = Key> {
        let range = Key { collection, number: 0 }..=Key { collection, number: u64::MAX };
        self.keys.range(range).map(|(key, _)| *key)
    }

    /// The ends of the list, from `from` on, at which the keys of a collection may be others than
    /// at the one before.
    pub fn ends_for_keys_of(&self, collection: Uuid, from: u64) -> BTreeSet<u64> {
        let courses = self.keys_of(collection).filter_map(|key| self.keys.get(&key));
        let later = courses.flatten().map(|(id, _)| *id).filter(|id| *id > from);
        later.chain([from]).collect()
    }
}

/// What ends with it.
fn with_collections(thing: Thing, tenant_of: &BTreeMap<Uuid, Uuid>) -> BTreeSet<Thing> {
    let of_it = |tenant: &Uuid| thing == Thing::Tenant(*tenant);
    let collections = tenant_of.iter().filter(|(_, tenant)| of_it(tenant));
    collections.map(|(collection, _)| Thing::Collection(*collection)).chain([thing]).collect()
}

/// `k7` is 7.
fn numbered(name: &str) -> Option<u64> {
    name.get(1..)?.parse().ok()
}
