//! That nodes of another cluster take this node for a member of theirs: whoever
//! stands alone at such a place was meant to be that member, and has lost its
//! data directory or was given another.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::log::Identity;

/// Whoever still takes this node for its member calls again within this time.
const CLAIM: Duration = Duration::from_secs(10);

/// A node of another cluster called this one as a member of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whom it called.
    pub member: Identity,
    /// When it called first, of the calls that followed each other.
    pub since: Instant,
    last: Instant,
}

#[derive(Default)]
pub(super) struct Claims {
    latest: Cell<Option<Claim>>,
    noted: Notify,
}

impl Claims {
    pub(super) fn note(&self, member: Identity) {
        let now = Instant::now();
        let before = self.latest().filter(|before| before.member == member);
        let since = before.map_or(now, |before| before.since);
        self.latest.set(Some(Claim { member, since, last: now }));
        if before.is_none() {
            self.noted.notify_one();
        }
    }

    /// The latest claim, unless it is too old to count.
    pub(super) fn latest(&self) -> Option<Claim> {
        self.latest.get().filter(|claim| claim.last.elapsed() < CLAIM)
    }

    /// Resolves when there is another claim than before.
    pub(super) async fn noted(&self) {
        self.noted.notified().await;
    }
}
