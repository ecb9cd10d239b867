//! Attempts to connect that failed, and when that is told.

use std::time::Instant;

use crate::{base::timing::UNREACHED_TOLD, io::cores};

/// Attempts that failed, one after the other.
pub(super) struct Failed {
    /// When the first did.
    since: Instant,
    /// When the last did.
    pub(super) at: Instant,
    /// Why it did.
    pub(super) why: String,
    /// That reason was logged.
    pub(super) is_told: bool,
}

impl Failed {
    /// Takes note of another one; whether it is to be logged, where it may be at all: when that lasts, once for
    /// each reason.
    pub(super) fn note(failed: &mut Option<Self>, why: &str, may_be_told: bool) -> bool {
        let at = cores::now();
        let before = failed.take();
        let since = before.as_ref().map_or(at, |before| before.since);
        let was_told = before.is_some_and(|before| before.is_told && before.why == why);
        let lasts = at.saturating_duration_since(since) >= UNREACHED_TOLD;
        let is_told = was_told || (lasts && may_be_told);
        *failed = Some(Self { since, at, why: why.to_owned(), is_told });
        is_told && !was_told
    }
}
