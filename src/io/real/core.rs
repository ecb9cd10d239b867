//! What a core is for, and why there can be none.

use std::io;

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

/// Threads of each executor for what would block it: cold reads, large bodies,
/// directory operations.
pub(super) const BLOCKING_THREADS: usize = 4;
/// How long a queue runs before the executor looks at timers and other queues.
pub(super) const SLICE: std::time::Duration = std::time::Duration::from_millis(1);

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
