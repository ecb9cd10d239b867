//! How a connection ends: by the clock, on request, and so that the client can
//! read the last answer.

use super::state::{Connection, Phase};
use crate::base::limits::{LINGER_TIMEOUT, WRITE_WINDOW_BYTES};
use bytes::BytesMut;
use std::time::Instant;

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.check();
        match (self.read_deadline, self.write_deadline) {
            (Some(read), Some(write)) => Some(read.min(write)),
            (read, write) => read.or(write),
        }
    }

    /// Whether the sending side should now be shut down, so that the client
    /// sees the end of the last answer, while reading goes on.
    #[must_use]
    pub const fn should_shutdown_write(&self) -> bool {
        matches!(self.phase, Phase::Lingering)
    }

    /// Whether the socket should now be closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether something that was queued was never written, which the client must
    /// be able to tell.
    #[must_use]
    pub const fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    /// Stops gracefully: a request that has begun to arrive or is being
    /// answered is finished, its answer says `Connection: close`, and no
    /// further one is taken.
    pub fn drain(&mut self) {
        self.draining = true;
        if matches!(self.phase, Phase::Head(_)) && self.received.is_empty() {
            if self.queue.is_empty() {
                self.abort();
            } else {
                self.phase = Phase::Closing { linger: !self.read_closed };
            }
        }
    }

    /// Cuts the connection off at once; what is queued is lost. For a stream
    /// that cannot go on: the client sees that it is incomplete.
    pub fn abort(&mut self) {
        self.broken_off |= !self.queue.is_empty();
        self.phase = Phase::Closed;
        self.received = BytesMut::new();
        self.queue.clear();
        self.read_deadline = None;
        self.write_deadline = None;
    }

    /// Closes once the queue is written, lingering if the client may be sending.
    pub(super) fn close(&mut self, linger: bool, now: Instant) {
        let count = self.received.len();
        self.received = BytesMut::new();
        self.read_deadline = None;
        self.phase = Phase::Closing { linger: linger && !self.read_closed };
        self.discard(count);
        if self.queue.is_empty() {
            self.end_writing(now);
        }
    }

    /// The queue is written: if that was the last answer, the connection ends.
    pub(super) fn end_writing(&mut self, now: Instant) {
        match self.phase {
            Phase::Closing { linger: true } if !self.read_closed => {
                self.phase = Phase::Lingering;
                self.read_deadline = Some(now + LINGER_TIMEOUT);
            }
            Phase::Closing { .. } => self.abort(),
            _ => {}
        }
    }

    pub(super) const fn discards(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. } | Phase::Lingering | Phase::Closed)
    }

    pub(super) fn discard(&mut self, count: usize) {
        self.linger_left = self.linger_left.saturating_sub(count);
        if self.linger_left == 0 {
            match &mut self.phase {
                Phase::Closing { linger } => *linger = false,
                _ => self.abort(),
            }
        }
    }

    /// Starts the clock of a client from which a head is awaited. While answers
    /// are still being written only the clock of writing runs.
    pub(super) fn arm_head(&mut self, now: Instant) {
        if let Phase::Head(progress) = &self.phase {
            let limits = self.context.limits();
            let patience = if progress.begun { limits.head_timeout } else { limits.idle_timeout };
            self.read_deadline = self.queue.is_empty().then(|| now + patience);
        }
    }

    /// Starts the clock of writing unless it runs.
    pub(super) fn arm_write(&mut self, now: Instant) {
        if !self.queue.is_empty() && self.write_deadline.is_none() {
            self.write_deadline = Some(now + self.context.limits().write_timeout);
            self.write_window = self.queue.bytes().min(WRITE_WINDOW_BYTES);
        }
    }
}
