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
    /// epoll.
    Portable(FileAccess),
}

/// What a portable executor reads, writes and syncs files by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// A small ring of io_uring.
    Ring,
    /// Calls that wait, on threads.
    Threads,
}

impl Kind {
    /// What files with direct I/O are read and written by.
    #[must_use]
    pub fn files(self) -> &'static str {
        match self {
            Self::Uring | Self::Portable(FileAccess::Ring) => "io_uring",
            Self::Portable(FileAccess::Threads) => "threads",
        }
    }

    #[cfg(test)]
    pub(super) const ALL: [Self; 3] =
        [Self::Uring, Self::Portable(FileAccess::Ring), Self::Portable(FileAccess::Threads)];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io-uring",
            Self::Portable(_) => "portable",
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
