//! What code on a core may ask of its executor, and the only way to it: to let
//! others run, to start tasks, to wait, to have long or blocking work done
//! elsewhere, to know the time, and to draw by chance.
//!
//! A shipped process has the real executors, of two kinds ([`real`](super::real)). A test may run a
//! thread on a virtual one, where time and chance follow from a seed; which it is
//! shows by the thread.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rand::{
    Rng as _, RngExt, TryRng,
    distr::{Distribution, StandardUniform},
    rngs::ThreadRng,
};
use uuid::Uuid;

use super::real::cores as real;
#[cfg(test)]
use super::simulated::{
    cores as simulated,
    executor::{Executor as VirtualExecutor, chosen_seed},
};

/// Chooses between the executors by the thread. A shipped binary has nothing to
/// choose here.
macro_rules! here {
    (real: $real:expr, simulated: $simulated:expr) => {{
        #[cfg(test)]
        if simulated::is_here() {
            return $simulated;
        }
        $real
    }};
}

/// Lets other tasks of this core run when this one has run long enough.
pub async fn yield_if_needed() {
    here!(real: real::yield_if_needed().await, simulated: simulated::yield_if_needed().await);
}

/// Lets other tasks of this core run.
pub async fn yield_now() {
    here!(real: real::yield_now().await, simulated: simulated::yield_now().await);
}

/// Runs `work` on one of the core's few blocking threads, for what would hold up
/// the core: more than a millisecond of computing, or a call that waits for the
/// disk.
pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    here!(real: real::off_core(work).await, simulated: simulated::off_core(work).await)
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
    here!(
        real: real::on_own_thread(name, work).await,
        simulated: simulated::on_own_thread(work).await
    )
}

/// The same on a thread that leaves the processors to whoever else wants them, the cores above all.
///
/// # Errors
/// When there can be no further thread.
pub async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    here!(
        real: real::in_background(name, work).await,
        simulated: simulated::on_own_thread(work).await
    )
}

/// The same as [`off_core`] for work that nobody waits for.
pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    here!(real: real::off_core_detached(work), simulated: simulated::off_core_detached(work));
}

/// Starts a task on this core, in the queue of the one that starts it. It goes on
/// when what is given back is dropped.
pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    here!(
        real: JoinHandle::Real(real::spawn(task)),
        simulated: JoinHandle::Simulated(simulated::spawn(task))
    )
}

/// A task that was started: resolves with its output, or with `None` when it was
/// ended before it had one.
pub enum JoinHandle<T> {
    #[doc(hidden)]
    Real(real::JoinHandle<T>),
    #[doc(hidden)]
    #[cfg(test)]
    Simulated(simulated::JoinHandle<T>),
}

impl<T: 'static> JoinHandle<T> {
    /// Ends the task instead of going on with it. Wait for it to know that it is gone.
    pub fn cancel(&self) {
        match self {
            Self::Real(task) => task.cancel(),
            #[cfg(test)]
            Self::Simulated(task) => task.cancel(),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.get_mut() {
            Self::Real(task) => Pin::new(task).poll(cx),
            #[cfg(test)]
            Self::Simulated(task) => Pin::new(task).poll(cx),
        }
    }
}

/// The moment it is. Never goes back.
#[must_use]
pub fn now() -> Instant {
    here!(real: Instant::now(), simulated: VirtualExecutor::current().moment())
}

/// The time since `moment`; zero when that is still to come.
#[must_use]
pub fn elapsed(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}

/// The time of day: microseconds since 1970-01-01 UTC. It may step back; who needs
/// order keeps the highest value seen.
#[must_use]
pub fn wall_micros() -> u64 {
    here!(real: real::wall_micros(), simulated: VirtualExecutor::current().wall_micros())
}

/// Waits for `time`.
#[must_use]
pub fn sleep(time: Duration) -> Sleep {
    here!(
        real: Sleep::Real(real::sleep(time)),
        simulated: Sleep::Simulated(simulated::sleep(time))
    )
}

/// Resolves once its time has passed.
pub enum Sleep {
    #[doc(hidden)]
    Real(real::Sleep),
    #[doc(hidden)]
    #[cfg(test)]
    Simulated(simulated::Sleep),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Real(sleep) => Pin::new(sleep).poll(cx),
            #[cfg(test)]
            Self::Simulated(sleep) => Pin::new(sleep).poll(cx),
        }
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

/// A generator of random numbers, fit for what must not be guessed.
#[must_use]
pub fn rng() -> Rng {
    here!(real: Rng::Real(real::rng()), simulated: Rng::Simulated(simulated::rng().into()))
}

/// See [`rng`].
pub enum Rng {
    #[doc(hidden)]
    Real(ThreadRng),
    #[doc(hidden)]
    #[cfg(test)]
    Simulated(Box<rand::rngs::StdRng>),
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        match self {
            Self::Real(rng) => rng.try_next_u32(),
            #[cfg(test)]
            Self::Simulated(rng) => rng.try_next_u32(),
        }
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match self {
            Self::Real(rng) => rng.try_next_u64(),
            #[cfg(test)]
            Self::Simulated(rng) => rng.try_next_u64(),
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match self {
            Self::Real(rng) => rng.try_fill_bytes(bytes),
            #[cfg(test)]
            Self::Simulated(rng) => rng.try_fill_bytes(bytes),
        }
    }
}

/// A value by chance.
#[must_use]
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rng().random()
}

/// A UUID that nothing else bears.
#[must_use]
pub fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    rng().fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// An executor on the thread that makes it, for tests and tools: a node makes its
/// own, with settings.
pub enum Executor {
    #[doc(hidden)]
    Real(real::Executor),
    #[doc(hidden)]
    #[cfg(test)]
    Simulated(simulated::Executor),
}

impl Executor {
    /// # Panics
    /// When the system lets none start.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "to start one is no small thing")]
    pub fn new() -> Self {
        #[cfg(test)]
        if let Some(seed) = chosen_seed() {
            return Self::Simulated(simulated::Executor::new(seed));
        }
        Self::Real(real::Executor::new())
    }

    /// Runs `future`, and what it starts, until it has its output.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Real(executor) => executor.block_on(future),
            #[cfg(test)]
            Self::Simulated(executor) => executor.block_on(future),
        }
    }
}
