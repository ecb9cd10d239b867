//! Which sockets of a core are ready. Each core has one epoll, which a socket enters once, for as long
//! as it is open, and which reports each change once (edge-triggered). The executor watches the epoll
//! alone: a wait for a socket makes no system call, and nothing is taken back when it is given up.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use glommio::io::PollableFd;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

use crate::io::cores;

/// Reports taken from the epoll at once.
const EVENTS: usize = 256;
/// After these there is always something to read: bytes, the end, or an error.
const READ_ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
/// After these there is nothing more to wait for before a write: it fails.
const WRITE_ENDED: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// A socket of this core, and whether it is ready.
pub(super) struct Polled<T: AsFd> {
    socket: T,
    readiness: Rc<Readiness>,
    poller: Rc<Poller>,
    /// Its place among the sockets of the poller.
    index: usize,
}

impl<T: AsFd> Polled<T> {
    /// Watches `socket`, which must be non-blocking, from now on. It is taken to have room for bytes,
    /// and nothing to read.
    pub(super) fn new(socket: T) -> io::Result<Self> {
        let poller = Poller::of_this_core()?;
        let (index, readiness) = poller.enter(&socket)?;
        Ok(Self { socket, readiness, poller, index })
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.socket
    }

    /// Takes it out of the epoll before it is dropped, which does that only for the last descriptor
    /// of a socket.
    pub(super) fn leave(&self) {
        // Where that fails, somebody is woken now and then who finds nothing.
        let _ = epoll::delete(self.poller.epoll.get_ref(), &self.socket);
    }

    /// In which direction it is ready.
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl<T: AsFd> Drop for Polled<T> {
    fn drop(&mut self) {
        // The epoll loses the socket when that is closed, before anything is reported again: a
        // system call less for each connection.
        self.poller.sockets.borrow_mut().leave(self.index);
    }
}

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
struct Poller {
    /// The executor that watches it.
    executor: usize,
    epoll: PollableFd<OwnedFd>,
    sockets: RefCell<Sockets>,
}

thread_local! {
    static OF_THIS_CORE: RefCell<Option<Rc<Poller>>> = const { RefCell::new(None) };
}

impl Poller {
    fn of_this_core() -> io::Result<Rc<Self>> {
        let executor = glommio::executor().id();
        OF_THIS_CORE.with_borrow_mut(|poller| match poller {
            Some(poller) if poller.executor == executor => Ok(Rc::clone(poller)),
            _ => {
                let epoll = PollableFd::new(epoll::create(CreateFlags::CLOEXEC)?)?;
                let made = Rc::new(Self { executor, epoll, sockets: RefCell::default() });
                cores::spawn(Rc::clone(&made).run());
                Ok(Rc::clone(poller.insert(made)))
            }
        })
    }

    fn enter(&self, socket: &impl AsFd) -> io::Result<(usize, Rc<Readiness>)> {
        let readiness = Rc::new(Readiness::default());
        readiness.write.is_ready.set(true);
        let index = self.sockets.borrow_mut().enter(Rc::clone(&readiness));
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(index as u64);
        match epoll::add(self.epoll.get_ref(), socket, data, flags) {
            Ok(()) => Ok((index, readiness)),
            Err(error) => {
                self.sockets.borrow_mut().leave(index);
                Err(error.into())
            }
        }
    }

    /// Hands on what the epoll reports.
    async fn run(self: Rc<Self>) {
        loop {
            if let Err(error) = self.hand_on() {
                panic!("the sockets of a core cannot be watched: {error}");
            }
            if let Err(error) = self.epoll.readable().await {
                panic!("the sockets of a core cannot be watched: {error}");
            }
        }
    }

    fn hand_on(&self) -> io::Result<()> {
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        loop {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let events = match epoll::wait(self.epoll.get_ref(), &mut buffer, Some(&now)) {
                Ok((events, _)) => events,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let sockets = self.sockets.borrow();
            for event in &*events {
                if let Some(readiness) = sockets.get(event.data.u64() as usize) {
                    readiness.report(event.flags);
                }
            }
            if events.len() < EVENTS {
                return Ok(());
            }
        }
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
