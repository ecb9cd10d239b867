//! One HTTP/1.1 connection: what has been received goes in, requests come out
//! one at a time; answers go in, bytes to send come out.
//!
//! ```text
//!  Head ──► Body ──► Answering ──► Head …            kept alive
//!    └───────┴──────────┴────────► Closing ──► Closed
//!                                     └──► Lingering ──► Closed
//! ```
//!
//! A client that asks before it sends a body waits at the start of `Body` for
//! [`proceed`](Connection::proceed) or [`decline`](Connection::decline).
//!
//! Whoever drives it repeats, after everything that happens on the socket:
//! [`poll_event`](Connection::poll_event) until it returns nothing, write
//! [`poll_transmit`](Connection::poll_transmit) and report it with
//! [`transmitted`](Connection::transmitted), both until neither yields
//! anything; shut down the sending side when
//! [`should_shutdown_write`](Connection::should_shutdown_write), leave when
//! [`is_closed`](Connection::is_closed); read when
//! [`wants_read`](Connection::wants_read), and call
//! [`handle_timeout`](Connection::handle_timeout) at
//! [`poll_timeout`](Connection::poll_timeout).

mod answer;
mod ending;
mod state;
#[cfg(test)]
mod tests;

pub use self::state::{Connection, Event};
use self::state::{Exchange, HEAD_METHOD, HeadProgress, Phase, Stream};
use super::{
    body::{Body, take},
    encode,
    error::ProtocolError,
    head,
    transmit::Slices,
};
use crate::base::limits::TRANSMIT_BACKLOG_BYTES;
use bytes::{Buf, BytesMut};
use std::time::Instant;

