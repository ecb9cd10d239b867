//! Histories that are linearizable, and others.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use proptest::{prelude::*, test_runner::TestCaseError};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Action::*, Outcome::*, *};

fn operation(called: u64, returned: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { called, returned, action, outcome }
}

fn holds(history: &[Operation]) {
    if let Err(violation) = check(history) {
        panic!("{violation}");
    }
}

fn fails(history: &[Operation]) {
    assert!(check(history).is_err(), "{history:?}");
}

#[test]
fn an_empty_history_is_linearizable() {
    holds(&[]);
}

#[test]
fn a_read_beside_a_write_sees_either() {
    for seen in [None, Some(1)] {
        holds(&[operation(0, 10, Put(1), Done), operation(2, 8, Read, Saw(seen))]);
    }
}

#[test]
fn a_stale_read_is_found() {
    fails(&[
        operation(0, 1, Put(1), Done),
        operation(2, 3, Put(2), Done),
        operation(4, 5, Read, Saw(Some(1))),
    ]);
    fails(&[operation(0, 1, Put(1), Done), operation(2, 3, Read, Saw(None))]);
}

#[test]
fn reads_do_not_go_back() {
    let reads = |first, second| {
        [
            operation(0, 1, Put(1), Done),
            operation(2, 20, Put(2), Done),
            operation(3, 4, Read, Saw(Some(first))),
            operation(5, 6, Read, Saw(Some(second))),
        ]
    };
    holds(&reads(1, 1));
    holds(&reads(1, 2));
    holds(&reads(2, 2));
    fails(&reads(2, 1));
}

#[test]
fn a_lost_update_is_found() {
    let replaces = |value| PutIf { version: 1, value };
    fails(&[
        operation(0, 1, Put(1), Done),
        operation(2, 9, replaces(2), Done),
        operation(3, 8, replaces(3), Done),
    ]);
    holds(&[
        operation(0, 1, Put(1), Done),
        operation(2, 9, replaces(2), Done),
        operation(3, 8, replaces(3), Refused(Some(2))),
    ]);
}

#[test]
fn a_lost_write_is_found() {
    fails(&[operation(0, 1, PutIfAbsent(1), Done), operation(2, 3, PutIfAbsent(2), Done)]);
    fails(&[operation(0, 1, Put(1), Done), operation(2, 3, Delete, Refused(None))]);
}

#[test]
fn a_refusal_names_what_is_there() {
    let history = |current| {
        [
            operation(0, 1, Put(1), Done),
            operation(2, 3, Put(2), Done),
            operation(4, 5, PutIf { version: 1, value: 3 }, Refused(current)),
        ]
    };
    holds(&history(Some(2)));
    fails(&history(None));
    fails(&history(Some(1)));
}

#[test]
fn a_refusal_without_reason_is_found() {
    fails(&[operation(0, 1, PutIfAbsent(1), Refused(None))]);
    fails(&[
        operation(0, 1, Put(1), Done),
        operation(2, 3, PutIf { version: 1, value: 2 }, Refused(Some(1))),
    ]);
}

#[test]
fn deletions_count() {
    holds(&[
        operation(0, 1, Put(1), Done),
        operation(2, 3, DeleteIf { version: 1 }, Done),
        operation(4, 5, Read, Saw(None)),
        operation(6, 7, Delete, Refused(None)),
        operation(8, 9, PutIfAbsent(2), Done),
    ]);
    fails(&[
        operation(0, 1, Put(1), Done),
        operation(2, 3, Delete, Done),
        operation(4, 5, Read, Saw(Some(1))),
    ]);
    fails(&[
        operation(0, 1, Put(1), Done),
        operation(2, 9, Delete, Done),
        operation(2, 9, Delete, Done),
    ]);
}

#[test]
fn an_unknown_write_happens_late_or_never() {
    let unknown = operation(0, 1, Put(1), Unknown);
    holds(&[unknown, operation(2, 3, Read, Saw(None))]);
    holds(&[unknown, operation(2, 3, Read, Saw(Some(1)))]);
    holds(&[
        unknown,
        operation(2, 3, Read, Saw(None)),
        operation(4, 5, Put(2), Done),
        operation(6, 7, Read, Saw(Some(2))),
        operation(8, 9, Read, Saw(Some(1))),
    ]);
}

