//! Whatever shows what is there is of one history, unless an origin was given another: then each is
//! judged by itself, and none comes back where it was replaced.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Found, Settings, Violation, violation};
use crate::{
    base::ids::NodeId,
    simulation::history::{Call, Told},
};

/// The history that an answer shows something of.
fn shown(call: &Call) -> Option<Uuid> {
    call.cluster.filter(|_| !matches!(call.told, Told::Failed | Told::Unknown))
}

/// All that was shown is of one.
pub(super) fn is_one(history: &[Call]) -> Result<(), Violation> {
    let mut first: Option<(Uuid, &Call)> = None;
    for call in history {
        let Some(cluster) = shown(call) else { continue };
        let (known, by) = *first.get_or_insert((cluster, call));
        if cluster != known {
            let text = format!("{call:?} is of another than {by:?}");
            return Err(violation("one history", text));
        }
    }
    Ok(())
}

/// Judges each of several by itself: what nobody knows of may have happened in any.
pub(super) fn check_each(history: &[Call], settings: Settings) -> Result<Vec<Found>, Violation> {
    let clusters = in_order(history);
    never_comes_back(history, &clusters)?;
    let of = |cluster: &Uuid| -> Vec<Call> {
        let calls = history.iter().filter(|call| shown(call).is_none_or(|of| of == *cluster));
        calls.cloned().collect()
    };
    clusters.iter().map(|cluster| super::check(&of(cluster), settings)).collect()
}

/// The histories in the order in which they were shown first.
fn in_order(history: &[Call]) -> Vec<Uuid> {
    let mut calls: Vec<&Call> = history.iter().collect();
    calls.sort_by_key(|call| call.returned);
    let mut clusters = Vec::new();
    for cluster in calls.into_iter().filter_map(shown) {
        if !clusters.contains(&cluster) {
            clusters.push(cluster);
        }
    }
    clusters
}

/// No node shows a history again that it had shown the next in the place of.
fn never_comes_back(history: &[Call], clusters: &[Uuid]) -> Result<(), Violation> {
    let rank = |call: &Call| clusters.iter().position(|cluster| Some(*cluster) == shown(call));
    let shows = || history.iter().filter_map(|call| Some((rank(call)?, call)));
    let (mut ended, mut begun): (Vec<_>, Vec<_>) = (shows().collect(), shows().collect());
    ended.sort_by_key(|(_, call)| call.returned);
    begun.sort_by_key(|(_, call)| call.called);
    let mut ended = ended.into_iter().peekable();
    let mut newest: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (rank, call) in begun {
        while let Some((rank, before)) = ended.next_if(|(_, before)| before.returned < call.called)
        {
            let newest = newest.entry(before.node).or_default();
            *newest = rank.max(*newest);
        }
        if newest.get(&call.node).is_some_and(|newest| rank < *newest) {
            let text = format!("it had been replaced there: {call:?}");
            return Err(violation("one history", text));
        }
    }
    Ok(())
}
