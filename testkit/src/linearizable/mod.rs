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

mod search;
#[cfg(test)]
mod tests;

use std::fmt;

use self::search::Search;

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
