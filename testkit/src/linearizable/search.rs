//! The search for an order that explains a history.

use std::collections::{HashMap, HashSet};

use super::{Action, Operation, Outcome, State, Violation};

/// The most states that a search looks at. Histories of clients that wait for
/// their answers stay far below.
const STATES_MAX: usize = 3_000_000;

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

pub(super) struct Search {
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
    pub(super) fn new(history: &[Operation]) -> Self {
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

    pub(super) fn run(mut self) -> Result<(), Violation> {
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
