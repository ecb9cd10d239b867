//! openraft's asynchronous runtime on [`cores`]: tasks stay on the core that
//! spawned them, and channels are tokio's, which need no tokio runtime.

pub(super) mod channel;
mod time;

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use openraft_rt::AsyncRuntime;

use self::time::{Elapsed, Instant, Timeout};
use crate::io::cores;

/// The runtime of one core. Raft's tasks must be spawned from within its executor;
/// they inherit the task queue of the task that spawns them.
pub struct RaftRuntime(cores::Executor);

impl fmt::Debug for RaftRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftRuntime")
    }
}

/// The task ended without a result: its executor stopped. A panic does not end
/// up here, it stops the process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the task was cancelled")]
pub struct TaskCancelled;

/// A spawned task. Dropping it lets the task go on.
pub struct JoinHandle<T>(cores::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, TaskCancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.ok_or(TaskCancelled))
    }
}

impl AsyncRuntime for RaftRuntime {
    type JoinError = TaskCancelled;
    type JoinHandle<T: 'static> = JoinHandle<T>;
    type Sleep = cores::Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R>> = Timeout<T>;
    type ThreadLocalRng = cores::Rng;
    type Mpsc = channel::Mpsc;
    type Watch = channel::Watch;
    type Oneshot = channel::Oneshot;
    type Mutex<T: 'static> = channel::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        JoinHandle(cores::spawn(future))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        cores::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        cores::sleep(deadline.0.saturating_duration_since(cores::now()))
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Timeout::new(Self::sleep(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R>>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Timeout::new(Self::sleep_until(deadline), future)
    }

    fn is_panic(_: &Self::JoinError) -> bool {
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        cores::rng()
    }

    /// One executor on the calling thread; `threads` has no meaning here.
    fn new(_threads: usize) -> Self {
        Self(cores::Executor::new())
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(f: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (done, outcome) = tokio::sync::oneshot::channel();
        cores::off_core_detached(move || drop(done.send(f())));
        outcome.await.map_err(|_| io::Error::other("the blocking call did not return"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::executor;

    #[test]
    fn the_runtime_suite_of_openraft_passes() {
        openraft_rt::testing::Suite::<RaftRuntime>::test_all();
    }

    #[test]
    fn the_runtime_suite_of_openraft_passes_on_virtual_time() {
        executor::chosen(0, openraft_rt::testing::Suite::<RaftRuntime>::test_all);
    }
}
