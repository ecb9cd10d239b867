//! What other threads wake on a core.

use std::{
    io, mem,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use async_task::Runnable;
use rustix::event::{EventfdFlags, eventfd};

/// The part of a core that other threads see.
pub(super) struct Inbox {
    /// Tasks that were woken elsewhere, each with its queue; none any more after the end.
    tasks: Mutex<Option<Vec<(usize, Runnable)>>>,
    /// Whether there may be any.
    has_tasks: AtomicBool,
    /// The future that the executor was started with was woken.
    is_main_woken: AtomicBool,
    /// The core sleeps, or is about to: who brings something wakes it.
    is_asleep: AtomicBool,
    /// What interrupts its sleep. It is in the epoll of the core, which reports each write, so
    /// nobody reads it.
    event: OwnedFd,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            tasks: Mutex::new(Some(Vec::new())),
            has_tasks: AtomicBool::new(false),
            is_main_woken: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<(usize, Runnable)>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a task that was woken on another thread.
    pub(super) fn push(&self, queue: usize, task: Runnable) {
        match &mut *self.lock() {
            Some(tasks) => tasks.push((queue, task)),
            // Nobody runs it, and only its own thread may drop it.
            None => return mem::forget(task),
        }
        self.has_tasks.store(true, Ordering::SeqCst);
        self.rouse();
    }

    fn rouse(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // It fails only when it is so full that the core is awake already.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// What was brought since the last time.
    pub(super) fn take(&self) -> Vec<(usize, Runnable)> {
        if !self.has_tasks.load(Ordering::Relaxed) || !self.has_tasks.swap(false, Ordering::SeqCst)
        {
            return Vec::new();
        }
        self.lock().as_mut().map(mem::take).unwrap_or_default()
    }

    /// The same at the end, after which nothing is brought.
    pub(super) fn end(&self) -> Vec<(usize, Runnable)> {
        self.lock().take().unwrap_or_default()
    }

    /// Whether the main future was woken since the last time.
    pub(super) fn takes_main(&self) -> bool {
        self.is_main_woken.load(Ordering::Relaxed)
            && self.is_main_woken.swap(false, Ordering::SeqCst)
    }

    /// The core is about to sleep; whether it may, since nobody has brought anything.
    pub(super) fn falls_asleep(&self) -> bool {
        self.is_asleep.store(true, Ordering::SeqCst);
        let has_news =
            self.has_tasks.load(Ordering::SeqCst) || self.is_main_woken.load(Ordering::SeqCst);
        if has_news {
            self.wakes_up();
        }
        !has_news
    }

    /// The core sleeps no longer.
    pub(super) fn wakes_up(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}

impl Wake for Inbox {
    /// Wakes the main future.
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.is_main_woken.store(true, Ordering::SeqCst);
        self.rouse();
    }
}
