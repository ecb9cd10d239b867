//! Waiting for what a write comes to.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

use super::{in_hand::InHand, link::Link, waiting::Waiting};
use crate::{
    api::{Reply, Told, Write},
    base::timing::CLIENT_WRITE,
    http::Request,
    io::cores,
};

/// What a write that arrived at `since` comes to.
pub(super) async fn written(link: &mut Link, write: Write, since: Instant) -> Told {
    let mut write = pin!(write);
    link.account();
    let until = Some(since + CLIENT_WRITE);
    link.deadline.wait(Waiting { until, ..Waiting::default() });
    let told = poll_fn(|cx| {
        if let Poll::Ready(told) = write.as_mut().poll(cx) {
            return Poll::Ready(told);
        }
        match link.deadline.poll_passed(cx) {
            true => Poll::Ready(Write::timed_out()),
            false => Poll::Pending,
        }
    })
    .await;
    link.now = cores::now();
    told
}

/// Asks anew for a write whose names may stand for something else by now.
pub(super) async fn again(
    link: &mut Link,
    request: Box<Request>,
    in_hand: &mut InHand<'_>,
) -> Reply {
    let context = Rc::clone(&link.context);
    let InHand { principal, account, arrived, .. } = in_hand;
    let reply = Box::pin(context.api.again(request, *principal, account, *arrived)).await;
    link.now = cores::now();
    reply
}
