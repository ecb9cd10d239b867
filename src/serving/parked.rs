//! Waiting with a parked read.

use std::{rc::Rc, task::Poll};

use super::{
    in_hand::{Counted, InHand},
    link::{Ended, Gone, Link},
};
use crate::{
    api::{Parked, Reply},
    io::cores,
};

/// Waits with a parked read, and goes on with it, unless its client may not any more.
pub(super) async fn resumed(
    link: &mut Link,
    mut parked: Parked,
    in_hand: &mut InHand<'_>,
) -> Result<Reply, Gone> {
    let context = Rc::clone(&link.context);
    let InHand { principal, account, .. } = in_hand;
    if let Err(error) = context.api.bills().wait(account) {
        return Ok(Reply::Now(parked.refusal(error)));
    }
    let deadline = context.api.wait_until(principal, parked.deadline, link.now);
    // What it keeps of the request is its head at most.
    link.in_hand_bytes = parked.held_bytes();
    let _counted = Counted::new(&context.api.metrics().parked);
    let ended = link.parked(deadline, |cx| match context.api.is_good(principal) {
        true => parked.poll_ready(cx),
        false => Poll::Ready(()),
    });
    if ended.await? == Ended::Gone {
        // It waits no longer.
        parked.deadline = link.now;
    }
    let reply = match context.api.check_good(principal) {
        // Few connections are at it at once; all would have room for it.
        Ok(()) => Box::pin(context.api.resume(parked, *principal, account, link.now)).await,
        Err(error) => Reply::Now(parked.refusal(error)),
    };
    link.now = cores::now();
    in_hand.waited = Some(link.now - in_hand.arrived);
    Ok(reply)
}
