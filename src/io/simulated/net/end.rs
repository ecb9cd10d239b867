//! One end of a connection: what was sent there, what has arrived, and how it ended.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::io::simulated::executor::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client = 0,
    Server = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How an end of a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// At this end, with that error; the other is told by a reset.
    Here(io::ErrorKind),
    /// By a reset from the other end.
    Reset,
    /// Its process lost power: nobody is told.
    Silently,
}

/// Bytes that were sent at once.
pub(super) struct Segment {
    /// When they arrive, unless something is in the way, on the clock of the run.
    pub(super) arrival: Duration,
    pub(super) bytes: Bytes,
}

/// A task that waits at an end, one at a time.
#[derive(Default)]
pub(super) struct Waiter(RefCell<Option<Waker>>);

impl Waiter {
    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.0.replace(Some(cx.waker().clone()));
    }

    pub(super) fn wake(&self) {
        let waiting = self.0.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

pub(super) struct End {
    pub(super) process: Process,
    /// Sent here and not arrived at the other end.
    ///
    /// Invariant: their bytes are `sent_bytes`, at most `buffer_bytes`.
    pub(super) sent: RefCell<VecDeque<Segment>>,
    pub(super) sent_bytes: Cell<usize>,
    /// Arrived here and not read.
    ///
    /// Invariant: at most `buffer_bytes`.
    pub(super) arrived: RefCell<BytesMut>,
    /// Nothing more comes from the other end.
    pub(super) has_all: Cell<bool>,
    /// Nothing more is sent here.
    pub(super) is_write_closed: Cell<bool>,
    /// It was closed here.
    pub(super) is_closed: Cell<bool>,
    pub(super) broken: Cell<Option<Broken>>,
    /// When the last segment arrives that was sent here.
    pub(super) last_arrival: Cell<Duration>,
    /// How much longer its bytes take than those of other connections.
    pub(super) lag: Duration,
    /// Wakes who reads here.
    pub(super) readable: Waiter,
    /// Wakes who writes here.
    pub(super) writable: Waiter,
    /// Wakes what carries bytes from here.
    pub(super) carrier: Notify,
}

impl End {
    pub(super) fn new(process: Process, lag: Duration) -> Self {
        Self {
            process,
            sent: RefCell::default(),
            sent_bytes: Cell::default(),
            arrived: RefCell::default(),
            has_all: Cell::default(),
            is_write_closed: Cell::default(),
            is_closed: Cell::default(),
            broken: Cell::default(),
            last_arrival: Cell::default(),
            lag,
            readable: Waiter::default(),
            writable: Waiter::default(),
            carrier: Notify::new(),
        }
    }

    /// Why nothing can be read or written any more, if it broke.
    pub(super) fn error(&self) -> Option<io::Error> {
        let kind = match self.broken.get()? {
            Broken::Here(kind) => kind,
            Broken::Reset => io::ErrorKind::ConnectionReset,
            Broken::Silently => io::ErrorKind::ConnectionAborted,
        };
        Some(kind.into())
    }

    /// Whether something arrived that nobody has read.
    pub(super) fn has_unread(&self) -> bool {
        !self.arrived.borrow().is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_closed.get() || self.broken.get().is_some()
    }
}
