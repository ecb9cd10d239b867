//! Writes and strong reads have an order in which each finds what the ones before it
//! left, and which agrees with time: what had returned before another was called comes
//! before it.
//!
//! The list tells the order of the writes: the place of a write is its id. A read has a
//! place where it could have seen what it saw, an end of the list. So they are taken in
//! the order in which they were called, and each gets the first place that is possible
//! and not before the place of any that had returned by then. If that leads nowhere,
//! nothing does: a later place for one leaves less to those behind it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Truth, Violation, violation};
use crate::simulation::history::{Asked, Call, Consistency, Moment, Told};

/// What takes its place in the order.
struct Operation<'a> {
    call: &'a Call,
    called: Moment,
    returned: Moment,
    effect: Effect,
}

enum Effect {
    /// Takes effect with its changes, from the first to the last.
    Write { first: u64, last: u64 },
    /// Saw the list end there.
    Saw { last: u64 },
    /// Saw at least so much of the list.
    SawAtLeast { last: u64 },
    /// Saw nothing after that.
    SawNothing { after: u64 },
    /// Saw a key like this.
    SawKey { key: u64, current: Option<u64> },
}

pub(super) fn check(history: &[Call], truth: &Truth, found: &mut Found) -> Result<(), Violation> {
    let mut operations = operations(history, truth);
    operations.sort_by_key(|operation| operation.called);
    // By when they returned: how far the list was for each.
    let mut places: BTreeSet<(Moment, u64)> = BTreeSet::new();
    let mut least = 0;
    for operation in &operations {
        while let Some(&(moment, place)) = places.first()
            && moment < operation.called
        {
            places.pop_first();
            least = least.max(place);
        }
        let place = operation.place(least, truth, found)?;
        places.insert((operation.returned, place));
    }
    Ok(())
}

impl Operation<'_> {
    /// The first place that it can have when the list is `least` long already.
    fn place(&self, least: u64, truth: &Truth, found: &mut Found) -> Result<u64, Violation> {
        let place = match self.effect {
            Effect::Write { first, last } => (least < first).then_some(last),
            Effect::Saw { last } => {
                found.strong += 1;
                (least <= last).then_some(last)
            }
            Effect::SawAtLeast { last } => Some(least.max(last)),
            Effect::SawNothing { after } => {
                found.strong += 1;
                (least <= after).then_some(least)
            }
            Effect::SawKey { key, current } => {
                found.keys += 1;
                truth.when_key_was(key, current, least)
            }
        };
        place.ok_or_else(|| {
            let text = format!("the list ended with {least} before it: {:?}", self.call);
            violation("linearizable", text)
        })
    }
}

fn operations<'a>(history: &'a [Call], truth: &Truth) -> Vec<Operation<'a>> {
    let mut operations = Vec::new();
    // Tries of one request are one write, which began with the first of them.
    let mut tries: BTreeMap<&String, Operation<'a>> = BTreeMap::new();
    for call in history {
        let Some(effect) = effect(call, truth) else { continue };
        let is_known = !matches!(call.told, Told::Unknown | Told::Failed);
        let returned = if is_known { call.returned } else { Moment::MAX };
        let operation = Operation { call, called: call.called, returned, effect };
        match &call.asked {
            Asked::Append { idempotency: Some(key), .. } => {
                let of = tries.entry(key).or_insert(operation);
                of.called = of.called.min(call.called);
                of.returned = of.returned.min(returned);
            }
            _ => operations.push(operation),
        }
    }
    operations.extend(tries.into_values());
    operations
}

/// What an operation did to the order, if that is known.
fn effect(call: &Call, truth: &Truth) -> Option<Effect> {
    match (&call.asked, &call.told) {
        (Asked::Append { labels, .. }, Told::Done { first, .. }) => {
            Some(Effect::Write { first: *first, last: first + labels.len() as u64 - 1 })
        }
        (_, Told::Done { first, .. }) => Some(Effect::Write { first: *first, last: *first }),
        (Asked::Append { labels, .. }, Told::Unknown | Told::Failed) => {
            let first = truth.place_of(*labels.first()?)?;
            Some(Effect::Write { first, last: first + labels.len() as u64 - 1 })
        }
        (Asked::Put { label, .. }, Told::Unknown) => {
            let first = truth.place_of(*label)?;
            Some(Effect::Write { first, last: first })
        }
        (Asked::Put { key, .. } | Asked::Delete { key, .. }, Told::Refused { current }) => {
            Some(Effect::SawKey { key: *key, current: *current })
        }
        (Asked::Key { key, consistency: Consistency::Strong }, Told::Key(seen)) => {
            let current = seen.as_ref().map(|seen| seen.id);
            Some(Effect::SawKey { key: *key, current })
        }
        (
            Asked::List { consistency: Consistency::Strong, since, .. },
            Told::Page { last, at_end, .. },
        ) => match at_end {
            true if last == since => Some(Effect::SawNothing { after: *last }),
            true => Some(Effect::Saw { last: *last }),
            false => Some(Effect::SawAtLeast { last: *last }),
        },
        _ => None,
    }
}
