//! The ring of a core, which sleeps in its epoll. What is done ends that sleep, or does not let it begin:
//! - The ring is in the epoll. Each outcome that the kernel puts into it is reported there once (`io_uring_poll`),
//!   also one that came before the sleep.
//! - What is done, but not put into it yet (`COOP_TASKRUN`), waits for the thread to leave the kernel. It counts as
//!   a signal meanwhile, and nobody falls asleep in an epoll, or goes on to sleep, when there is a signal (`EINTR`).

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use io_uring::{IoUring, squeue};
use slab::Slab;

use crate::io::real::aligned::AlignedBuffer;

/// Operations that are handed to the kernel at once. Only files are read and written by it, so few are begun together.
pub(in crate::io::real) const DEPTH: u32 = 64;

/// How often a ring is tried before it is an error: the kernel counts the memory of
/// rings that were given up for a moment longer.
const TRIES: u32 = 10;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// What an operation uses, which stays as it is until that is done.
pub(in crate::io::real) struct Used {
    /// The open file.
    #[expect(dead_code, reason = "it is held")]
    pub(in crate::io::real) file: Arc<dyn Any + Send + Sync>,
    /// What is read or written.
    pub(in crate::io::real) buffer: Option<AlignedBuffer>,
}

/// What an operation comes to: bytes, and what it used.
pub(in crate::io::real) type Outcome = (io::Result<usize>, Option<AlignedBuffer>);

enum Operation {
    UnderWay(Used, Option<Waker>),
    /// Nobody waits for it any more.
    GivenUp(#[expect(dead_code, reason = "it is held")] Used),
    Done(i32, Option<AlignedBuffer>),
    /// Its outcome was taken.
    Taken,
}

/// The ring of a core, for the thread that made it.
pub(in crate::io::real) struct Ring {
    ring: RefCell<IoUring>,
    operations: RefCell<Slab<Operation>>,
    /// Those that are not in the ring yet. As many as tasks wait for, and those that were given up.
    begun: RefCell<VecDeque<squeue::Entry>>,
    /// Operations that were put into the ring, and whose outcomes were not taken from there. There is room
    /// for these outcomes, so the kernel never has to keep any.
    inside: Cell<u32>,
    /// Of these, those that the kernel has not taken yet.
    untaken: Cell<usize>,
    /// Outcomes that there is room for.
    inside_max: u32,
}

impl Ring {
    /// # Errors
    /// When the system grants none.
    pub(in crate::io::real) fn new() -> io::Result<Self> {
        let mut tries = 1;
        let ring = loop {
            match make() {
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory && tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                made => break made?,
            }
        };
        let inside_max = ring.params().cq_entries();
        Ok(Self {
            ring: RefCell::new(ring),
            operations: RefCell::default(),
            begun: RefCell::default(),
            inside: Cell::new(0),
            untaken: Cell::new(0),
            inside_max,
        })
    }

    /// Begins an operation. It is handed over by [`submit`](Self::submit).
    ///
    /// # Safety
    /// `entry` refers to no memory and no file but those of `used`.
    pub(in crate::io::real) unsafe fn begin(
        self: &Rc<Self>,
        entry: squeue::Entry,
        used: Used,
    ) -> Completion {
        let key = self.operations.borrow_mut().insert(Operation::UnderWay(used, None));
        self.begun.borrow_mut().push_back(entry.user_data(key as u64));
        Completion { ring: Rc::clone(self), key }
    }

    /// Puts into the ring what was begun, as far as there is room.
    fn fill(&self) {
        let mut begun = self.begun.borrow_mut();
        if begun.is_empty() {
            return;
        }
        let mut ring = self.ring.borrow_mut();
        let mut queue = ring.submission();
        while self.inside.get() < self.inside_max
            && let Some(entry) = begun.front()
        {
            // SAFETY: what it refers to stays with the operation until that is done.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            begun.pop_front();
            self.inside.set(self.inside.get() + 1);
            self.untaken.set(self.untaken.get() + 1);
        }
    }

    /// Hands to the kernel what was begun, as far as it takes it.
    ///
    /// # Errors
    /// When it takes none, and never will.
    pub(in crate::io::real) fn submit(&self) -> io::Result<()> {
        loop {
            self.fill();
            if self.untaken.get() == 0 || self.enter(0)? == 0 {
                return Ok(());
            }
        }
    }

