//! What a thread has done so far, for the line that is shown while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// A thread's progress, for the line that is shown while it runs. Alone on its cache lines, so
/// that threads do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    requests: AtomicU64,
    changes: AtomicU64,
    errors: AtomicU64,
}

impl Progress {
    /// Counts a successful answer. Only the owning thread writes, so a plain load and store do.
    pub(crate) fn success(&self, changes: u64) {
        bump(&self.requests, 1);
        bump(&self.changes, changes);
    }

    /// Counts an error.
    pub(crate) fn error(&self) {
        bump(&self.errors, 1);
    }

    /// Requests, changes and errors so far.
    pub(crate) fn read(&self) -> [u64; 3] {
        [&self.requests, &self.changes, &self.errors].map(|count| count.load(Ordering::Relaxed))
    }
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
