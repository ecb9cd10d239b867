//! Decides whether what clients saw of one key could have come from a register
//! that does one operation at a time, each at a moment between its call and its
//! return.
//!
//! The search is that of Wing and Gong, "Testing and Verifying Concurrent
//! Objects" (Journal of Parallel and Distributed Computing 17, 1993), with the
//! memory of Lowe, "Testing for Linearizability" (Concurrency and Computation
//! 29, 2017): a set of operations that was done before with the same outcome is
//! not tried again.
//!
//! Operations of unknown outcome may take effect at any time after their call,
//! or never, and would multiply the search. Three things keep it small. A write
//! whose value somebody saw has happened, before the first who saw it returned.
//! Unknown operations of the same effect are taken in the order of their calls,
//! as the one that was called first can do whatever a later one can. And a state
//! that was reached before with fewer of them used up is not looked at again.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// What a register holds: a value that no two writes share, or nothing.
pub type State = Option<u64>;

/// What is asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Read,
    /// Sets a value whatever was there.
    Put(u64),
    /// Sets a value where `version` is there.
    PutIf {
        version: u64,
        value: u64,
    },
    /// Sets a value where nothing is there.
    PutIfAbsent(u64),
    /// Takes away what is there.
    Delete,
    /// Takes away `version` where it is there.
    DeleteIf {
        version: u64,
    },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A read that saw this.
    Saw(State),
    /// A write that happened.
    Done,
    /// A write whose condition did not hold, since this was there.
    Refused(State),
    /// It certainly did not happen.
    Failed,
    /// It may have happened, or may yet.
    Unknown,
}

/// One operation with its times, on any clock that all clients share.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub called: u64,
    pub returned: u64,
    pub action: Action,
    pub outcome: Outcome,
}

/// Why a history is not linearizable: how far any order of it went, and what
/// could not follow.
#[derive(Debug)]
pub struct Violation {
    done: usize,
    of: usize,
    state: State,
    /// What had to come next, none of it possible.
    stuck: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, of, state, stuck } = self;
        writeln!(f, "no order explains more than {done} of {of} operations; with {state:?} there")?;
        stuck.iter().try_for_each(|operation| writeln!(f, "  impossible: {operation:?}"))
    }
}

/// The most states that a search looks at. Histories of clients that wait for
/// their answers stay far below.
const STATES_MAX: usize = 3_000_000;

impl Action {
    /// The value that it would write.
    fn value(self) -> Option<u64> {
        match self {
            Self::Put(value) | Self::PutIf { value, .. } | Self::PutIfAbsent(value) => Some(value),
            Self::Read | Self::Delete | Self::DeleteIf { .. } => None,
        }
    }

    /// The value that it names as a condition.
    fn version(self) -> Option<u64> {
        match self {
            Self::PutIf { version, .. } | Self::DeleteIf { version } => Some(version),
            _ => None,
        }
    }

    fn with_value(self, value: u64) -> Self {
        match self {
            Self::Put(_) => Self::Put(value),
            Self::PutIf { version, .. } => Self::PutIf { version, value },
            Self::PutIfAbsent(_) => Self::PutIfAbsent(value),
            other => other,
        }
    }

    /// The state that it leaves where its condition holds.
    fn done(self, state: State) -> Option<State> {
        match self {
            Self::Read => Some(state),
            Self::Put(value) => Some(Some(value)),
            Self::PutIf { version, value } => (state == Some(version)).then_some(Some(value)),
            Self::PutIfAbsent(value) => state.is_none().then_some(Some(value)),
            Self::Delete => state.is_some().then_some(None),
            Self::DeleteIf { version } => (state == Some(version)).then_some(None),
        }
    }

    /// The state after it with that outcome, or nothing where it cannot have
    /// that outcome here.
    fn step(self, outcome: Outcome, state: State) -> Option<State> {
        match outcome {
            Outcome::Saw(seen) => (seen == state && self == Self::Read).then_some(state),
            Outcome::Done => self.done(state),
            Outcome::Refused(seen) => {
                (seen == state && self.done(state).is_none()).then_some(state)
            }
            Outcome::Failed | Outcome::Unknown => unreachable!("not a step of the search"),
        }
    }
}

