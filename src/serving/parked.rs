//! Waiting with a parked read.

use std::{rc::Rc, task::Poll};

use super::{
    in_hand::Counted,
    link::{Ended, Gone, Link},
};
use crate::{
    api::{Parked, Reply, access::Principal},
    io::cores,
};

/// Waits with a parked read of `principal`, and goes on with it, unless that one may not any more.
pub(super) async fn resumed(
    link: &mut Link,
    mut parked: Parked,
    principal: &mut Principal,
) -> Result<Reply, Gone> {
    let context = Rc::clone(&link.context);
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
    if let Err(error) = context.api.check_good(principal) {
        return Ok(Reply::Now(parked.refusal(error)));
    }
    // Few connections are at it at once; all would have room for it.
    let reply = Box::pin(context.api.resume(parked, *principal, link.now)).await;
    link.now = cores::now();
    Ok(reply)
}
