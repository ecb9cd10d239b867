//! What code on a core may ask of its executor: to let others run, to start
//! tasks, to wait, and to have long or blocking work done elsewhere.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use glommio::timer::Timer;
use tokio::sync::oneshot;

/// Lets other tasks of this core run when this one has run long enough.
pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// Lets other tasks of this core run.
pub async fn yield_now() {
    glommio::executor().yield_task_queue_now().await;
}

/// Runs `work` on one of the core's few blocking threads, for what would hold up
/// the core: more than a millisecond of computing, or a call that waits for the
/// disk.
pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(work).await
}

/// Runs `work` on a thread of its own, for what takes longer than others who need
/// a blocking thread may wait.
///
/// # Errors
/// When there can be no further thread.
pub async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name(name.into()).spawn(work)?;
    // A panic of the work ends the process.
    outcome.await.map_err(io::Error::other)
}

/// The same as [`off_core`] for work that nobody waits for.
pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    let executor = glommio::executor();
    glommio::spawn_local(async move { executor.spawn_blocking(work).await }).detach();
}

/// Starts a task on this core, in the queue of the one that starts it. It goes on
/// when what is given back is dropped.
pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    JoinHandle(glommio::spawn_local(task).detach())
}

/// A task that was started: resolves with its output, or with `None` when it was
/// ended before it had one.
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// The moment it is. Never goes back.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The time since `moment`; zero when that is still to come.
#[must_use]
pub fn elapsed(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}

/// Waits for `time`.
#[must_use]
pub fn sleep(time: Duration) -> Sleep {
    Sleep(Timer::new(time))
}

/// Resolves once its time has passed.
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// The output of `future`, if it is there within `limit`.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    use futures_util::future::{Either, select};
    match select(pin!(future), sleep(limit)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// The same for what may fail: `TimedOut` when it is not there within `limit`.
///
/// # Errors
/// Those of `future`, and `TimedOut`.
pub async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    within(limit, future).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
