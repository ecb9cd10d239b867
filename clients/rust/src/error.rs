//! What a call can fail of.

use std::{error::Error as StdError, fmt, time::Duration};

use serde_json::{Map, Value};

/// A problem document, which says why a node refused a request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// The stable name of what is wrong.
    pub code: String,
    /// What was wrong, and where.
    pub detail: String,
    /// All members that the node sent.
    pub members: Map<String, Value>,
    /// How long the node asks to wait before another try.
    pub retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(status: u16, members: Map<String, Value>, after: Option<Duration>) -> Self {
        let text = |name| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { status, code: text("code"), detail: text("detail"), retry_after: after, members }
    }

    /// Of `purged`: the oldest id held.
    pub fn first(&self) -> Option<u64> {
        self.members.get("first").and_then(Value::as_u64)
    }

    /// Of `other-history`: the history that was found.
    pub fn cluster(&self) -> Option<&str> {
        self.members.get("cluster").and_then(Value::as_str)
    }

    /// Of `precondition-failed`: the current version.
    pub fn current(&self) -> Option<u64> {
        self.members.get("current").and_then(Value::as_u64)
    }

    fn may_pass(&self) -> bool {
        // What bears no code is not of a node, but of something in between.
        self.code.is_empty() || matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)
    }
}

/// What a call failed of.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A node refused a request.
    Refused(Box<Problem>),
    /// A list cannot be followed from this position: start anew. The code is `purged`
    /// (`first` is the oldest id held), `other-history` (the ids are of another
    /// history) or `not-found` (the list was deleted).
    Reset(Box<Problem>),
    /// There was no answer, or only a part of one, or one that no node gives.
    Broken(String),
    /// An answer, or a line of it, has more bytes than the options allow.
    TooLong,
    /// The arguments ask for what cannot be.
    Usage(String),
    /// Another program moved the position of this mirror meanwhile.
    #[cfg(feature = "mirror")]
    Conflict,
    /// SQLite failed.
    #[cfg(feature = "mirror")]
    Sqlite(rusqlite::Error),
    /// The hook of a mirror failed.
    #[cfg(feature = "mirror")]
    Hook(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// What a node said, where it refused a request.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) | Self::Reset(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether asking again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.may_pass(),
            Self::Broken(_) => true,
            _ => false,
        }
    }

    /// Whether a node refused with that code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    /// Whether a write that ended so may have happened all the same.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.problem().is_none_or(|problem| matches!(problem.status, 500 | 502 | 504))
    }

    /// The answer was of the history `found`.
    pub(crate) fn other_history(wanted: &str, found: &str) -> Self {
        let detail = format!("the node serves the history {found}, not {wanted}");
        let members = [("code", "other-history"), ("detail", &detail), ("cluster", found)];
        let members = members.map(|(name, value)| (name.to_owned(), value.into()));
        Self::Reset(Box::new(Problem::new(409, members.into_iter().collect(), None)))
    }

    /// The end of what was followed, where it is one.
    pub(crate) fn into_reset(self) -> Self {
        match self {
            Self::Refused(problem)
                if ["purged", "other-history", "not-found"].contains(&problem.code.as_str()) =>
            {
                Self::Reset(problem)
            }
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) | Self::Reset(problem) => problem.fmt(f),
            Self::Broken(what) | Self::Usage(what) => f.write_str(what),
            Self::TooLong => f.write_str("an answer is longer than answer_bytes_max"),
            #[cfg(feature = "mirror")]
            Self::Conflict => f.write_str("another program writes to this copy"),
            #[cfg(feature = "mirror")]
            Self::Sqlite(error) => error.fmt(f),
            #[cfg(feature = "mirror")]
            Self::Hook(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            #[cfg(feature = "mirror")]
            Self::Sqlite(error) => Some(error),
            #[cfg(feature = "mirror")]
            Self::Hook(error) => Some(&**error),
            _ => None,
        }
    }
}

#[cfg(feature = "mirror")]
impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Why a write was not acknowledged.
#[derive(Debug)]
pub struct WriteError {
    /// What the last try failed of.
    pub error: Error,
    /// It may have happened all the same: repeat it with the same arguments and with
    /// `idempotency_key` to know.
    pub outcome_unknown: bool,
    /// The key that all tries bore.
    pub idempotency_key: String,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if self.outcome_unknown { f.write_str(" (it may have happened)") } else { Ok(()) }
    }
}

impl StdError for WriteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}
