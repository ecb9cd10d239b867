//! Executors on threads of their own.

use std::{future::Future, time::Duration};

use super::{
    core::{ExecutorError, Kind, Purpose},
    portable,
    uring::{
        allowed::{self, UringError},
        executor as uring,
    },
};

/// Finds out whether so many executors can have io_uring.
///
/// # Errors
/// [`UringError`], when they cannot: that says why, and what can be done about it.
pub fn try_uring(executors: usize) -> Result<(), UringError> {
    allowed::check(executors)
}

/// Finds out whether so many portable executors can have a ring for files.
///
/// # Errors
/// [`UringError`], when they cannot: that says why, and what can be done about it.
pub fn try_ring(executors: usize) -> Result<(), UringError> {
    allowed::check_for_files(executors)
}

/// Starts an executor that runs `main` in a queue of its own and then idles
/// until the process ends. Whoever starts it has to [`watch`](Watch::look) it.
///
/// # Errors
/// When the thread, or what it needs of the system, cannot be made.
pub fn start<F>(
    kind: Kind,
    purpose: Purpose,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<Watch, ExecutorError>
where
    F: Future<Output = ()> + 'static,
{
    match kind {
        Kind::Uring => uring::start(purpose, main).map(Some).map(Watch),
        Kind::Portable(files) => {
            portable::executor::start(files, purpose, main).map(|()| Watch(None))
        }
    }
}

/// Starts a task in a queue of its own, equal to the others of this core; what it starts stays
/// there.
pub fn spawn_apart(name: &str, task: impl Future<Output = ()> + 'static) {
    match portable::cores::is_here() {
        true => portable::executor::spawn_apart(task),
        false => uring::spawn_apart(name, task),
    }
}

/// Looks after an executor from another thread.
pub struct Watch(Option<uring::Watch>);

impl Watch {
    /// How often to look: longer than a living executor is ever silent.
    pub const PERIOD: Duration = uring::Watch::PERIOD;

    /// Wakes the executor if it may sleep although it has work.
    pub fn look(&mut self) {
        self.0.iter_mut().for_each(uring::Watch::look);
    }
}
