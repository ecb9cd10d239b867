//! Time, tasks and chance of a core. Which kind it is of shows by the thread. For what each is, see
//! [`crate::io::cores`].

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::rngs::ThreadRng;
use tokio::sync::oneshot;

use super::{
    core::{FileAccess, Kind},
    executor::try_ring,
    portable::{cores as portable, executor::Executor as PortableExecutor},
    uring::cores as uring,
};

/// How much less of a processor a thread in the background gets than one that is not: a tenth where both
/// want it.
const NICE: i32 = 10;

/// One executor on the thread that makes it.
pub enum Executor {
    #[doc(hidden)]
    Uring(uring::Executor),
    #[doc(hidden)]
    Portable(PortableExecutor),
}

impl Executor {
    /// One as `CHANGEAGENT_EXECUTOR` says, on io_uring without it. A portable one has a ring for files where
    /// that is allowed.
    ///
    /// # Panics
    /// When the system lets none start.
    #[must_use]
    pub fn new() -> Self {
        match std::env::var("CHANGEAGENT_EXECUTOR").as_deref() {
            Ok("portable") => Self::of(Kind::Portable(match try_ring(1) {
                Ok(()) => FileAccess::Ring,
                Err(_) => FileAccess::Threads,
            })),
            _ => Self::of(Kind::Uring),
        }
    }

    /// One of that kind.
    ///
    /// # Panics
    /// When the system lets none start.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Uring => Self::Uring(uring::Executor::new()),
            Kind::Portable(files) => {
                let executor = PortableExecutor::new(files);
                Self::Portable(executor.expect("an executor starts on this thread"))
            }
        }
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Uring(executor) => executor.block_on(future),
            Self::Portable(executor) => executor.block_on(future),
        }
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

pub async fn yield_if_needed() {
    match portable::is_here() {
        true => portable::yield_if_needed().await,
        false => uring::yield_if_needed().await,
    }
}

pub async fn yield_now() {
    match portable::is_here() {
        true => portable::yield_now().await,
        false => uring::yield_now().await,
    }
}

pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match portable::is_here() {
        true => portable::off_core(work).await,
        false => uring::off_core(work).await,
    }
}

/// Runs `work` on a thread for files.
pub async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match portable::is_here() {
        true => portable::on_disk(work).await,
        false => uring::off_core(work).await,
    }
}

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

pub async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let work = move || {
        // Of this thread alone. Where it is refused, the work is done as any other is.
        let _ = rustix::process::nice(NICE);
        work()
    };
    on_own_thread(name, work).await
}

pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    match portable::is_here() {
        true => portable::off_core_detached(work),
        false => uring::off_core_detached(work),
    }
}

pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    match portable::is_here() {
        true => JoinHandle::Portable(portable::spawn(task)),
        false => JoinHandle::Uring(uring::spawn(task)),
    }
}

/// A task that was started. It goes on when this is dropped.
pub enum JoinHandle<T> {
    #[doc(hidden)]
    Uring(uring::JoinHandle<T>),
    #[doc(hidden)]
    Portable(portable::JoinHandle<T>),
}

impl<T: 'static> JoinHandle<T> {
    pub fn cancel(&self) {
        match self {
            Self::Uring(task) => task.cancel(),
            Self::Portable(task) => task.cancel(),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.get_mut() {
            Self::Uring(task) => Pin::new(task).poll(cx),
            Self::Portable(task) => Pin::new(task).poll(cx),
        }
    }
}

/// Resolves once its time has passed.
pub enum Sleep {
    #[doc(hidden)]
    Uring(uring::Sleep),
    #[doc(hidden)]
    Portable(portable::Sleep),
}

pub fn sleep(time: Duration) -> Sleep {
    match portable::is_here() {
        true => Sleep::Portable(portable::sleep(time)),
        false => Sleep::Uring(uring::sleep(time)),
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Uring(sleep) => Pin::new(sleep).poll(cx),
            Self::Portable(sleep) => Pin::new(sleep).poll(cx),
        }
    }
}

pub fn wall_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
}

pub fn rng() -> ThreadRng {
    rand::rng()
}

#[cfg(test)]
mod tests;
