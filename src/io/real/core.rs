//! What a core is for, what it runs on, and why there can be none.

use std::{fmt, io, time::Duration};

/// What an executor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Raft and the log; with one core, connections too.
    Raft,
    /// Connections.
    Serve,
}

impl Purpose {
    /// What the thread is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Serve => "serve",
        }
    }
}

/// What executors run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// io_uring, by glommio.
    Uring,
    /// epoll, and threads for files.
    Portable,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io-uring",
            Self::Portable => "portable",
        })
    }
}

/// Threads of each executor for what would block it: cold reads, large bodies,
/// directory operations.
pub(super) const BLOCKING_THREADS: usize = 4;
/// How long a queue runs before the executor looks at timers and other queues.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// Why an executor did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// It cannot be made.
    #[error("executor: {0}")]
    Make(String),
    /// Something that it needs of the system.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}
