//! Waiting for what a write comes to.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use super::{link::Link, waiting::Waiting};
use crate::{
    api::{Told, Write},
    base::timing::CLIENT_WRITE,
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
