//! The keys of a collection, listed: what was listed was so at one moment.

use uuid::Uuid;

use super::{Truth, Violation, violation};
use crate::simulation::history::{Asked, Call, Key, Seen, Told};

/// What a client was told of the keys of a collection.
pub(super) struct Listing {
    collection: Uuid,
    prefix: String,
    after: String,
    limit: usize,
    /// The changes of those that were listed.
    ids: Vec<u64>,
    at_end: bool,
}

impl Listing {
    pub(super) fn of(call: &Call) -> Option<Self> {
        let (Asked::Keys { collection, prefix, after, limit, .. }, Told::Keys { changes, at_end }) =
            (&call.asked, &call.told)
        else {
            return None;
        };
        let ids = changes.iter().map(|seen: &Seen| seen.id).collect();
        let (prefix, after) = (prefix.clone(), after.clone());
        let (collection, limit, at_end) = (*collection, *limit, *at_end);
        Some(Self { collection, prefix, after, limit, ids, at_end })
    }

    /// The first end of the list, from `from` on, at which the keys were these.
    pub(super) fn place(&self, from: u64, truth: &Truth) -> Option<u64> {
        let ends = truth.ends_for_keys_of(self.collection, from);
        ends.into_iter().find(|end| self.is_of(*end, truth))
    }

    /// Whether the keys were these when the list ended with `end`.
    fn is_of(&self, end: u64, truth: &Truth) -> bool {
        let is_asked = |key: &Key| {
            let name = format!("k{}", key.number);
            name.starts_with(&self.prefix) && name > self.after
        };
        let keys = truth.keys_of(self.collection).filter(is_asked);
        let current: Vec<u64> = keys.filter_map(|key| truth.key_at(key, end)).collect();
        let (given, more) = current.split_at(current.len().min(self.limit));
        // Whether there are more may be left open.
        given == self.ids && (more.is_empty() || !self.at_end)
    }
}

/// Checks listings that need not be new.
pub(super) fn check(history: &[Call], truth: &Truth) -> Result<(), Violation> {
    for call in history {
        if let Some(listing) = Listing::of(call)
            && listing.place(0, truth).is_none()
        {
            return Err(violation("keys", format!("they were never these: {call:?}")));
        }
    }
    Ok(())
}
