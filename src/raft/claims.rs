//! That nodes of another cluster take this node for a member of theirs: whoever
//! stands alone at such a place was meant to be that member, and has lost its
//! data directory or was given another.

use std::{cell::Cell, time::Instant};

use tokio::sync::Notify;

use crate::{base::timing::CLAIM_AGAIN, log::Identity};

/// So many calls are no accident: a leader calls a member several times a second.
const CALLS: u32 = 3;

/// A node of another cluster calls this one as a member of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whom it calls.
    pub member: Identity,
    /// When it called first, of the calls that followed each other.
    pub since: Instant,
    last: Instant,
    calls: u32,
}

#[derive(Default)]
pub(super) struct Claims {
    latest: Cell<Option<Claim>>,
    noted: Notify,
}

impl Claims {
    pub(super) fn note(&self, member: Identity, now: Instant) {
        let follows = |before: &Claim| before.member == member && !before.is_over(now);
        let before = self.latest.get().filter(follows);
        let Claim { since, calls, .. } =
            before.unwrap_or(Claim { member, since: now, last: now, calls: 0 });
        let calls = calls.saturating_add(1);
        self.latest.set(Some(Claim { member, since, last: now, calls }));
        if calls == CALLS {
            self.noted.notify_one();
        }
    }

    /// The claim that stands.
    pub(super) fn latest(&self, now: Instant) -> Option<Claim> {
        self.latest.get().filter(|claim| claim.calls >= CALLS && !claim.is_over(now))
    }

    /// Resolves when there is a claim that was not there before.
    pub(super) async fn noted(&self) {
        self.noted.notified().await;
    }
}

impl Claim {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= CLAIM_AGAIN
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ids::ClusterId;

    fn member(node: u64) -> Identity {
        Identity { cluster: ClusterId(uuid::Uuid::from_u128(7)), node }
    }

    #[test]
    fn a_claim_is_called_again_and_again_and_ends_with_the_calls() {
        let (claims, start) = (Claims::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..2 {
            claims.note(member(2), at(second));
            assert_eq!(claims.latest(at(second)), None, "it may be an accident");
        }
        claims.note(member(2), at(2));
        let claim = claims.latest(at(11)).expect("it was called three times");
        assert_eq!((claim.member, claim.since), (member(2), start));
        assert_eq!(claims.latest(at(12)), None, "nobody calls any more");
        claims.note(member(2), at(12));
        assert_eq!(claims.latest(at(12)), None, "that is another claim");
    }

    #[test]
    fn calls_for_several_members_are_no_claim() {
        let (claims, now) = (Claims::default(), Instant::now());
        (1..=9).for_each(|node| claims.note(member(node), now));
        assert_eq!(claims.latest(now), None);
    }
}
