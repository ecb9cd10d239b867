//! What code on a core may ask of its executor: to let others run, to start
//! tasks, to wait, and to have long or blocking work done elsewhere.

use std::{future::Future, io, pin::pin, time::Duration};

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

/// Starts a task on this core, in the queue of the one that starts it.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits for `time`.
pub async fn sleep(time: Duration) {
    Timer::new(time).await;
}

/// The output of `future`, if it is there within `limit`.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    use futures_util::future::{Either, select};
    match select(pin!(future), pin!(Timer::new(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
