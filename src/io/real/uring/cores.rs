//! Time and tasks of a core that glommio runs. For what each is, see [`crate::io::cores`].

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use glommio::timer::Timer;

pub use glommio::task::JoinHandle;

/// One executor on the thread that makes it.
pub struct Executor(glommio::LocalExecutor);

impl Executor {
    /// # Panics
    /// When the system lets none start.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "to start one is no small thing")]
    pub fn new() -> Self {
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make();
        Self(executor.expect("an executor starts on this thread"))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.run(future)
    }
}

pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

pub async fn yield_now() {
    glommio::executor().yield_task_queue_now().await;
}

pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(work).await
}

pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    let executor = glommio::executor();
    glommio::spawn_local(async move { executor.spawn_blocking(work).await }).detach();
}

pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    // A dropped task of glommio is cancelled; the dropped handle of a detached one
    // is not.
    glommio::spawn_local(task).detach()
}

/// Resolves once its time has passed.
///
/// A timer of glommio enters itself in the list of timers each time that it is polled, and leaves
/// it once. So each gets polled once, and another takes its place.
pub struct Sleep {
    due: Instant,
    timer: Option<Timer>,
}

pub fn sleep(time: Duration) -> Sleep {
    Sleep { due: Instant::now() + time, timer: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Leaves the list before another one enters it.
        self.timer = None;
        let left = self.due.saturating_duration_since(Instant::now());
        let timer = self.timer.insert(Timer::new(left));
        Pin::new(timer).poll(cx).map(drop)
    }
}
