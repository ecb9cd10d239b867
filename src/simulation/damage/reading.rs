//! Everything that a client can read of a node, and whether it is what was written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::origin::{Names, Running};
use crate::simulation::wire::Answer;

/// Changes or keys of one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Each as it was sent.
    pub changes: BTreeMap<u64, String>,
    /// What was said not to be readable.
    pub damaged: Vec<(u64, u64)>,
}

/// All that was read of a node.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The newest change.
    pub last: u64,
    /// The lists of changes and of keys, by where they are asked for.
    pub lists: BTreeMap<String, Listing>,
    /// Other answers: status and body.
    pub others: BTreeMap<String, (u16, String)>,
    /// The answers to repeated writes, in order.
    pub repeated: Vec<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, alias = "keys")]
    changes: Vec<&'a RawValue>,
    #[serde(rename = "atEnd")]
    at_end: bool,
    #[serde(default)]
    last: u64,
}

#[derive(Deserialize)]
struct Change {
    _id: u64,
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    first: u64,
    last: u64,
    key: Option<String>,
}

fn problem(answer: &Answer) -> Problem {
    let problem: Problem = serde_json::from_str(&answer.body).expect("a problem");
    assert_eq!((answer.status, problem.code.as_str()), (500, "damaged"), "{answer:?}");
    assert!(problem.first <= problem.last, "{answer:?}");
    problem
}

/// Reads a list page by page, on behind what cannot be read.
async fn list(node: &mut Running, target: &str) -> Listing {
    let (is_keys, mut listing) = (target.ends_with("/keys"), Listing::default());
    let (mut since, mut after) = (0, None);
    loop {
        let mark = if target.contains('?') { '&' } else { '?' };
        let from = match (&after, is_keys) {
            (Some(after), _) => format!("{mark}after={after}"),
            (None, true) => String::new(),
            (None, false) => format!("{mark}since={since}&limit=50"),
        };
        let answer = node.get(&format!("{target}{from}")).await;
        if answer.status != 200 {
            let Problem { first, last, key, .. } = problem(&answer);
            assert!(is_keys || last > since, "{target} goes on behind {since}: {answer:?}");
            listing.damaged.push((first, last));
            since = last;
            assert!(!is_keys || (key.is_some() && key != after), "{answer:?}");
            after = key;
            continue;
        }
        let page: Page<'_> = serde_json::from_str(&answer.body).expect("a page");
        for text in &page.changes {
            let Change { _id, key } = serde_json::from_str(text.get()).expect("a change");
            let before = listing.changes.insert(_id, text.get().to_owned());
            assert_eq!(before, None, "change {_id} comes once");
            after = is_keys.then_some(key);
        }
        since = page.last;
        if page.at_end {
            return listing;
        }
        assert!(!page.changes.is_empty(), "a page that does not end the list has something");
    }
}

/// Reads all there is.
pub async fn read(node: &mut Running, names: &Names) -> Seen {
    let mut seen = Seen::default();
    let mut lists = vec!["/changes".to_owned()];
    lists.extend(names.tenants.iter().map(|id| format!("/tenants/{id}/changes")));
    let collections = names.collections.iter();
    lists.extend(collections.clone().map(|id| format!("/collections/{id}/changes")));
    lists.extend(collections.map(|id| format!("/collections/{id}/keys")));
    lists.extend((0..7).flat_map(|n| ["t", "u"].map(|tag| format!("/changes?tag={tag}{n}"))));
    let mut others = vec!["/tenants".to_owned()];
    others.extend(names.tenants.iter().map(|id| format!("/tenants/{id}/collections")));
    others.extend(names.keys.iter().cloned());
    others.extend((0..4).map(|n| format!("/tenants/tenant-{n}")));
    seen.last = node.get("/health").await.header("changeagent-last").unwrap().parse().unwrap();
    for target in lists {
        // A tenant or a collection may be gone with the end of the list.
        let is_there = node.get(target.trim_end_matches("/changes")).await.status == 200
            || !target.starts_with("/tenants/");
        if is_there && node.get(&target).await.status != 404 {
            seen.lists.insert(target.clone(), list(node, &target).await);
        }
    }
    others.extend((1..=seen.last).rev().step_by(9).map(|id| format!("/changes/{id}")));
    for target in others {
        let answer = node.get(&target).await;
        seen.others.insert(target, (answer.status, answer.body));
    }
    for keyed in &names.keyed {
        let id: serde_json::Value = serde_json::from_str(&keyed.answer).expect("an answer");
        if id["_id"].as_u64().expect("an id") <= seen.last {
            seen.repeated.push(node.ask(keyed.request()).await.body);
        }
    }
    seen
}

/// What was read, beside what there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All of it.
    Whole,
    /// All of it but what was said not to be readable.
    Damaged,
    /// All of a list that ends earlier.
    Prefix,
}

/// Judges what was `seen` where there had been `all`. A list may end earlier if `must_hold` says
/// where it must not.
///
/// # Errors
/// What is wrong.
pub fn judge(all: &Seen, seen: &Seen, must_hold: Option<u64>) -> Result<Verdict, String> {
    let is_shorter = seen.last < all.last;
    if seen.last > all.last || (is_shorter && must_hold.is_none_or(|least| seen.last < least)) {
        let (end, was) = (seen.last, all.last);
        return Err(format!("the list ends at {end}, was {was}, must hold {must_hold:?}"));
    }
    let whole = &all.lists["/changes"].changes;
    let mut is_damaged = false;
    for (target, listing) in &all.lists {
        let Some(found) = seen.lists.get(target) else {
            if is_shorter {
                continue;
            }
            return Err(format!("{target} is not there"));
        };
        is_damaged |= !found.damaged.is_empty();
        judge_list(target, listing, found, whole, is_shorter.then_some(seen.last))?;
    }
    for (target, was) in &all.others {
        let Some(found) = seen.others.get(target) else { continue };
        let is_told = found.0 == 500 && found.1.contains("\"code\":\"damaged\"");
        is_damaged |= is_told;
        if found != was && !is_told && !is_shorter {
            return Err(format!("{target} was {was:?} and is {found:?}"));
        }
    }
    if !all.repeated.starts_with(&seen.repeated) {
        return Err(format!("repeated writes were answered {:?}", seen.repeated));
    }
    Ok(match (is_damaged, is_shorter) {
        (true, _) => Verdict::Damaged,
        (false, true) => Verdict::Prefix,
        (false, false) => Verdict::Whole,
    })
}

/// Judges one list, which `ends` earlier than before, or not.
fn judge_list(
    target: &str,
    was: &Listing,
    found: &Listing,
    whole: &BTreeMap<u64, String>,
    ends: Option<u64>,
) -> Result<(), String> {
    let is_keys = target.ends_with("/keys");
    for (id, change) in &found.changes {
        // Of a list that ends earlier, an earlier version of a key may be the current one; where
        // that is purged it is in no other list.
        let is_earlier =
            is_keys && ends.is_some() && whole.get(id).is_none_or(|known| known == change);
        if was.changes.get(id) != Some(change) && !is_earlier {
            return Err(format!("{target}: change {id} is {change}"));
        }
    }
    if is_keys && ends.is_some() {
        return Ok(());
    }
    let told = |id: u64| found.damaged.iter().any(|(first, last)| (*first..=*last).contains(&id));
    let end = ends.unwrap_or(u64::MAX);
    let mut missing =
        was.changes.keys().filter(|id| **id <= end && !found.changes.contains_key(id));
    match missing.find(|id| !told(**id)) {
        Some(id) => Err(format!("{target}: change {id} is missing")),
        None => Ok(()),
    }
}