#[test]
fn an_unknown_write_happens_once() {
    fails(&[
        operation(0, 1, Put(1), Unknown),
        operation(2, 3, Read, Saw(Some(1))),
        operation(4, 5, Put(2), Done),
        operation(6, 7, Read, Saw(Some(1))),
    ]);
    let deletion = operation(0, 1, Delete, Unknown);
    let history = [
        deletion,
        operation(2, 3, Put(1), Done),
        operation(4, 5, Read, Saw(None)),
        operation(6, 7, Put(2), Done),
        operation(8, 9, Read, Saw(None)),
    ];
    fails(&history);
    holds(&[&history[..], &[deletion]].concat());
}

#[test]
fn an_unknown_write_that_nobody_saw_may_be_what_was_deleted() {
    let history = [operation(0, 1, Put(1), Unknown), operation(2, 3, Delete, Done)];
    holds(&history);
    fails(&[&history[..], &[operation(4, 5, Delete, Done)]].concat());
}

#[test]
fn an_unknown_write_that_was_seen_shows_what_it_replaced() {
    let history = [
        operation(0, 1, Put(1), Unknown),
        operation(2, 3, PutIf { version: 1, value: 2 }, Unknown),
        operation(4, 5, Read, Saw(Some(2))),
    ];
    holds(&history);
    fails(&history[1..]);
    fails(&[&history[..], &[operation(6, 7, Read, Saw(Some(1)))]].concat());
}

#[test]
fn an_unknown_deletion_may_have_found_an_unknown_write() {
    let history = [
        operation(0, 1, Put(1), Done),
        operation(2, 3, Put(2), Unknown),
        operation(4, 5, DeleteIf { version: 2 }, Unknown),
        operation(6, 7, Read, Saw(None)),
    ];
    holds(&history);
    fails(&[history[0], history[1], history[3]]);
    fails(&[history[0], history[2], history[3]]);
}

#[test]
fn no_write_happens_before_it_is_called() {
    for outcome in [Done, Unknown] {
        fails(&[operation(0, 1, Read, Saw(Some(1))), operation(2, 3, Put(1), outcome)]);
    }
}

#[test]
fn a_failed_write_is_never_seen() {
    let failed = operation(0, 1, Put(1), Failed);
    holds(&[failed, operation(2, 3, Read, Saw(None))]);
    fails(&[failed, operation(2, 3, Read, Saw(Some(1)))]);
}

#[test]
#[should_panic(expected = "two writes of 1")]
fn values_are_unique() {
    let _ = check(&[operation(0, 1, Put(1), Done), operation(2, 3, Put(1), Done)]);
}

/// A history of so many operations by so many clients, made from a run one
/// by one: each client has one operation open at a time, around the moment
/// of its effect.
fn generated(seed: u64, count: usize, clients: usize, unknowns: usize) -> Vec<Operation> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut free = vec![0; clients];
    let (mut state, mut now) = (None, 0);
    let mut history = Vec::new();
    for n in 0..count {
        now += 10;
        let value = n as u64 + 1;
        let version = match state {
            Some(version) if rng.random_bool(0.8) => version,
            _ => rng.random_range(0..=value),
        };
        let action = match rng.random_range(0..10) {
            0..4 => Read,
            4 => Put(value),
            5..7 => PutIf { version, value },
            7 => PutIfAbsent(value),
            8 => Delete,
            _ => DeleteIf { version },
        };
        let outcome = match action.done(state) {
            _ if action == Read => Saw(state),
            Some(_) => Done,
            None => Refused(state),
        };
        state = action.done(state).unwrap_or(state);
        let client = rng.random_range(0..clients);
        let called = rng.random_range(free[client]..=now.max(free[client]));
        // A client that is behind is busy up to then.
        now = now.max(called);
        let returned = now + rng.random_range(0..10 * clients as u64);
        free[client] = returned + 1;
        history.push(operation(called, returned, action, outcome));
    }
    for _ in 0..unknowns {
        let at = rng.random_range(0..history.len());
        history[at].outcome = Unknown;
    }
    history
}

