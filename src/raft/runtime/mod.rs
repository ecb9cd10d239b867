//! openraft's asynchronous runtime on glommio: tasks stay on the core that
//! spawned them, time comes from the reactor, and channels are tokio's, which
//! need no tokio runtime.

pub(super) mod channel;
mod time;

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use openraft_rt::AsyncRuntime;

/// The runtime of one core. Raft's tasks must be spawned from within a glommio
/// executor; they inherit the task queue of the task that spawns them.
pub struct GlommioRuntime {
    executor: glommio::LocalExecutor,
}

impl fmt::Debug for GlommioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GlommioRuntime")
    }
}

/// The task ended without a result: its executor stopped. A panic does not end
/// up here, it stops the process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the task was cancelled")]
pub struct TaskCancelled;

/// A spawned task. Dropping it lets the task go on.
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, TaskCancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.ok_or(TaskCancelled))
    }
}

impl AsyncRuntime for GlommioRuntime {
    type JoinError = TaskCancelled;
    type JoinHandle<T: 'static> = JoinHandle<T>;
    type Sleep = time::Sleep;
    type Instant = Instant;
    type TimeoutError = time::Elapsed;
    type Timeout<R, T: Future<Output = R>> = time::Timeout<T>;
    type ThreadLocalRng = rand::rngs::ThreadRng;
    type Mpsc = channel::Mpsc;
    type Watch = channel::Watch;
    type Oneshot = channel::Oneshot;
    type Mutex<T: 'static> = channel::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        // A dropped glommio task is cancelled; a dropped handle of a detached
        // one is not, and that is what openraft expects.
        JoinHandle(glommio::spawn_local(future).detach())
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        time::Sleep::new(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        time::Sleep::new(deadline.saturating_duration_since(Instant::now()))
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        time::Timeout::new(Self::sleep(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R>>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        time::Timeout::new(Self::sleep_until(deadline), future)
    }

    fn is_panic(_: &Self::JoinError) -> bool {
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        rand::rng()
    }

    /// One executor on the calling thread; `threads` has no meaning here.
    fn new(_threads: usize) -> Self {
        let executor = glommio::LocalExecutorBuilder::default()
            .io_memory(1 << 20)
            .make()
            .expect("an executor starts on this thread");
        Self { executor }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.executor.run(future)
    }

    async fn spawn_blocking<F, T>(f: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (tx, rx) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("raft-blocking".into()).spawn(move || tx.send(f()))?;
        rx.await.map_err(|_| io::Error::other("the blocking call did not return"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_runtime_suite_of_openraft_passes() {
        openraft_rt::testing::Suite::<super::GlommioRuntime>::test_all();
    }
}
