//! What must be true of the list after all clients have ended.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use serde_json::Value;

use super::{
    keys::KeyOperation,
    list::{Sent, Told},
};
use crate::linearizable::{self, Action, Outcome};

/// What a follower saw is the list as far as it goes.
pub(super) fn check_seen(address: SocketAddr, seen: &[String], list: &[String]) {
    for (seen, change) in seen.iter().zip(list) {
        assert_eq!(seen, change, "the follower at {address}");
    }
}

/// Times never decrease along the list.
pub(super) fn check_list(list: &[String]) {
    let mut newest = 0;
    for change in list {
        let time = parsed(change)["_ts"].as_u64().expect("a time");
        assert!(time >= newest, "{newest} before {change}");
        newest = time;
    }
}

fn parsed(change: &str) -> Value {
    serde_json::from_str(change).expect("a change")
}

/// Every write that was acknowledged is in the list once and where it was said
/// to be; none that was refused; others once at most, and nothing else.
pub(super) fn check_sent(sent: &[Sent], list: &[String]) {
    let mut ids = HashMap::new();
    for (id, change) in (1..).zip(list) {
        let change = parsed(change);
        if let Some(data) = change["data"].as_str() {
            let before = ids.insert(data.to_owned(), id);
            assert_eq!(before, None, "twice in the list: {change}");
        }
    }
    for Sent { data, told, .. } in sent {
        let id = ids.remove(data);
        match told {
            Told::Taken(taken) => assert_eq!(id, Some(*taken), "acknowledged: {data}"),
            Told::Refused => assert_eq!(id, None, "refused: {data}"),
            Told::Unknown => {}
        }
    }
    assert!(ids.is_empty(), "nobody sent {ids:?}");
    let taken: Vec<_> = sent
        .iter()
        .filter_map(|one| match one.told {
            Told::Taken(id) => Some((one.called, one.returned, id)),
            _ => None,
        })
        .collect();
    check_order(taken);
}

/// A write that began after another had returned has a higher id.
pub(super) fn check_order(mut taken: Vec<(u64, u64, u64)>) {
    let mut returns: Vec<_> = taken.iter().map(|&(_, returned, id)| (returned, id)).collect();
    returns.sort_unstable();
    taken.sort_unstable();
    let mut returns = returns.into_iter().peekable();
    let mut highest = 0;
    for (called, _, id) in taken {
        while let Some((_, before)) = returns.next_if(|&(returned, _)| returned < called) {
            highest = highest.max(before);
        }
        assert!(id > highest, "{id} was written after {highest}");
    }
}

/// What was seen of each key could have come from one register, whose writes
/// stand in the list.
pub(super) fn check_keys(
    collection: &str,
    count: usize,
    operations: Vec<KeyOperation>,
    list: &[String],
) {
    let mut values = HashMap::new();
    let mut written = vec![HashSet::new(); count];
    for (id, change) in (1_u64..).zip(list) {
        let change = parsed(change);
        if change["collection"] == collection {
            let key: usize = change["key"].as_str().expect("a key").parse().unwrap();
            if let Some(value) = change["data"].as_u64() {
                assert!(written[key].insert(value), "twice in the list: {change}");
                values.insert(id, value);
            }
        }
    }
    let taken = operations.iter().filter(|one| one.operation.outcome == Outcome::Done);
    let times =
        |one: &KeyOperation| (one.operation.called, one.operation.returned, one.id.unwrap());
    check_order(taken.map(times).collect());

    let mut histories = vec![Vec::new(); count];
    for KeyOperation { key, mut operation, id } in operations {
        operation.outcome = match operation.outcome {
            Outcome::Refused(Some(_)) => Outcome::Refused(id.map(|id| values[&id])),
            outcome => outcome,
        };
        let value = match operation.action {
            Action::Put(value) | Action::PutIf { value, .. } | Action::PutIfAbsent(value) => value,
            _ => 0,
        };
        match operation.outcome {
            Outcome::Done if value > 0 => {
                assert_eq!(values.get(&id.unwrap()), Some(&value), "acknowledged: {operation:?}");
            }
            Outcome::Refused(_) | Outcome::Failed => {
                assert!(!written[key].contains(&value), "refused: {operation:?}");
            }
            Outcome::Saw(Some(seen)) => {
                assert_eq!(values.get(&id.unwrap()), Some(&seen), "from nowhere: {operation:?}");
            }
            // It is known by now whether it happened, or whether it ever will.
            Outcome::Unknown if value > 0 && !written[key].contains(&value) => {
                operation.outcome = Outcome::Failed;
            }
            _ => {}
        }
        histories[key].push(operation);
    }
    for (key, history) in histories.iter().enumerate() {
        if let Err(violation) = linearizable::check(history) {
            panic!("key {key}: {violation}");
        }
    }
}
