//! Which sockets of a core are ready. Each core has one epoll, which a socket enters once, for as long
//! as it is open, and which reports each change once (edge-triggered). The executor watches the epoll
//! alone: a wait for a socket makes no system call, and nothing is taken back when it is given up.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

/// Reports taken from the epoll at once.
const EVENTS: usize = 256;
/// After these there is always something to read: bytes, the end, or an error.
const READ_ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
/// After these there is nothing more to wait for before a write: it fails.
const WRITE_ENDED: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// Whether a socket is ready, as far as is known, and who waits for that: one task for each
/// direction.
#[derive(Default)]
pub(super) struct Readiness {
    read: Direction,
    write: Direction,
}

#[derive(Default)]
struct Direction {
    is_ready: Cell<bool>,
    /// It stays ready whatever is tried.
    has_ended: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Readiness {
    /// Ready when there may be something to read.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.read.poll(cx)
    }

    /// Ready when there may be room.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.write.poll(cx)
    }

    pub(super) async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    pub(super) async fn writable(&self) {
        poll_fn(|cx| self.poll_writable(cx)).await;
    }

    /// All that there was is read. What comes from now on will be reported.
    pub(super) fn drained(&self) {
        self.read.use_up();
    }

    /// There is no room left. When there is again, that will be reported.
    pub(super) fn filled(&self) {
        self.write.use_up();
    }

    fn report(&self, flags: EventFlags) {
        if flags.intersects(EventFlags::IN | READ_ENDED) {
            self.read.report(flags.intersects(READ_ENDED));
        }
        if flags.intersects(EventFlags::OUT | WRITE_ENDED) {
            self.write.report(flags.intersects(WRITE_ENDED));
        }
    }
}

impl Direction {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ready.get() {
            return Poll::Ready(());
        }
        let mut waiter = self.waiter.borrow_mut();
        if !waiter.as_ref().is_some_and(|waiter| waiter.will_wake(cx.waker())) {
            *waiter = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn use_up(&self) {
        self.is_ready.set(self.has_ended.get());
    }

    fn report(&self, has_ended: bool) {
        self.is_ready.set(true);
        self.has_ended.set(self.has_ended.get() | has_ended);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// The epoll of a core, and the sockets in it.
pub(super) struct Poller {
    epoll: OwnedFd,
    sockets: RefCell<Sockets>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, sockets: RefCell::default() })
    }

    /// Watches a socket from now on; the number that it is known by. It is taken to have room for bytes,
    /// and nothing to read.
    pub(super) fn enter(&self, socket: &impl AsFd) -> io::Result<(usize, Rc<Readiness>)> {
        let readiness = Rc::new(Readiness::default());
        readiness.write.is_ready.set(true);
        let index = self.sockets.borrow_mut().enter(Rc::clone(&readiness));
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(index as u64);
        match epoll::add(&self.epoll, socket, data, flags) {
            Ok(()) => Ok((index, readiness)),
            Err(error) => {
                self.sockets.borrow_mut().leave(index);
                Err(error.into())
            }
        }
    }

    /// Has [`hand_on`](Self::hand_on) return when there is something new to read from `source`, which
    /// nobody need read.
    pub(super) fn rouse_by(&self, source: &impl AsFd) -> io::Result<()> {
        let nobody = EventData::new_u64(u64::MAX);
        Ok(epoll::add(&self.epoll, source, nobody, EventFlags::IN | EventFlags::ET)?)
    }

    /// A socket that is being closed is watched no longer: the epoll loses it by that, before anything is
    /// reported again.
    pub(super) fn leave(&self, index: usize) {
        self.sockets.borrow_mut().leave(index);
    }

    /// Takes a socket out of the epoll that somebody else has open, too.
    pub(super) fn take_out(&self, socket: &impl AsFd) {
        // Where that fails, somebody is woken now and then who finds nothing.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Hands on what the epoll reports; waits until it reports something for as long as `timeout`, in
    /// milliseconds rounded up, without one for ever. A signal ends the wait.
    ///
    /// # Panics
    /// When it cannot be asked: nobody would hear of anything.
    pub(super) fn hand_on(&self, timeout: Option<Duration>) {
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let mut timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        loop {
            let events = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
                Ok((events, _)) => events,
                Err(rustix::io::Errno::INTR) => return,
                Err(error) => panic!("the sockets of a core cannot be watched: {error}"),
            };
            let sockets = self.sockets.borrow();
            for event in &*events {
                if let Some(readiness) = sockets.get(event.data.u64() as usize) {
                    readiness.report(event.flags);
                }
            }
            if events.len() < EVENTS {
                return;
            }
            timeout = Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
    }

    /// Nobody waits for a socket any more.
    pub(super) fn forget_waiters(&self) {
        let sockets = self.sockets.borrow().by_index.clone();
        for readiness in sockets.into_iter().flatten() {
            let waiters = [&readiness.read, &readiness.write].map(|way| way.waiter.take());
            drop(waiters);
        }
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// The sockets in an epoll, by the number that it knows them by.
#[derive(Default)]
struct Sockets {
    by_index: Vec<Option<Rc<Readiness>>>,
    /// Indexes without a socket.
    free: Vec<usize>,
}

impl Sockets {
    fn enter(&mut self, readiness: Rc<Readiness>) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.by_index[index] = Some(readiness);
                index
            }
            None => {
                self.by_index.push(Some(readiness));
                self.by_index.len() - 1
            }
        }
    }

    fn leave(&mut self, index: usize) {
        let left = self.by_index[index].take();
        assert!(left.is_some(), "a socket leaves once");
        self.free.push(index);
    }

    fn get(&self, index: usize) -> Option<&Readiness> {
        self.by_index.get(index)?.as_deref()
    }
}