impl Connection {
    /// Acts on the time: a client that is too slow is refused or cut off. Does
    /// nothing before it is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.write_deadline.is_some_and(|deadline| deadline <= now) {
            self.abort();
        }
        if self.read_deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.phase {
            Phase::Head(HeadProgress { begun: true, .. }) | Phase::Body { .. } => {
                self.refuse(ProtocolError::Timeout, now);
                self.refused = Some(ProtocolError::Timeout);
            }
            Phase::Head(_) | Phase::Lingering => self.abort(),
            Phase::Answering(_) | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    /// Takes bytes that were read elsewhere, copying them. A driver that reads
    /// into one buffer for all its connections keeps a parked connection free
    /// of memory this way.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.discards() {
            self.discard(bytes.len());
            return;
        }
        let held = self.received.len();
        if self.received.capacity() - held < bytes.len() {
            let room = match &self.phase {
                Phase::Body { body, .. } => body.room(held),
                _ => 0,
            };
            self.received.reserve(room.max(bytes.len()));
        }
        self.received.extend_from_slice(bytes);
    }

    /// Says that the client will send no more.
    pub fn received_eof(&mut self) {
        self.read_closed = true;
        match self.phase {
            Phase::Answering(_) => self.read_closed_unreported = true,
            Phase::Lingering => self.abort(),
            _ => {}
        }
    }

    /// The next event. Must be called until it returns nothing whenever bytes
    /// were received or transmitted, an answer was given, or time ran out.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let peer_closed = std::mem::take(&mut self.read_closed_unreported);
        if peer_closed && matches!(self.phase, Phase::Answering(_)) {
            return Some(Event::PeerClosed);
        }
        if let Some(error) = self.refused.take() {
            return Some(Event::Refused(error));
        }
        let event = self.advance(now);
        if self.received.is_empty() {
            // Parked and idle connections are many: they keep no buffer.
            self.received = BytesMut::new();
        }
        event
    }

    fn advance(&mut self, now: Instant) -> Option<Event> {
        if matches!(self.phase, Phase::Head(_)) {
            if self.queue.bytes() > TRANSMIT_BACKLOG_BYTES {
                return None;
            }
            self.begin_head(now);
            match self.advance_head(now) {
                Ok(true) if self.asking().is_some() => return Some(Event::Asking),
                Ok(true) => {}
                Ok(false) => return self.await_more(now),
                Err(error) => return Some(self.refuse(error, now)),
            }
        }
        let Phase::Body { body, asking: false, .. } = &mut self.phase else { return None };
        match body.advance(&mut self.received, self.context.limits()) {
            Ok(Some(body)) => self.hand_out(body),
            Ok(None) => self.await_more(now),
            Err(error) => Some(self.refuse(error, now)),
        }
    }

    /// Starts the clock of a head with its first byte.
    fn begin_head(&mut self, now: Instant) {
        let Phase::Head(progress) = &mut self.phase else { return };
        // RFC 9112, section 2.2: one empty line may stand before a request line.
        if !progress.skipped_empty_line && self.received.starts_with(b"\r\n") {
            progress.skipped_empty_line = true;
            self.received.advance(2);
        }
        let begun = !self.received.is_empty();
        if progress.begun != begun {
            progress.begun = begun;
            self.arm_head(now);
        }
    }

    /// True when a head was complete and the phase is now that of the body.
    fn advance_head(&mut self, now: Instant) -> Result<bool, ProtocolError> {
        let limits = self.context.limits();
        let Phase::Head(progress) = &mut self.phase else { return Ok(false) };
        let arrived = self.received.len();
        let window = self.received.get(..arrived.min(limits.head_bytes)).unwrap_or_default();
        let Some(length) = progress.scan.advance(window)? else {
            return match arrived < limits.head_bytes {
                true => Ok(false),
                false if progress.scan.in_first_line() => Err(head::too_long_line(window)),
                false => Err(ProtocolError::HeadersTooLarge),
            };
        };
        // Only the empty line arrived where a request line should stand.
        if length == 2 {
            return Err(ProtocolError::EmptyLine);
        }
        let lines = progress.scan.lines();
        progress.is_head = Some(self.received.starts_with(HEAD_METHOD));
        let head = head::parse(take(&mut self.received, length), lines, limits)?;
        let has_body = head.body != head::BodyLength::Known(0);
        let asking = head.expects_continue && has_body && self.received.is_empty();
        let body = Body::new(head.body, limits);
        self.read_deadline = Some(now + limits.body_timeout);
        self.phase = Phase::Body { request: head.request, body, asking };
        Ok(true)
    }

    /// Has the client send the body that it asks about.
    pub fn proceed(&mut self, now: Instant) {
        if let Phase::Body { asking, .. } = &mut self.phase
            && std::mem::take(asking)
        {
            self.queue.write(|out| out.extend_from_slice(encode::CONTINUE));
            self.arm_write(now);
        }
    }

    /// The body is complete: the request goes out.
    fn hand_out(&mut self, body: bytes::Bytes) -> Option<Event> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Body { mut request, .. } => {
                self.read_deadline = None;
                self.read_closed_unreported = self.read_closed;
                self.phase = Phase::Answering(Exchange {
                    method: request.method,
                    version: request.version,
                    keep_alive: request.keep_alive,
                    close: false,
                    stream: Stream::NotBegun,
                });
                request.body = body;
                Some(Event::Request(request))
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Nothing more can be done with what has arrived.
    fn await_more(&mut self, now: Instant) -> Option<Event> {
        let awaits_nothing = matches!(self.phase, Phase::Head(_)) && self.received.is_empty();
        if awaits_nothing && self.draining {
            self.drain();
            return None;
        }
        if !self.read_closed {
            return None;
        }
        if awaits_nothing {
            self.close(false, now);
            return None;
        }
        Some(self.refuse(ProtocolError::Incomplete, now))
    }

    /// What to write next, or nothing. To be followed by
    /// [`transmitted`](Self::transmitted).
    #[must_use]
    pub fn poll_transmit(&self) -> Option<Slices<'_>> {
        (!self.queue.is_empty()).then(|| self.queue.slices())
    }

    /// Says that the first `count` bytes of what was to be written are.
    pub fn transmitted(&mut self, count: usize, now: Instant) {
        if count == 0 {
            return;
        }
        self.queue.advance(count);
        self.write_window = self.write_window.saturating_sub(count);
        if self.queue.is_empty() || self.write_window == 0 {
            self.write_deadline = None;
            self.arm_write(now);
        }
        let is_timed = self.write_deadline.is_some();
        assert_eq!(is_timed, !self.queue.is_empty(), "what is sent has its time, and only that");
        if self.queue.is_empty() {
            self.arm_head(now);
            self.end_writing(now);
        }
    }

    /// Whether to read. While a request is being answered this stays true, so
    /// that a client that goes away is noticed, until as much as a head's limit
    /// of further requests is held.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        let room = match &self.phase {
            Phase::Head(_) | Phase::Answering(_) => {
                self.received.len() < self.context.limits().head_bytes
            }
            Phase::Body { body, .. } => body.wants_more(self.received.len()),
            Phase::Closing { linger } => *linger,
            Phase::Lingering => true,
            Phase::Closed => false,
        };
        room && !self.read_closed
    }

    /// Gives up a request of which only a part has arrived: the server cannot hold
    /// it. Does nothing when there is none.
    pub fn refuse_unfinished(&mut self, now: Instant) {
        if self.receives_body() || self.receives_head() {
            self.refuse(ProtocolError::Overloaded, now);
            self.refused = Some(ProtocolError::Overloaded);
        }
    }
}
