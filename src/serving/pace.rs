//! What holds up a stream besides its client.

use std::{rc::Rc, task::Poll, time::Duration};

use super::link::{Ended, Gone, Link};
use crate::api::{Account, access::Principal};

/// How often a stream looks whether there is room for its next part.
const ROOM_RETRY: Duration = Duration::from_millis(100);

/// How long a stream above the quota of its tenant waits at most before it looks again: another quota may
/// hold by then.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Waits for a moment where something holds up a stream of `principal`; whether it did.
pub(super) async fn is_held_up(
    link: &mut Link,
    principal: &mut Principal,
    account: &Account,
) -> Result<bool, Gone> {
    if link.waits_no_longer() {
        return Ok(false);
    }
    if link.context.held.is_full() {
        let ended = link.parked(link.now + ROOM_RETRY, |_| Poll::Pending).await?;
        return Ok(ended == Ended::Waiting);
    }
    let context = Rc::clone(&link.context);
    let Some(pause) = context.api.bills().pause(account, link.now) else { return Ok(false) };
    if !context.api.is_good(principal) {
        return Ok(false);
    }
    let until = context.api.wait_until(principal, link.now + pause.min(PAUSE_MAX), link.now);
    let ended = link.parked(until, |_| match context.api.is_good(principal) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    });
    match ended.await? {
        Ended::Waiting => Ok(true),
        // It would go on as fast as it can.
        Ended::Gone => Err(Gone),
    }
}
