//! One executor on a thread of its own.

use std::{
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
    thread,
};

use super::core::{Core, Entered, current};
use crate::io::real::core::{ExecutorError, FileAccess, Purpose};

/// One executor on the thread that makes it.
pub struct Executor(Rc<Core>);

impl Executor {
    /// # Errors
    /// When the system has no descriptor or no thread for it.
    pub fn new(files: FileAccess) -> io::Result<Self> {
        Ok(Self(Rc::new(Core::new(files)?)))
    }

    /// Runs `future`, and what it starts, until it has its output.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let core = &self.0;
        let _entered = Entered::new(core);
        let waker = Waker::from(Arc::clone(&core.inbox));
        let mut future = pin!(future);
        waker.wake_by_ref();
        loop {
            if core.inbox.takes_main() {
                core.begin_slice();
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
            }
            core.run_tasks();
            core.look_around();
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _entered = Entered::new(&self.0);
        self.0.end();
    }
}

/// Starts an executor that runs `main`, and then what that started, until the process ends.
///
/// # Errors
/// When the thread, or what it needs, cannot be made.
pub fn start<F>(
    files: FileAccess,
    purpose: Purpose,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<(), ExecutorError>
where
    F: Future<Output = ()> + 'static,
{
    let (made, outcome) = mpsc::sync_channel(1);
    let run = move || {
        let executor = match Executor::new(files) {
            Ok(executor) => executor,
            // It is waited for below.
            Err(error) => return drop(made.send(Err(error))),
        };
        let _ = made.send(Ok(()));
        executor.block_on(async move {
            main().await;
            std::future::pending::<()>().await;
        });
    };
    let thread = thread::Builder::new().name(purpose.name().into()).spawn(run);
    thread.map_err(|error| ExecutorError::System("cannot start a thread", error))?;
    let ended = |_| ExecutorError::Make("its thread ended".into());
    let failed = |error| ExecutorError::System("cannot start an executor", error);
    outcome.recv().map_err(ended)?.map_err(failed)
}

/// Starts a task in a queue of its own, equal to the others; what it starts stays there.
pub fn spawn_apart(task: impl Future<Output = ()> + 'static) {
    let core = current();
    core.spawn(core.add_queue(), task).detach();
}
