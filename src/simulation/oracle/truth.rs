//! The list, as far as anybody saw it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Violation, violation};
use crate::simulation::history::{Call, Filter, Seen, Told};

/// What a change says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: u64,
    /// What its writer called it; nothing for what records a deletion.
    pub label: Option<u64>,
    pub key: Option<u64>,
    /// The name of its tenant in the run, where that can be told.
    pub tenant: Option<u64>,
    pub tag: Option<u64>,
    pub deleted: bool,
    pub text: String,
}

impl Change {
    /// Whether a list has it.
    pub fn is_in(&self, filter: Filter) -> bool {
        match filter {
            Filter::All => true,
            Filter::Tenant(tenant) => self.tenant == Some(tenant),
            Filter::Tag(tag) => self.tag == Some(tag),
            Filter::Collection => self.key.is_some(),
        }
    }
}

#[derive(Deserialize)]
struct Text {
    _id: u64,
    _ts: u64,
    key: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    deleted: bool,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    w: u64,
    /// The tenant, once more: the UUID in the change is not known here.
    t: Option<u64>,
}

/// Everything that was seen of the list.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    changes: BTreeMap<u64, Change>,
    /// Of each key, what it was from which change on.
    keys: BTreeMap<u64, Vec<(u64, Option<u64>)>>,
    /// By label.
    labels: BTreeMap<u64, u64>,
}

impl Truth {
    /// Puts together what all clients saw.
    pub fn of(history: &[Call]) -> Result<Self, Violation> {
        let mut truth = Self::default();
        for call in history {
            match &call.told {
                Told::Page { changes, .. } => {
                    for seen in changes {
                        truth.add(seen, call)?;
                    }
                }
                Told::Key(Some(seen)) => truth.add(seen, call)?,
                _ => {}
            }
        }
        truth.index()?;
        Ok(truth)
    }

    fn add(&mut self, seen: &Seen, call: &Call) -> Result<(), Violation> {
        if let Some(known) = self.changes.get(&seen.id) {
            if known.text != seen.text {
                let text = format!("{} and {}: {call:?}", known.text, seen.text);
                return Err(violation("one order", text));
            }
            return Ok(());
        }
        let parsed: Text = serde_json::from_str(&seen.text)
            .map_err(|error| violation("answers", format!("{}: {error}", seen.text)))?;
        if parsed._id != seen.id {
            return Err(violation("answers", format!("{} is not {}", seen.text, seen.id)));
        }
        let change = Change {
            at: parsed._ts,
            label: parsed.data.as_ref().map(|data| data.w),
            key: parsed.key.as_deref().and_then(numbered),
            tenant: parsed.data.and_then(|data| data.t),
            tag: parsed.tags.first().map(String::as_str).and_then(numbered),
            deleted: parsed.deleted,
            text: seen.text.clone(),
        };
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
            if let Some(key) = change.key {
                let current = (!change.deleted).then_some(id);
                self.keys.entry(key).or_default().push((id, current));
            }
        }
        Ok(())
    }

    /// The newest change that anybody saw.
    pub fn last(&self) -> u64 {
        self.changes.last_key_value().map_or(0, |(&id, _)| id)
    }

    /// Whether somebody saw every change up to the newest.
    pub fn is_whole(&self) -> bool {
        self.changes.len() as u64 == self.last()
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

    /// What a key was when the list ended with `at`.
    pub fn key_at(&self, key: u64, at: u64) -> Option<u64> {
        let course = self.keys.get(&key)?;
        let next = course.partition_point(|(id, _)| *id <= at);
        next.checked_sub(1).and_then(|before| course[before].1)
    }

    /// The first end of the list, from `from` on, at which a key was `current`.
    pub fn when_key_was(&self, key: u64, current: Option<u64>, from: u64) -> Option<u64> {
        if self.key_at(key, from) == current {
            return Some(from);
        }
        let course = self.keys.get(&key)?;
        let later = course.partition_point(|(id, _)| *id <= from);
        course[later..].iter().find(|(_, is)| *is == current).map(|(id, _)| *id)
    }
}

/// `k7` is 7.
fn numbered(name: &str) -> Option<u64> {
    name.get(1..)?.parse().ok()
}
