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

use super::{Found, Truth, Violation, keys, pages, violation};
use crate::simulation::history::{Asked, Call, Consistency, Key, Moment, Thing, Told};

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
    SawKey { key: Key, current: Option<u64> },
    /// Saw keys like this.
    SawKeys(keys::Listing),
    /// Found that one of these is not there any more.
    SawEnd { things: Vec<Thing> },
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
        let is_over = |thing: &Thing| truth.end_of(*thing).is_some_and(|end| end <= least);
        let needed = || self.call.asked.needs();
        let place = match self.effect {
            Effect::SawEnd { ref things } => {
                found.ends += 1;
                let ends = things.iter().filter_map(|thing| truth.end_of(*thing));
                ends.map(|end| end.max(least)).min()
            }
            Effect::SawKey { key, current } => {
                found.keys += 1;
                truth.when_key_was(key, current, least)
            }
            // What needs something that is over already is told so.
            _ if needed().iter().any(is_over) => None,
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
            Effect::SawKeys(ref listing) => {
                found.keys += 1;
                listing.place(least, truth)
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
    let mut begun: BTreeMap<&String, Moment> = BTreeMap::new();
    for call in history {
        let called = match &call.idempotency {
            Some(key) => *begun.entry(key).or_insert(call.called),
            None => call.called,
        };
        let Some(effect) = effect(call, truth) else { continue };
        let is_known = !matches!(call.told, Told::Unknown | Told::Failed);
        let returned = if is_known { call.returned } else { Moment::MAX };
        let is_write = matches!(effect, Effect::Write { .. });
        let operation = Operation { call, called, returned, effect };
        match &call.idempotency {
            Some(key) if is_write => {
                let of = tries.entry(key).or_insert(operation);
                of.returned = of.returned.min(returned);
            }
            // The first answer is given again, so it may be of a moment after the first try.
            _ => operations.push(operation),
        }
    }
    operations.extend(tries.into_values());
    operations
}

/// What an operation did to the order, if that is known.
fn effect(call: &Call, truth: &Truth) -> Option<Effect> {
    let news = call.asked.news();
    let write = |first: u64| {
        let count = news.len().max(1) as u64;
        Some(Effect::Write { first, last: first + count - 1 })
    };
    let is_strong = match &call.asked {
        Asked::List { consistency, .. }
        | Asked::Later { consistency, .. }
        | Asked::Key { consistency, .. }
        | Asked::Keys { consistency, .. } => *consistency == Consistency::Strong,
        Asked::State { .. } => false,
        _ => true,
    };
    match (&call.asked, &call.told) {
        (_, Told::Done { first, .. }) => write(*first),
        (_, Told::Unknown | Told::Failed) => {
            // Only what is there happened, and only some try of it.
            let is_possible = call.told == Told::Unknown || call.idempotency.is_some();
            write(truth.place_of(news.first().filter(|_| is_possible)?.label)?)
        }
        (Asked::Put { new, .. }, Told::Refused { current }) => {
            Some(Effect::SawKey { key: new.place.key()?, current: *current })
        }
        (Asked::Delete { key, .. }, Told::Refused { current }) => {
            Some(Effect::SawKey { key: *key, current: *current })
        }
        (_, Told::Gone) if is_strong => Some(Effect::SawEnd { things: call.asked.needs() }),
        (Asked::Key { key, .. }, Told::Key(seen)) if is_strong => {
            let current = seen.as_ref().map(|seen| seen.id);
            Some(Effect::SawKey { key: *key, current })
        }
        (Asked::Keys { .. }, Told::Keys { .. }) if is_strong => {
            keys::Listing::of(call).map(Effect::SawKeys)
        }
        (Asked::List { .. } | Asked::Later { .. }, Told::Page { last, at_end, .. })
            if is_strong =>
        {
            let since = pages::since(call, truth)?;
            Some(match at_end {
                true if *last == since => Effect::SawNothing { after: *last },
                true => Effect::Saw { last: *last },
                false => Effect::SawAtLeast { last: *last },
            })
        }
        _ => None,
    }
}
