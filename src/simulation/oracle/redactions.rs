//! What is redacted is never shown again: not by the node that said so, nor by one that has shown it
//! redacted, nor in a strong read; and only what somebody wanted gone is.

use std::collections::BTreeMap;

use super::{Settings, Violation, violation};
use crate::{
    base::ids::NodeId,
    simulation::history::{Asked, Call, Consistency, Moment, Seen, Told},
};

/// By when a change was redacted.
#[derive(Default)]
struct Known {
    /// Somebody wanted it.
    asked: Option<Moment>,
    /// A node had said so.
    told: Option<Moment>,
    /// Of each node, in each of its lives: it had said so, or shown it.
    at: BTreeMap<(NodeId, u32), Moment>,
}

fn earlier(known: Option<Moment>, moment: Moment) -> Option<Moment> {
    Some(known.map_or(moment, |known| known.min(moment)))
}

pub(super) fn check(history: &[Call], settings: Settings) -> Result<(), Violation> {
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    let note = |known: &mut Known, call: &Call| {
        let at = known.at.entry((call.node, call.life)).or_insert(call.returned);
        *at = call.returned.min(*at);
    };
    for call in history {
        if let Asked::Redact(id) = call.asked {
            let known = known.entry(id).or_default();
            known.asked = earlier(known.asked, call.called);
            if call.told == Told::Redacted {
                known.told = earlier(known.told, call.returned);
                if !settings.is_copy(call.node) {
                    note(known, call);
                }
            }
        }
        for seen in seen(call).iter().filter(|seen| seen.is_redacted()) {
            note(known.entry(seen.id).or_default(), call);
        }
    }
    for call in history {
        seen(call).iter().try_for_each(|seen| check_seen(call, seen, known.get(&seen.id)))?;
    }
    Ok(())
}

fn check_seen(call: &Call, seen: &Seen, known: Option<&Known>) -> Result<(), Violation> {
    let wrong = |what: &str| Err(violation("redactions", format!("{} {what}: {call:?}", seen.id)));
    let was = |moment: Option<&Moment>| moment.is_some_and(|moment| *moment < call.called);
    if seen.is_redacted() {
        let is_tagged = matches!(
            call.asked,
            Asked::List { filter, .. } | Asked::Later { filter, .. } if filter.tag.is_some()
        );
        return match known.and_then(|known| known.asked) {
            Some(asked) if asked < call.returned && !is_tagged => Ok(()),
            Some(_) if is_tagged => wrong("bears no tag any more"),
            _ => wrong("is redacted, which nobody wanted"),
        };
    }
    // A part of a stream may have been sent long before it was taken.
    let (Some(known), Some(_)) = (known, call.last) else { return Ok(()) };
    let is_strong = match call.asked {
        Asked::List { consistency, .. }
        | Asked::Later { consistency, .. }
        | Asked::Key { consistency, .. }
        | Asked::Keys { consistency, .. } => consistency == Consistency::Strong,
        _ => false,
    };
    if was(known.at.get(&(call.node, call.life))) || (is_strong && was(known.told.as_ref())) {
        return wrong("was redacted before");
    }
    Ok(())
}

/// The changes that an answer shows. What came of a state may be from several nodes.
fn seen(call: &Call) -> &[Seen] {
    match &call.told {
        Told::Page { changes, .. } | Told::Keys { changes, .. } => changes,
        Told::Key(Some(seen)) => std::slice::from_ref(seen),
        _ => &[],
    }
}
