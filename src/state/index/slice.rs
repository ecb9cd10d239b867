//! Parts of sorted maps, taken under a lock that is held for no longer.

use std::{collections::BTreeMap, ops::Bound};

/// Entries that a reader takes from a map before it lets the writer in again.
pub(super) const SLICE: usize = 256;

/// A part of a sorted list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on; `None` when nothing follows.
    pub next: Option<Box<str>>,
}

/// Entries of `map` whose names begin with `prefix`, those after `after`; at most `count`, and a
/// bounded number at once.
pub(super) fn slice<V, T>(
    map: &BTreeMap<Box<str>, V>,
    after: Option<&str>,
    prefix: &str,
    count: usize,
    mut entry: impl FnMut(&str, &V) -> T,
) -> Slice<T> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut range = map
        .range::<str, _>((start, Bound::Unbounded))
        .take_while(|(name, _)| name.starts_with(prefix))
        .peekable();
    let mut entries = Vec::new();
    let mut last = None;
    while entries.len() < count.min(SLICE) {
        let Some((name, value)) = range.next() else { break };
        entries.push(entry(name, value));
        last = Some(name);
    }
    let next = range.peek().and_then(|_| last.cloned());
    Slice { entries, next }
}