impl Operation {
    /// The value that it found there, where its outcome tells.
    fn observed(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Saw(seen) | Outcome::Refused(seen) => seen,
            Outcome::Done => self.action.version(),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

/// Checks the history of one key that begins absent.
///
/// # Errors
/// The history is not linearizable.
///
/// # Panics
/// When two writes share a value, or the search takes too long to decide.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    Search::new(history).run()
}

/// When each value that somebody saw was certainly there: what was written by an
/// operation of unknown outcome shows that the version was there that it names.
fn observed(history: &[Operation]) -> HashMap<u64, u64> {
    let mut observed: HashMap<u64, u64> = HashMap::new();
    loop {
        let mut is_settled = true;
        for operation in history {
            let written = operation.action.value().and_then(|value| observed.get(&value).copied());
            let (value, at) = match (operation.outcome, written) {
                (Outcome::Unknown, Some(at)) => (operation.action.version(), at),
                _ => (operation.observed(), operation.returned),
            };
            let Some(value) = value else { continue };
            let before = observed.get(&value).copied().unwrap_or(u64::MAX);
            if at < before {
                observed.insert(value, at);
                is_settled = false;
            }
        }
        if is_settled {
            return observed;
        }
    }
}

/// Operations that may happen at any time after their calls, all with the same
/// effect.
struct Class {
    action: Action,
    /// When they were called, in order.
    called: Vec<u64>,
}

/// The operations that are in the order, as bits.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
}

/// What the search may put next into the order.
#[derive(Clone, Copy)]
enum Next {
    Known(usize),
    Unknown(usize),
}

/// A place in the search: what may follow, and what led here.
struct Frame {
    choices: Vec<Next>,
    tried: usize,
    taken: Option<Next>,
    before: State,
}

struct Search {
    /// Those that happened, by their calls.
    known: Vec<Operation>,
    unknown: Vec<Class>,
    state: State,
    ordered: Bits,
    /// How many of `ordered`.
    count: usize,
    /// The first of `known` that is not in the order.
    first: usize,
    /// How many of each class are in the order.
    used: Vec<u8>,
    /// For each state that was reached, the uses that led there.
    seen: HashMap<(Bits, State), Vec<Vec<u8>>>,
}

