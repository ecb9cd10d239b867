//! The tasks of a virtual executor, and what wakes them.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

/// The process that a task belongs to: a node by its number, or what surrounds
/// them all.
pub type Process = u64;

/// The tasks that were woken, in order.
#[derive(Default)]
pub(super) struct Ready(Mutex<VecDeque<u64>>);

impl Ready {
    pub(super) fn push(&self, task: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    pub(super) fn pop(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Wakes one task, or has it dropped.
pub(super) struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
    /// It stands among the ready ones already.
    pub(super) queued: AtomicBool,
    /// It is to be dropped instead of run.
    pub(super) is_cancelled: AtomicBool,
}

impl TaskWaker {
    pub(super) fn new(task: u64, ready: &Arc<Ready>) -> Arc<Self> {
        let (queued, is_cancelled) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { task, ready: Arc::clone(ready), queued, is_cancelled })
    }

    pub(super) fn cancel(self: &Arc<Self>) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.wake_by_ref();
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.task);
        }
    }
}

/// A task and the process that it belongs to.
pub(super) struct Task {
    pub(super) process: Process,
    pub(super) future: Pin<Box<dyn Future<Output = ()>>>,
    pub(super) waker: Arc<TaskWaker>,
}

/// Lets the other tasks run for a number of turns.
pub struct Turns(pub u32);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
