//! What was acknowledged is there, what was refused is not, and nothing is there that
//! nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Truth, Violation, truth::Change, violation};
use crate::simulation::history::{Asked, Call, Place, Told};

pub(super) fn check(history: &[Call], truth: &Truth, found: &mut Found) -> Result<(), Violation> {
    let mut written = BTreeMap::new();
    let mut by_key = BTreeMap::new();
    // What one of several tries did, it did.
    let happened: BTreeSet<&String> = history
        .iter()
        .filter(|call| may_have_happened(&call.told))
        .filter_map(|call| call.idempotency.as_ref())
        .collect();
    for call in history {
        for new in call.asked.news() {
            written.insert(new.label, new.place);
        }
        match &call.told {
            Told::Done { first, .. } => {
                found.acknowledged += 1;
                acknowledged(call, *first, truth)?;
                if let Some(key) = &call.idempotency
                    && *by_key.entry(key).or_insert(*first) != *first
                {
                    let text = format!("one key, two answers: {call:?}");
                    return Err(violation("no duplicate", text));
                }
            }
            Told::Unknown => found.unknown += 1,
            Told::Failed | Told::Refused { .. } | Told::Gone
                if call.idempotency.as_ref().is_none_or(|key| !happened.contains(key)) =>
            {
                refused(call, truth)?;
            }
            _ => {}
        }
        held_back(call)?;
    }
    nothing_else(truth, &written)
}

fn may_have_happened(told: &Told) -> bool {
    matches!(told, Told::Done { .. } | Told::Unknown)
}

/// What is refused for its condition is so for no other reason.
fn held_back(call: &Call) -> Result<(), Violation> {
    let Told::Refused { current } = call.told else { return Ok(()) };
    let (condition, is_missing) = match call.asked {
        Asked::Put { condition, .. } => (condition, false),
        Asked::Delete { condition, .. } => (condition, current.is_none()),
        _ => return Ok(()),
    };
    match condition.holds(current) && !is_missing {
        true => Err(violation("conditions", format!("it holds: {call:?}"))),
        false => Ok(()),
    }
}

fn acknowledged(call: &Call, first: u64, truth: &Truth) -> Result<(), Violation> {
    for (new, id) in call.asked.news().iter().zip(first..) {
        match truth.get(id) {
            Some(change) if change.label == Some(new.label) => {}
            Some(change) if change.redacted => {}
            // It may have been purged before anybody read it; then it is elsewhere neither.
            None if truth.place_of(new.label).is_none() && id < truth.last() => {}
            other => {
                let label = new.label;
                let text = format!("{label} is to be change {id}, there is {other:?}: {call:?}");
                return Err(violation("no acknowledged loss", text));
            }
        }
    }
    let fits = |change: &Change| match call.asked {
        Asked::Delete { key, .. } => change.deleted && change.place.key() == Some(key),
        Asked::End(thing) => change.ends() == Some(thing),
        _ => true,
    };
    let is = truth.get(first);
    if !is.is_none_or(fits) || (is.is_none() && first >= truth.last()) {
        let text = format!("{first} is to be that deletion, there is {is:?}: {call:?}");
        return Err(violation("no acknowledged loss", text));
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
        Asked::Put { new, condition } => (new.place.key(), condition, false),
        Asked::Delete { key, condition } => (Some(key), condition, true),
        _ => return Ok(()),
    };
    let Some(key) = key else { return Ok(()) };
    let before = truth.key_at(key, first - 1);
    let says_what_was = if deletes { before.is_some() } else { created == before.is_none() };
    match condition.holds(before) && says_what_was {
        true => Ok(()),
        false => {
            let text = format!("{key:?} was {before:?} before {first}: {call:?}");
            Err(violation("conditions", text))
        }
    }
}

fn refused(call: &Call, truth: &Truth) -> Result<(), Violation> {
    for new in call.asked.news() {
        if let Some(id) = truth.place_of(new.label) {
            let label = new.label;
            let text = format!("{label} certainly did not happen and is change {id}: {call:?}");
            return Err(violation("no phantom", text));
        }
    }
    Ok(())
}

fn nothing_else(truth: &Truth, written: &BTreeMap<u64, Place>) -> Result<(), Violation> {
    for (id, change) in truth.all() {
        let Some(label) = change.label else { continue };
        if written.get(&label) != Some(&change.place) {
            let text = format!("nobody wrote change {id}: {change:?}");
            return Err(violation("no phantom", text));
        }
    }
    Ok(())
}
