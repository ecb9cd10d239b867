//! What a core consists of.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use async_task::{Runnable, Task};

use super::{inbox::Inbox, ring::queue::Ring, threads::Threads, timers::Timers};
use crate::io::real::{
    core::{BLOCKING_THREADS, FileAccess, SLICE},
    poller::Poller,
};

/// Threads for reads, writes and syncs of files. The log has one write under way, and a few others
/// prepare, read and verify.
const DISK_THREADS: usize = 4;

/// A core. Only its own thread has it.
pub(super) struct Core {
    pub(super) inbox: Arc<Inbox>,
    /// Tasks that are to run, by queue. The first queue is there from the beginning.
    queues: RefCell<Vec<VecDeque<Runnable>>>,
    /// The queue of the task that runs.
    running: Cell<usize>,
    /// When it has to let others run.
    slice_ends: Cell<Instant>,
    pub(super) timers: RefCell<Timers>,
    pub(super) poller: Rc<Poller>,
    pub(super) blocking: Threads,
    pub(super) disk: Threads,
    /// What files with direct I/O are read, written and synced by, in place of these threads.
    ring: Option<Rc<Ring>>,
}

thread_local! {
    /// Whether the thread runs a core of this kind.
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
    static OF_THIS_THREAD: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Whether this thread runs a core of this kind.
pub fn is_here() -> bool {
    IS_HERE.get()
}

/// The core that this thread runs.
///
/// # Panics
/// Without one.
pub(super) fn current() -> Rc<Core> {
    OF_THIS_THREAD.with_borrow(Option::clone).expect("it runs on a core")
}

/// The ring for files of the core that this thread runs, where it runs one that has it.
pub(super) fn ring() -> Option<Rc<Ring>> {
    OF_THIS_THREAD.with_borrow(|core| core.as_ref()?.ring.clone())
}

/// The thread runs a core for as long as this is there.
pub(super) struct Entered {
    before: Option<Rc<Core>>,
}

impl Entered {
    pub(super) fn new(core: &Rc<Core>) -> Self {
        IS_HERE.set(true);
        Self { before: OF_THIS_THREAD.replace(Some(Rc::clone(core))) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        IS_HERE.set(self.before.is_some());
        drop(OF_THIS_THREAD.replace(self.before.take()));
    }
}

impl Core {
    pub(super) fn new(files: FileAccess) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new()?);
        let poller = Rc::new(Poller::new()?);
        poller.rouse_by(inbox.event())?;
        let ring = match files {
            FileAccess::Ring => ring_if_any(),
            FileAccess::Threads => None,
        };
        ring.iter().try_for_each(|ring| poller.rouse_by(ring))?;
        Ok(Self {
            inbox,
            queues: RefCell::new(vec![VecDeque::new()]),
            running: Cell::new(0),
            slice_ends: Cell::new(Instant::now()),
            timers: RefCell::default(),
            poller,
            blocking: Threads::new("blocking", BLOCKING_THREADS)?,
            disk: Threads::new("disk", DISK_THREADS)?,
            ring,
        })
    }

    /// A further queue, equal to the others.
    pub(super) fn add_queue(&self) -> usize {
        let mut queues = self.queues.borrow_mut();
        queues.push(VecDeque::new());
        queues.len() - 1
    }

    /// The queue of the task that runs.
    pub(super) fn queue(&self) -> usize {
        self.running.get()
    }

    /// Starts a task in a queue.
    pub(super) fn spawn<T: 'static>(
        &self,
        queue: usize,
        task: impl Future<Output = T> + 'static,
    ) -> Task<T> {
        let inbox = Arc::clone(&self.inbox);
        let schedule = move |task| schedule(&inbox, queue, task);
        let (runnable, task) = async_task::spawn_local(task, schedule);
        runnable.schedule();
        task
    }

    /// Whether the task that runs has run for long enough.
    pub(super) fn is_slice_over(&self) -> bool {
        Instant::now() >= self.slice_ends.get()
    }

    /// A slice of the first queue begins.
    pub(super) fn begin_slice(&self) {
        self.running.set(0);
        self.slice_ends.set(Instant::now() + SLICE);
    }

    /// Runs tasks until there are none, or for about a slice; each queue for a slice at most. What they ask of
    /// the disk goes out before the next queue has its turn.
    pub(super) fn run_tasks(&self) {
        let end = Instant::now() + SLICE;
        loop {
            for (queue, task) in self.inbox.take() {
                self.queues.borrow_mut()[queue].push_back(task);
            }
            let count = self.queues.borrow().len();
            for queue in 0..count {
                self.run_queue(queue);
                self.look_at_ring();
            }
            // The last queue may have woken a task of the first.
            if self.is_idle() || Instant::now() >= end {
                return;
            }
        }
    }

    /// Hands over what was asked of the disk, and wakes who waits for what is done.
    fn look_at_ring(&self) {
        let Some(ring) = &self.ring else { return };
        if let Err(error) = ring.submit() {
            panic!("the ring of a core cannot be used: {error}");
        }
        ring.reap();
    }

    fn is_idle(&self) -> bool {
        self.queues.borrow().iter().all(VecDeque::is_empty)
    }

    fn run_queue(&self, queue: usize) {
        let Some(mut task) = self.next_of(queue) else { return };
        let end = Instant::now() + SLICE;
        self.running.set(queue);
        self.slice_ends.set(end);
        loop {
            task.run();
            if Instant::now() >= end {
                return;
            }
            let Some(next) = self.next_of(queue) else { return };
            task = next;
        }
    }

    fn next_of(&self, queue: usize) -> Option<Runnable> {
        self.queues.borrow_mut()[queue].pop_front()
    }

    /// Hears of sockets, files and timers; sleeps until there is something when no task is to run.
    pub(super) fn look_around(&self) {
        // What the kernel did not take is tried again at once.
        let has_unsubmitted = self.ring.as_ref().is_some_and(|ring| ring.has_unsubmitted());
        if self.is_idle() && !has_unsubmitted && self.inbox.falls_asleep() {
            let first = self.timers.borrow().first();
            self.poller.hand_on(first.map(|due| due.saturating_duration_since(Instant::now())));
            self.inbox.wakes_up();
        } else {
            self.poller.hand_on(Some(Duration::ZERO));
        }
        self.ring.iter().for_each(|ring| ring.reap());
        self.fire_timers();
    }

    fn fire_timers(&self) {
        if self.timers.borrow().first().is_none() {
            return;
        }
        let now = Instant::now();
        let next = || self.timers.borrow_mut().take_due(now);
        while let Some(waker) = next() {
            waker.wake();
        }
    }

    /// Drops all tasks: those that are to run, and those that wait for something of this core.
    pub(super) fn end(&self) {
        let last = || self.timers.borrow_mut().first().map(|at| at + Duration::from_nanos(1));
        while let Some(at) = last() {
            let waker = self.timers.borrow_mut().take_due(at);
            drop(waker);
        }
        self.poller.forget_waiters();
        self.ring.iter().for_each(|ring| ring.forget_waiters());
        loop {
            let mut tasks: Vec<_> = self.inbox.take().into_iter().map(|(_, task)| task).collect();
            self.queues.borrow_mut().iter_mut().for_each(|queue| tasks.extend(queue.drain(..)));
            if tasks.is_empty() {
                break;
            }
        }
        self.inbox.end().into_iter().for_each(drop);
    }
}