impl Search {
    fn new(history: &[Operation]) -> Self {
        let mut values = HashSet::new();
        for value in history.iter().filter_map(|operation| operation.action.value()) {
            assert!(values.insert(value), "two writes of {value}");
        }
        let observed = observed(history);
        let named: HashSet<u64> = history.iter().filter_map(|one| one.action.version()).collect();
        let mentioned = values.iter().chain(observed.keys()).chain(&named);
        let hidden = mentioned.max().map_or(0, |value| value + 1);
        let (mut known, mut classes) = (Vec::new(), HashMap::<Action, Vec<u64>>::new());
        for operation in history {
            let Operation { called, action, .. } = *operation;
            let seen = action.value().and_then(|value| observed.get(&value).copied());
            match (operation.outcome, seen) {
                (Outcome::Failed, _) => {
                    // Never to be seen: the search fails on whoever saw it.
                }
                (Outcome::Unknown, _) if action == Action::Read => {}
                (Outcome::Unknown, Some(returned)) => {
                    known.push(Operation { returned, outcome: Outcome::Done, ..*operation });
                }
                (Outcome::Unknown, None) => {
                    // Values that nobody names are all alike.
                    let alike = action.value().is_some_and(|value| !named.contains(&value));
                    let action = if alike { action.with_value(hidden) } else { action };
                    classes.entry(action).or_default().push(called);
                }
                _ => known.push(*operation),
            }
        }
        known.sort_by_key(|operation| operation.called);
        let unknown: Vec<_> = classes
            .into_iter()
            .map(|(action, mut called)| {
                called.sort_unstable();
                assert!(called.len() <= usize::from(u8::MAX));
                Class { action, called }
            })
            .collect();
        Self {
            ordered: Bits(vec![0; known.len().div_ceil(64)]),
            used: vec![0; unknown.len()],
            known,
            unknown,
            state: None,
            count: 0,
            first: 0,
            seen: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        let mut furthest = self.violation();
        let mut states = 0;
        let mut frames = vec![self.frame(None, None)];
        while self.count < self.known.len() {
            let Some(frame) = frames.last_mut() else { return Err(furthest) };
            let Some(&next) = frame.choices.get(frame.tried) else {
                let (taken, before) = (frame.taken, frame.before);
                frames.pop();
                if let Some(taken) = taken {
                    self.undo(taken, before);
                }
                continue;
            };
            frame.tried += 1;
            let before = self.state;
            if !self.take(next) {
                continue;
            }
            if self.is_new() {
                states += 1;
                assert!(states < STATES_MAX, "too long a search: {furthest}");
                if self.count > furthest.done {
                    furthest = self.violation();
                }
                frames.push(self.frame(Some(next), before));
            } else {
                self.undo(next, before);
            }
        }
        Ok(())
    }

    /// When the first of those that are not in the order returned: whatever was
    /// called later comes after it.
    fn horizon(&self) -> u64 {
        let mut horizon = u64::MAX;
        for (at, operation) in self.known.iter().enumerate().skip(self.first) {
            if operation.called > horizon {
                break;
            }
            if !self.ordered.has(at) {
                horizon = horizon.min(operation.returned);
            }
        }
        horizon
    }

    fn frame(&self, taken: Option<Next>, before: State) -> Frame {
        let horizon = self.horizon();
        let mut known: Vec<usize> = (self.first..self.known.len())
            .take_while(|&at| self.known[at].called <= horizon)
            .filter(|&at| !self.ordered.has(at))
            .collect();
        known.sort_by_key(|&at| self.known[at].returned);
        let unknown =
            self.unknown.iter().zip(&self.used).enumerate().filter(|(_, (class, used))| {
                class.called.get(usize::from(**used)).is_some_and(|&called| called <= horizon)
            });
        let unknown = unknown.map(|(at, _)| Next::Unknown(at));
        let choices = known.into_iter().map(Next::Known).chain(unknown).collect();
        Frame { choices, tried: 0, taken, before }
    }

    /// Puts one more into the order, where it can be.
    fn take(&mut self, next: Next) -> bool {
        let after = match next {
            Next::Known(at) => {
                let Operation { action, outcome, .. } = self.known[at];
                action.step(outcome, self.state)
            }
            Next::Unknown(at) => {
                // Without an effect it need not be in the order.
                self.unknown[at].action.done(self.state).filter(|after| *after != self.state)
            }
        };
        let Some(after) = after else { return false };
        self.state = after;
        match next {
            Next::Known(at) => {
                self.ordered.flip(at);
                self.count += 1;
                while self.first < self.known.len() && self.ordered.has(self.first) {
                    self.first += 1;
                }
            }
            Next::Unknown(at) => self.used[at] += 1,
        }
        true
    }

    fn undo(&mut self, taken: Next, before: State) {
        self.state = before;
        match taken {
            Next::Known(at) => {
                self.ordered.flip(at);
                self.count -= 1;
                self.first = self.first.min(at);
            }
            Next::Unknown(at) => self.used[at] -= 1,
        }
    }

    /// Whether nothing as good was seen before; remembers it then.
    fn is_new(&mut self) -> bool {
        let uses = self.seen.entry((self.ordered.clone(), self.state)).or_default();
        let no_more = |one: &[u8], other: &[u8]| one.iter().zip(other).all(|(a, b)| a <= b);
        if uses.iter().any(|seen| no_more(seen, &self.used)) {
            return false;
        }
        uses.retain(|seen| !no_more(&self.used, seen));
        uses.push(self.used.clone());
        true
    }

    fn violation(&self) -> Violation {
        let horizon = self.horizon();
        let stuck = self.known.iter().enumerate().skip(self.first);
        let stuck = stuck.take_while(|(_, operation)| operation.called <= horizon);
        let stuck = stuck.filter(|(at, _)| !self.ordered.has(*at)).map(|(_, operation)| *operation);
        Violation {
            done: self.count,
            of: self.known.len(),
            state: self.state,
            stuck: stuck.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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
}
