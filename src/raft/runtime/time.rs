//! Sleeping and time-outs on glommio's timers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use glommio::timer::Timer;
use pin_project_lite::pin_project;

/// Resolves once its time has passed.
pub struct Sleep(Timer);

impl Sleep {
    pub(super) fn new(duration: Duration) -> Self {
        Self(Timer::new(duration))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// The time-out passed before the future was ready.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

pin_project! {
    /// A future that gives up when a sleep ends first.
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    pub(super) fn new(sleep: Sleep, future: F) -> Self {
        Self { future, sleep }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}