/// A ring for files. It was found out before that there can be one, but others may have used up since what it needs.
fn ring_if_any() -> Option<Rc<Ring>> {
    match Ring::new() {
        Ok(ring) => Some(Rc::new(ring)),
        Err(error) => {
            tracing::warn!(%error, "files of a core are read and written on threads: it gets no ring");
            None
        }
    }
}

/// Has a task run that was woken, on whichever thread.
fn schedule(inbox: &Arc<Inbox>, queue: usize, task: Runnable) {
    let mut task = Some(task);
    // The last tasks of a thread that ends may be dropped after what is known of it.
    let _ = OF_THIS_THREAD.try_with(|core| {
        if let Some(core) = &*core.borrow()
            && Arc::ptr_eq(&core.inbox, inbox)
        {
            core.queues.borrow_mut()[queue].extend(task.take());
        }
    });
    if let Some(task) = task {
        inbox.push(queue, task);
    }
}

/// A timer of a core that has been set.
pub(super) struct Timer {
    core: Rc<Core>,
    key: (Instant, u64),
}

impl Timer {
    pub(super) fn new(due: Instant, waker: &Waker) -> Self {
        let core = current();
        let number = core.timers.borrow_mut().set(due, waker.clone());
        Self { core, key: (due, number) }
    }

    pub(super) fn renew(&self, waker: &Waker) {
        let before = self.core.timers.borrow_mut().renew(self.key, waker);
        // After the borrow: it may be the last that holds a task, which has timers of its own.
        drop(before);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let before = self.core.timers.borrow_mut().clear(self.key);
        drop(before);
    }
}
