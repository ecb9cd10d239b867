//! What one connection waits for.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

/// How long a connection must have been idle to be closed for the sake of
/// others: a request may be on its way to one that is new.
pub const IDLE_MIN: Duration = Duration::from_millis(250);
/// The same of one whose client has sent a part of a head, or of a handshake: the rest of it.
pub const BEGUN_MIN: Duration = Duration::from_secs(1);

/// A connection without a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It is within the limit of connections.
    Welcome,
    /// It is so too, and a part of a head has arrived.
    Begun,
    /// It is so too, is to speak TLS, and nothing has arrived.
    Silent,
    /// It is so too, and has yet to come to terms on TLS.
    Handshake,
    /// It is beyond it.
    Refused,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    /// When it waits no longer.
    pub until: Option<Instant>,
    /// It waits for its client's next request.
    pub idle: Option<Idle>,
    /// Since when it waits.
    pub since: Option<Instant>,
    /// Bytes that it holds until its client sends or takes some; 0 where it waits
    /// for something else.
    pub held_bytes: usize,
    /// Since when it holds any.
    pub held_since: Option<Instant>,
    /// Bytes that its client has sent and taken in all.
    pub moved_bytes: u64,
    /// It waits until its client has taken bytes.
    pub writes: bool,
}

/// One connection's wait among those of its core.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) waiting: Waiting,
    /// The deadline was found to have passed; so tasks need not ask the clock.
    pub(super) passed: bool,
    /// The connection is to make room for others.
    pub(super) cut: bool,
    /// The task is to try once more what it waits for.
    pub(super) nudged: bool,
    pub(super) watched: Option<Watched>,
    pub(super) waker: Option<Waker>,
}

impl Slot {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Where a client stood when it was first looked at.
pub(super) struct Watched {
    pub(super) at: Instant,
    pub(super) moved_bytes: u64,
}
