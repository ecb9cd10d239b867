//! No node ever shows less than it did before, restarts included, and no two have one number.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Settings, Truth, Violation, violation};
use crate::{
    base::ids::NodeId,
    simulation::history::{Asked, Call, Moment, Numbered, Thing, Told},
};

pub(super) fn check(history: &[Call], truth: &Truth, settings: Settings) -> Result<(), Violation> {
    let mut nodes: BTreeMap<(NodeId, u32), Vec<&Call>> = BTreeMap::new();
    for call in history {
        if shows(&call.told) && call.last.is_some() {
            nodes.entry((call.node, call.life)).or_default().push(call);
        }
    }
    nodes
        .iter_mut()
        .try_for_each(|((node, _), calls)| check_node(calls, truth, settings.is_copy(*node)))
}

/// A number is given to one member, and never again.
pub(super) fn check_numbers(numbered: &[Numbered]) -> Result<(), Violation> {
    let mut members: BTreeMap<(Uuid, u64), (NodeId, u32)> = BTreeMap::new();
    for &Numbered { node, begun, cluster, number } in numbered {
        let first = *members.entry((cluster, number)).or_insert((node, begun));
        if first != (node, begun) {
            let text = format!("{number} was that of {first:?} and is that of {node} {begun}");
            return Err(violation("numbers", text));
        }
    }
    Ok(())
}

/// Whether an answer shows what the node holds.
fn shows(told: &Told) -> bool {
    matches!(
        told,
        Told::Done { .. }
            | Told::Refused { .. }
            | Told::Page { .. }
            | Told::Key(_)
            | Told::Keys { .. }
            | Told::Purged { .. }
    )
}

/// Whether an answer is a reading of the list. That of a write says what was decided, which a
/// node that has just started knows before it serves reads again.
fn is_read(told: &Told) -> bool {
    matches!(told, Told::Page { .. } | Told::Key(_) | Told::Keys { .. } | Told::Purged { .. })
}

fn check_node(calls: &mut [&Call], truth: &Truth, is_copy: bool) -> Result<(), Violation> {
    let shown = |call: &Call| shown(call, is_copy);
    let mut ended: Vec<(Moment, &Call)> = calls.iter().map(|call| (call.returned, *call)).collect();
    ended.sort_by_key(|(moment, _)| *moment);
    let mut ended = ended.into_iter().peekable();
    calls.sort_by_key(|call| call.called);
    let mut newest: Option<&Call> = None;
    for call in calls {
        while let Some((_, before)) = ended.next_if(|(moment, _)| *moment < call.called) {
            if newest.is_none_or(|newest| shown(newest) < shown(before)) {
                newest = Some(before);
            }
        }
        if let Some(before) = newest
            && is_read(&call.told)
            && shown(call).min(reaches(call)) < shown(before)
        {
            let text = format!("{call:?} shows less than, before it, {before:?}");
            return Err(violation("a node never goes back", text));
        }
        // A key that is not there may be so because its collection is not.
        let is_of_it = matches!(call.told, Told::Page { .. } | Told::Keys { .. });
        let is_over = |thing: &Thing, by| truth.end_of(*thing).is_some_and(|end| end <= by);
        if let Some(before) = newest
            && is_of_it
            && call.asked.needs().iter().any(|thing| is_over(thing, shown(before)))
        {
            let text = format!("{call:?} shows what had ended, before it, at {before:?}");
            return Err(violation("a node never goes back", text));
        }
    }
    Ok(())
}

/// How far a page reaches that has the end of its list: a copy may have it of an origin that lies behind.
fn reaches(call: &Call) -> u64 {
    match (&call.asked, &call.told) {
        (Asked::List { .. }, Told::Page { last, at_end: true, .. }) => *last,
        _ => u64::MAX,
    }
}

/// How far the list is that the answer shows: what is told to be written is there to be read, but at
/// a copy.
fn shown(call: &Call, is_copy: bool) -> u64 {
    let count = call.asked.news().len().max(1) as u64;
    let written = match call.told {
        Told::Done { first, .. } if !is_copy => first + count - 1,
        _ => 0,
    };
    call.last.unwrap_or(0).max(written)
}