/// What changes one operation so that no order can explain it any more.
fn spoil(history: &mut [Operation], rng: &mut StdRng) -> bool {
    let never = history.len() as u64 + 7;
    let at = rng.random_range(0..history.len());
    let operation = &mut history[at];
    match (operation.action, operation.outcome) {
        (Read, Saw(_)) => operation.outcome = Saw(Some(never)),
        (_, Refused(_)) => operation.outcome = Refused(Some(never)),
        (PutIf { .. }, Done) => {
            let value = operation.action.value().unwrap_or_default();
            operation.action = PutIf { version: never, value };
        }
        (DeleteIf { .. }, Done) => operation.action = DeleteIf { version: never },
        _ => return false,
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_done_one_by_one_is_linearizable(
        seed in any::<u64>(),
        count in 1_usize..200,
        clients in 1_usize..8,
        unknowns in 0_usize..10,
    ) {
        let history = generated(seed, count, clients, unknowns);
        check(&history).map_err(|violation| TestCaseError::fail(violation.to_string()))?;
    }

    #[test]
    fn a_value_from_nowhere_is_found(seed in any::<u64>(), clients in 1_usize..8) {
        let mut history = generated(seed, 100, clients, 5);
        if spoil(&mut history, &mut StdRng::seed_from_u64(seed)) {
            prop_assert!(check(&history).is_err());
        }
    }

    /// A write that was answered, but is not there: whoever saw its value is
    /// without an explanation.
    #[test]
    fn a_write_that_was_seen_cannot_be_left_out(seed in any::<u64>(), clients in 1_usize..8) {
        let mut history = generated(seed, 100, clients, 5);
        let seen: HashSet<u64> = history.iter().filter_map(Operation::observed).collect();
        let wrote = |one: &Operation| one.action.value().is_some_and(|v| seen.contains(&v));
        if let Some(at) = history.iter().position(wrote) {
            history.remove(at);
            prop_assert!(check(&history).is_err());
        }
    }

    /// A read is moved past a write that it did not see.
    #[test]
    fn a_read_from_the_past_is_found(seed in any::<u64>(), clients in 1_usize..8) {
        let mut history = generated(seed, 100, clients, 0);
        let end = history.iter().map(|one| one.returned).max().unwrap_or_default();
        let value = 1_000_000;
        history.push(operation(end + 1, end + 2, Put(value), Done));
        history.push(operation(end + 3, end + 4, Read, Saw(Some(value))));
        prop_assert!(check(&history).is_ok());
        let mut rng = StdRng::seed_from_u64(seed);
        let at = rng.random_range(0..history.len() - 2);
        let stale = history[at].observed();
        history.push(operation(end + 5, end + 6, Read, Saw(stale)));
        prop_assert!(check(&history).is_err());
    }

    /// The search agrees with trying every order of a few operations.
    #[test]
    fn the_search_agrees_with_trying_every_order(seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let unknowns = rng.random_range(0..3);
        let mut history = generated(seed, 6, 3, unknowns);
        let at = rng.random_range(0..history.len());
        let any = (rng.random_range(0..8) > 0).then(|| rng.random_range(1..=6));
        match history[at].outcome {
            Saw(_) => history[at].outcome = Saw(any),
            Refused(_) => history[at].outcome = Refused(any),
            _ => history[at].outcome = Failed,
        }
        let expected = some_order_works(&history, &mut vec![false; history.len()], None);
        prop_assert_eq!(check(&history).is_ok(), expected, "{:?}", history);
    }
}

/// Whether what is not `placed` has an order from this state on.
fn some_order_works(history: &[Operation], placed: &mut Vec<bool>, state: State) -> bool {
    let open = |one: &Operation| !matches!(one.outcome, Unknown | Failed);
    let left = || history.iter().zip(placed.iter()).filter(|(_, placed)| !**placed);
    let Some(horizon) = left().filter(|(one, _)| open(one)).map(|(one, _)| one.returned).min()
    else {
        return true;
    };
    for (at, one) in history.iter().enumerate() {
        if placed[at] || one.called > horizon || one.outcome == Failed {
            continue;
        }
        let after = match one.outcome {
            Unknown => one.action.done(state),
            outcome => one.action.step(outcome, state),
        };
        if let Some(after) = after {
            placed[at] = true;
            let works = some_order_works(history, placed, after);
            placed[at] = false;
            if works {
                return true;
            }
        }
    }
    false
}

#[test]
fn long_histories_are_decided_soon() {
    let start = Instant::now();
    for seed in 0..10 {
        let mut history = generated(seed, 2000, 6, 20);
        holds(&history);
        // No order works, and all of them are to be ruled out.
        let end = history.iter().map(|one| one.returned).max().unwrap_or_default();
        history.push(operation(end + 1, end + 2, Put(1_000_000), Done));
        history.push(operation(end + 3, end + 4, Read, Saw(Some(1))));
        fails(&history);
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
