//! openraft's asynchronous runtime on the executor with virtual time.

use std::{
    fmt, io,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use openraft_rt::AsyncRuntime;
use pin_project_lite::pin_project;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::executor::{Executor, Process, clear_timer};
use crate::raft::{Runtime, runtime::channel};

/// Raft on virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Simulated;

impl Runtime for Simulated {
    type Async = SimulatedRuntime;
}

/// See the module.
pub(super) struct SimulatedRuntime(Rc<Executor>);

impl SimulatedRuntime {
    /// A runtime whose chance follows from `seed`.
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Executor::new(seed))
    }
}

impl Drop for SimulatedRuntime {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for SimulatedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedRuntime")
    }
}

/// Spawns into a process. Dropping the handle lets the task go on.
pub(super) fn spawn_in<T: Future + 'static>(process: Process, future: T) -> JoinHandle<T::Output> {
    let (done, outcome) = oneshot::channel();
    Executor::current().spawn_in(process, async move { drop(done.send(future.await)) });
    JoinHandle(outcome)
}

/// The task's process was killed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the task was cancelled")]
pub(super) struct TaskCancelled;

/// A spawned task.
pub(super) struct JoinHandle<T>(oneshot::Receiver<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, TaskCancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| TaskCancelled)
    }
}

/// A moment of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(Duration);

impl openraft_rt::Instant for Instant {
    fn now() -> Self {
        Self(Executor::current().now())
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

/// Resolves once its time has come.
pub(super) struct Sleep {
    at: Duration,
    timer: Option<(Duration, u64)>,
}

impl Sleep {
    fn clear(&mut self) {
        if let Some(timer) = self.timer.take() {
            clear_timer(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.clear();
        let executor = Executor::current();
        if executor.now() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(executor.set_timer(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The time-out passed before the future was ready.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("timed out")]
pub(super) struct Elapsed;

pin_project! {
    /// A future that gives up when a sleep ends first.
    pub(super) struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
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

impl AsyncRuntime for SimulatedRuntime {
    type JoinError = TaskCancelled;
    type JoinHandle<T: 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R>> = Timeout<T>;
    type ThreadLocalRng = StdRng;
    type Mpsc = channel::Mpsc;
    type Watch = channel::Watch;
    type Oneshot = channel::Oneshot;
    type Mutex<T: 'static> = channel::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        let (done, outcome) = oneshot::channel();
        Executor::current().spawn(async move { drop(done.send(future.await)) });
        JoinHandle(outcome)
    }

    fn sleep(duration: Duration) -> Sleep {
        Sleep { at: Executor::current().now() + duration, timer: None }
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep { at: deadline.0, timer: None }
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { sleep: Self::sleep(duration), future }
    }

    fn timeout_at<R, F: Future<Output = R>>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { sleep: Self::sleep_until(deadline), future }
    }

    /// A panic of a task is one of the whole run.
    fn is_panic(_: &TaskCancelled) -> bool {
        false
    }

    fn thread_rng() -> StdRng {
        Executor::current().rng()
    }

    fn new(_threads: usize) -> Self {
        Self::seeded(0)
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    /// There is one thread: it blocks.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(f()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_suite_of_openraft_passes() {
        openraft_rt::testing::Suite::<SimulatedRuntime>::test_all();
    }

    #[test]
    fn an_hour_passes_at_once_and_timers_end_in_order() {
        let mut runtime = SimulatedRuntime::seeded(1);
        let order = runtime.block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            for minutes in [60, 10, 30] {
                let sender = sender.clone();
                SimulatedRuntime::spawn(async move {
                    SimulatedRuntime::sleep(Duration::from_secs(60 * minutes)).await;
                    sender.send((minutes, Executor::current().elapsed().as_secs())).unwrap();
                });
            }
            drop(sender);
            let mut order = Vec::new();
            while let Some(ended) = receiver.recv().await {
                order.push(ended);
            }
            order
        });
        assert_eq!(order, [(10, 600), (30, 1800), (60, 3600)]);
    }

    #[test]
    fn a_killed_process_runs_no_further_and_the_others_do() {
        let mut runtime = SimulatedRuntime::seeded(1);
        runtime.block_on(async {
            let second = Duration::from_secs(1);
            let one = spawn_in(1, SimulatedRuntime::sleep(second));
            // A task belongs to the process of the one that spawned it.
            let child = spawn_in(1, async move {
                SimulatedRuntime::spawn(SimulatedRuntime::sleep(second)).await
            });
            let two = spawn_in(2, SimulatedRuntime::sleep(second));
            SimulatedRuntime::sleep(second / 2).await;
            Executor::current().kill(1);
            assert!(one.await.is_err() && child.await.is_err());
            assert!(two.await.is_ok());
        });
    }

    #[test]
    #[should_panic(expected = "in a task")]
    fn the_panic_of_a_task_ends_the_run() {
        let mut runtime = SimulatedRuntime::seeded(1);
        runtime.block_on(async {
            drop(SimulatedRuntime::spawn(async { panic!("in a task") }));
            SimulatedRuntime::sleep(Duration::from_secs(1)).await;
        });
    }

    #[test]
    #[should_panic(expected = "no timer is set")]
    fn a_run_in_which_nothing_can_happen_ends() {
        SimulatedRuntime::seeded(1).block_on(std::future::pending::<()>());
    }
}
