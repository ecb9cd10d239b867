//! Where in the list a moment lies: stamps never decrease along it.

use super::{change, places::Places, places::Stored};
use crate::{
    api::{context::Context, error::ApiError},
    base::ids::{ChangeId, Timestamp},
};

/// The last change that is stamped `at` or earlier, of those from `from` to `last`; that before
/// `from` when there is none.
///
/// # Errors
/// When a change cannot be read that tells.
pub(in crate::api) async fn last_upto(
    api: &Context,
    at: Timestamp,
    from: ChangeId,
    last: ChangeId,
) -> Result<ChangeId, ApiError> {
    let mut places = Places::scattered();
    // All below `low` are stamped `at` or earlier, all above `high` later.
    let (mut low, mut high, mut probe) = (from, last, last);
    while low <= high {
        match stamp(api, &mut places, probe).await? {
            Some(stamp) if stamp <= at => low = probe.next(),
            // One that is purged counts as later, so that whoever starts there is told.
            _ => high = ChangeId(probe.0 - 1),
        }
        // The newest was asked first: mostly that is what matters.
        probe = ChangeId(low.0 + high.0.saturating_sub(low.0) / 2);
    }
    Ok(ChangeId(low.0 - 1))
}

async fn stamp(
    api: &Context,
    places: &mut Places,
    id: ChangeId,
) -> Result<Option<Timestamp>, ApiError> {
    let stamp = |stored: Stored<'_>| match stored {
        Stored::Change { at, .. } => Some(at),
        // It is kept for its key, and no part of the list any more.
        Stored::Whole(_) => None,
    };
    Ok(change::read(api, places, id, stamp).await?.flatten())
}