    /// Has the kernel take what is in the ring, and waits for so many outcomes; how many operations it took.
    fn enter(&self, outcomes: usize) -> io::Result<usize> {
        match self.ring.borrow().submit_and_wait(outcomes) {
            Ok(taken) => {
                self.untaken.set(self.untaken.get() - taken);
                Ok(taken)
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EBUSY | libc::EINTR) => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Whether there is something for [`submit`](Self::submit) to do.
    pub(in crate::io::real) fn has_unsubmitted(&self) -> bool {
        let has_room = self.inside.get() < self.inside_max;
        self.untaken.get() > 0 || has_room && !self.begun.borrow().is_empty()
    }

    /// Wakes who waits for what is done.
    pub(in crate::io::real) fn reap(&self) {
        loop {
            let next = self.ring.borrow_mut().completion().next();
            let Some(entry) = next else { return };
            self.inside.set(self.inside.get() - 1);
            if let Some(waker) = self.done(entry.user_data() as usize, entry.result()) {
                waker.wake();
            }
        }
    }

    /// An operation is done; who waits for it.
    fn done(&self, key: usize, result: i32) -> Option<Waker> {
        let mut operations = self.operations.borrow_mut();
        let operation = operations.get_mut(key)?;
        match mem::replace(operation, Operation::Taken) {
            Operation::UnderWay(used, waker) => {
                *operation = Operation::Done(result, used.buffer);
                waker
            }
            // What it used is closed and freed here.
            _ => {
                operations.remove(key);
                None
            }
        }
    }

    /// Nobody waits for a file any more.
    pub(in crate::io::real) fn forget_waiters(&self) {
        let mut wakers = Vec::new();
        for (_, operation) in &mut *self.operations.borrow_mut() {
            if let Operation::UnderWay(_, waker) = operation {
                wakers.extend(waker.take());
            }
        }
        // After the borrow: each may be the last that holds a task.
        drop(wakers);
    }

    /// Whether anything that was begun has no outcome yet.
    fn is_used(&self) -> bool {
        self.inside.get() > 0 || !self.begun.borrow().is_empty()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring is open for as long as this is there.
        unsafe { BorrowedFd::borrow_raw(self.ring.borrow().as_raw_fd()) }
    }
}

impl Drop for Ring {
    /// Waits for all that the kernel reads and writes memory for.
    fn drop(&mut self) {
        while self.is_used() {
            self.fill();
            if let Err(error) = self.enter(1) {
                tracing::error!(%error, "operations on files do not end: the process does");
                std::process::abort();
            }
            self.reap();
        }
    }
}

/// Makes a ring of the kind that a core has.
///
/// # Errors
/// When the system grants none, with `EINVAL` before Linux 6.0.
pub(in crate::io::real) fn make() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    // Whatever runs on the core is not interrupted by what is done.
    builder.dontfork().setup_coop_taskrun().setup_single_issuer().build(DEPTH)
}

/// Resolves once an operation is done. When it is dropped before, the operation goes on, and nobody hears of it.
pub(in crate::io::real) struct Completion {
    ring: Rc<Ring>,
    key: usize,
}

impl Future for Completion {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut operations = self.ring.operations.borrow_mut();
        let operation = &mut operations[self.key];
        match operation {
            Operation::UnderWay(_, waker) => {
                let before = waker.replace(cx.waker().clone());
                // After the borrow: it may be the last that holds a task, which may wait for more.
                drop(operations);
                drop(before);
                Poll::Pending
            }
            Operation::Done(result, buffer) => {
                let outcome = match usize::try_from(*result) {
                    Ok(count) => Ok(count),
                    Err(_) => Err(io::Error::from_raw_os_error(-*result)),
                };
                Poll::Ready((outcome, buffer.take()))
            }
            Operation::GivenUp(_) | Operation::Taken => unreachable!("it waits no longer"),
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let mut operations = self.ring.operations.borrow_mut();
        let operation = &mut operations[self.key];
        let left = match mem::replace(operation, Operation::Taken) {
            Operation::UnderWay(used, waker) => {
                *operation = Operation::GivenUp(used);
                waker
            }
            _ => {
                operations.remove(self.key);
                None
            }
        };
        // It may be the last that holds a task, which may wait for more.
        drop(operations);
        drop(left);
    }
}
