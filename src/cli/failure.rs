//! What a command can fail of, each told in one line that says what and where.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments ask for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The node refused a request.
    #[error("{request}: {problem}")]
    Refused {
        /// Method and address.
        request: String,
        /// What it said.
        problem: Box<Problem>,
    },
    /// There was no answer, or only a part of one.
    #[error("{request}: {reason}")]
    Broken {
        /// Method and address.
        request: String,
        /// What happened to the connection.
        reason: String,
        /// It may have reached the node.
        sent: bool,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Whoever reads standard output has gone.
    #[error("standard output is closed")]
    OutputClosed,
    /// All else.
    #[error("{0}")]
    Other(String),
}

/// A problem document as far as a client needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    /// The status of the answer.
    #[serde(skip)]
    pub(super) status: u16,
    /// What the user may give for another answer.
    #[serde(skip)]
    pub(super) advice: Option<&'static str>,
    /// `Retry-After`.
    #[serde(skip)]
    pub(super) retry_after: Option<Duration>,
    /// The stable name of what is wrong.
    pub(super) code: String,
    /// What is wrong, and where.
    pub(super) detail: String,
    /// The byte of the body that it is about.
    pub(super) offset: Option<usize>,
    /// The oldest id that is held, of `purged`.
    pub(super) first: Option<u64>,
    /// The last entry of the log that is not held, of `purged`.
    pub(super) purged: Option<u64>,
    /// The term of that.
    pub(super) purged_term: Option<u64>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(first) = self.first {
            write!(f, " (the oldest change held is {first})")?;
        }
        if let Some(advice) = self.advice {
            write!(f, " ({advice})")?;
        }
        Ok(())
    }
}

impl Failure {
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        |error| Self::File { path: path.to_owned(), error }
    }

    /// A failed write to standard output.
    pub(super) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::File { path: "standard output".into(), error },
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the node refused with that code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Refused { problem, .. } => {
                matches!(problem.status, 408 | 429 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    /// Whether a write that ended so may have happened all the same.
    pub(super) fn is_doubtful(&self) -> bool {
        match self {
            Self::Broken { sent, .. } => *sent,
            Self::Refused { problem, .. } => matches!(problem.status, 500 | 502 | 504),
            _ => false,
        }
    }

    /// The same, with what is known of a write that did not come to it.
    pub(super) fn undone(self) -> Self {
        if self.may_pass() { self.and("it did not happen") } else { self }
    }

    /// The same, with what there is to say besides.
    pub(super) fn and(self, said: &str) -> Self {
        Self::Other(format!("{self}; {said}"))
    }

    /// The same, where the user's time is over.
    pub(super) fn out_of_time(mut self) -> Self {
        const SAID: &str = "; --timeout leaves no time for another try";
        match &mut self {
            Self::Broken { reason, .. } => reason.push_str(SAID),
            Self::Refused { problem, .. } => problem.detail.push_str(SAID),
            _ => {}
        }
        self
    }

    /// The same, said of a place in what the user gave.
    pub(super) fn at(self, place: impl fmt::Display) -> Self {
        Self::Other(format!("{place}: {self}"))
    }
}

/// A write that was not acknowledged.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) failure: Failure,
    /// Whether it may have happened all the same.
    pub(super) doubtful: bool,
}

impl WriteFailure {
    /// What failed, and what is known of whether it happened.
    pub(super) fn told(self) -> Failure {
        if self.doubtful {
            self.failure.and("whether it happened is unknown")
        } else {
            self.failure.undone()
        }
    }
}

/// Says on standard error what went wrong, in one line.
pub(super) fn tell(what: &impl fmt::Display) {
    let text = what.to_string();
    let line: Vec<&str> = text.split(['\r', '\n']).filter(|part| !part.is_empty()).collect();
    eprintln!("changeagent: {}", line.join(" "));
}
