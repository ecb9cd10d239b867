//! The checks find what they are there to find.

use std::panic::catch_unwind;

use serde_json::json;

use super::{
    check::{check_keys, check_order, check_sent},
    keys::KeyOperation,
    list::{Sent, Told},
};
use crate::linearizable::{Action, Operation, Outcome};

fn list(all: &[&str]) -> Vec<String> {
    let change = |(id, data)| format!("{{\"_id\":{id},\"_ts\":{id},\"data\":\"{data}\"}}");
    (1..).zip(all).map(change).collect()
}

fn sent(data: &str, times: (u64, u64), told: Told) -> Sent {
    Sent { data: data.into(), called: times.0, returned: times.1, told }
}

/// Whether writers who were told this may find that list.
fn holds(told: &[(&str, Told)], found: &[&str]) -> bool {
    let sent: Vec<_> = told.iter().map(|(data, told)| sent(data, (0, 9), *told)).collect();
    let list = list(found);
    catch_unwind(|| check_sent(&sent, &list)).is_ok()
}

#[test]
fn what_was_acknowledged_is_there_once() {
    let told = [("a", Told::Taken(1)), ("b", Told::Taken(2))];
    assert!(holds(&told, &["a", "b"]));
    assert!(!holds(&told, &["a"]), "lost");
    assert!(!holds(&told, &["b", "a"]), "other ids");
    assert!(!holds(&told, &["a", "b", "a"]), "twice");
    assert!(!holds(&told, &["a", "b", "c"]), "from nowhere");
}

#[test]
fn what_was_refused_is_not_there_and_what_is_unknown_may_be() {
    assert!(holds(&[("a", Told::Refused)], &[]));
    assert!(!holds(&[("a", Told::Refused)], &["a"]));
    assert!(holds(&[("a", Told::Unknown)], &[]));
    assert!(holds(&[("a", Told::Unknown)], &["a"]));
    assert!(!holds(&[("a", Told::Unknown)], &["a", "a"]));
}

#[test]
fn ids_are_in_the_order_of_time() {
    let holds = |taken: &[(u64, u64, u64)]| {
        let taken = taken.to_vec();
        catch_unwind(|| check_order(taken)).is_ok()
    };
    assert!(holds(&[(0, 5, 1), (6, 7, 2)]));
    assert!(holds(&[(0, 5, 2), (4, 7, 1)]), "at once");
    assert!(!holds(&[(0, 5, 2), (6, 7, 1)]));
    assert!(!holds(&[(0, 1, 3), (0, 9, 1), (2, 3, 2)]));
}

/// Whether clients of key 0 may have been told this, with these values under
/// the ids from 1.
fn keys_hold(told: &[(Action, Outcome, Option<u64>)], found: &[u64]) -> bool {
    let change = |(id, data): (u64, &u64)| {
        json!({"_id": id, "collection": "c", "key": "0", "data": data}).to_string()
    };
    let list: Vec<_> = (1..).zip(found).map(change).collect();
    let operation = |(n, &(action, outcome, id)): (u64, &(Action, Outcome, Option<u64>))| {
        let operation = Operation { called: 10 * n, returned: 10 * n + 5, action, outcome };
        KeyOperation { key: 0, operation, id }
    };
    let operations: Vec<_> = (0..).zip(told).map(operation).collect();
    catch_unwind(|| check_keys("c", 1, operations, &list)).is_ok()
}

#[test]
fn keys_are_checked_against_the_list_and_each_other() {
    use {Action::*, Outcome::*};
    let put = (Put(100), Done, Some(1));
    let read = (Read, Saw(Some(100)), Some(1));
    assert!(keys_hold(&[put, read], &[100]));
    assert!(!keys_hold(&[put, read], &[]), "lost");
    assert!(!keys_hold(&[put, read], &[101]), "another value");
    assert!(!keys_hold(&[put, (Put(101), Done, Some(2)), read], &[100, 101]), "stale");
    assert!(!keys_hold(&[put, (Put(101), Failed, None)], &[100, 101]), "refused");
    let taken = (PutIfAbsent(101), Refused(Some(1)), Some(1));
    assert!(keys_hold(&[put, taken], &[100]));
    assert!(!keys_hold(&[put, (Put(102), Done, Some(2)), taken], &[100, 102]), "stale");
    let unknown = (Put(101), Unknown, None);
    assert!(keys_hold(&[put, unknown, read], &[100, 101]));
    let read = (Read, Saw(Some(101)), Some(2));
    assert!(keys_hold(&[put, unknown, read], &[100, 101]));
    assert!(!keys_hold(&[put, unknown, read], &[100]), "from nowhere");
}
