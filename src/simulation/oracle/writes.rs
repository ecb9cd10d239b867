//! What was acknowledged is there, what was refused is not, and nothing is there that
//! nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Truth, Violation, truth::Change, violation};
use crate::simulation::history::{Asked, Call, Condition, Place, Told};

/// What a write would add, by the labels of its changes.
fn expected(asked: &Asked) -> Vec<(u64, Option<u64>, Place)> {
    match asked {
        Asked::Append { labels, place, .. } => {
            labels.iter().map(|&label| (label, None, *place)).collect()
        }
        Asked::Put { label, key, .. } => vec![(*label, Some(*key), Place::default())],
        _ => Vec::new(),
    }
}

pub(super) fn check(history: &[Call], truth: &Truth, found: &mut Found) -> Result<(), Violation> {
    let mut written = BTreeMap::new();
    let mut by_key = BTreeMap::new();
    // What one of several tries did, it did.
    let happened: BTreeSet<&String> = history
        .iter()
        .filter(|call| may_have_happened(&call.told))
        .filter_map(idempotency)
        .collect();
    for call in history {
        for (label, key, place) in expected(&call.asked) {
            written.insert(label, (key, place));
        }
        match &call.told {
            Told::Done { first, .. } => {
                found.acknowledged += 1;
                acknowledged(call, *first, truth)?;
                if let Some(key) = idempotency(call)
                    && *by_key.entry(key).or_insert(*first) != *first
                {
                    let text = format!("one key, two answers: {call:?}");
                    return Err(violation("no duplicate", text));
                }
            }
            Told::Unknown => found.unknown += 1,
            Told::Failed | Told::Refused { .. }
                if idempotency(call).is_none_or(|key| !happened.contains(key)) =>
            {
                refused(call, truth)?;
            }
            _ => {}
        }
    }
    nothing_else(truth, &written)
}

fn may_have_happened(told: &Told) -> bool {
    matches!(told, Told::Done { .. } | Told::Unknown)
}

fn idempotency(call: &Call) -> Option<&String> {
    match &call.asked {
        Asked::Append { idempotency, .. } => idempotency.as_ref(),
        _ => None,
    }
}

fn acknowledged(call: &Call, first: u64, truth: &Truth) -> Result<(), Violation> {
    for ((label, ..), id) in expected(&call.asked).into_iter().zip(first..) {
        match truth.get(id) {
            Some(change) if change.label == Some(label) => {}
            // It may have been purged before anybody read it; then it is elsewhere neither.
            None if truth.place_of(label).is_none() && id < truth.last() => {}
            other => {
                let text = format!("{label} is to be change {id}, there is {other:?}: {call:?}");
                return Err(violation("no acknowledged loss", text));
            }
        }
    }
    if let Asked::Delete { key, .. } = call.asked {
        let is = truth.get(first);
        let fits = |change: &Change| change.deleted && change.key == Some(key);
        if !is.is_none_or(fits) || (is.is_none() && first >= truth.last()) {
            let text = format!("{first} is to delete {key}, there is {is:?}: {call:?}");
            return Err(violation("no acknowledged loss", text));
        }
    }
    condition(call, first, truth)
}

/// A write with a condition happened where that held.
fn condition(call: &Call, first: u64, truth: &Truth) -> Result<(), Violation> {
    let Told::Done { created, .. } = call.told else { return Ok(()) };
    if !truth.is_whole() {
        return Ok(());
    }
    let (key, condition, deletes) = match call.asked {
        Asked::Put { key, condition, .. } => (key, condition, false),
        Asked::Delete { key, condition } => (key, condition, true),
        _ => return Ok(()),
    };
    let before = truth.key_at(key, first - 1);
    let holds = match condition {
        Condition::None => true,
        Condition::Is(id) => before == Some(id),
        Condition::IsAbsent => before.is_none(),
    };
    let says_what_was = if deletes { before.is_some() } else { created == before.is_none() };
    match holds && says_what_was {
        true => Ok(()),
        false => {
            let text = format!("{key} was {before:?} before {first}: {call:?}");
            Err(violation("conditions", text))
        }
    }
}

fn refused(call: &Call, truth: &Truth) -> Result<(), Violation> {
    for (label, ..) in expected(&call.asked) {
        if let Some(id) = truth.place_of(label) {
            let text = format!("{label} certainly did not happen and is change {id}: {call:?}");
            return Err(violation("no phantom", text));
        }
    }
    Ok(())
}

fn nothing_else(
    truth: &Truth,
    written: &BTreeMap<u64, (Option<u64>, Place)>,
) -> Result<(), Violation> {
    for (id, change) in truth.all() {
        let Some(label) = change.label else { continue };
        let is = (change.key, Place { tenant: change.tenant, tag: change.tag });
        if written.get(&label) != Some(&is) {
            let text = format!("nobody wrote change {id}: {change:?}");
            return Err(violation("no phantom", text));
        }
    }
    Ok(())
}
