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
#[cfg(test)]
mod tests;

use super::{
    body::{Body, take},
    context::Context,
    encode,
    error::ProtocolError,
    head,
    request::{Method, Request, Version},
    scan::LineScan,
    transmit::{Slices, TransmitQueue},
};
use crate::base::limits::{LINGER_BYTES, TRANSMIT_BACKLOG_BYTES};
use bytes::{Buf, BytesMut};
use std::{rc::Rc, time::Instant};

/// How a request begins that is answered without a body.
const HEAD_METHOD: &[u8] = b"HEAD ";

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// A complete request, to be answered by [`Connection::respond`] or
    /// [`Connection::respond_head`]. The next one comes only after that.
    Request(Box<Request>),
    /// The client asks, with its head, whether to send the body: see
    /// [`Connection::asking`]. Nothing else happens before that is decided.
    Asking,
    /// A request was refused; the answer is queued already, and the connection
    /// closes after it. For counting and logging.
    Refused(ProtocolError),
    /// The client sends no more while its request is being answered. It has
    /// most likely gone away, but may have shut down one direction only: an
    /// answer can still be sent.
    PeerClosed,
}

/// One connection. It holds no buffer while nothing is being received or sent.
#[derive(Debug)]
pub struct Connection {
    context: Rc<Context>,
    received: BytesMut,
    queue: TransmitQueue,
    phase: Phase,
    /// When the client has been idle, or sending a head or a body, or
    /// lingering, for too long.
    read_deadline: Option<Instant>,
    /// When the client has taken too little for too long. Invariant: set exactly
    /// while the queue is not empty.
    write_deadline: Option<Instant>,
    /// What the client must still take for that to move.
    write_window: usize,
    /// Bytes that may still be thrown away after a refusal.
    linger_left: usize,
    /// A refusal made by a time-out and not reported yet.
    refused: Option<ProtocolError>,
    read_closed: bool,
    read_closed_unreported: bool,
    draining: bool,
    /// What was queued was thrown away.
    broken_off: bool,
}

#[derive(Debug)]
enum Phase {
    Head(HeadProgress),
    Body {
        request: Box<Request>,
        body: Body,
        /// The client waits to be told whether to send it.
        asking: bool,
    },
    Answering(Exchange),
    /// The last answer is being written. With `linger`, what the client still
    /// sends is read and thrown away.
    Closing {
        linger: bool,
    },
    /// All is written; the client gets time to read it.
    Lingering,
    Closed,
}

#[derive(Debug, Default)]
struct HeadProgress {
    scan: LineScan,
    skipped_empty_line: bool,
    /// A byte of the head has arrived.
    begun: bool,
    /// Whether it is that of a `HEAD`, once it is no longer in the buffer.
    is_head: Option<bool>,
}

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    method: Method,
    version: Version,
    /// The client wants to go on using the connection.
    keep_alive: bool,
    /// The head of a streamed answer says that the connection closes.
    close: bool,
    stream: Stream,
}

/// The state of an answer that is sent in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    NotBegun,
    Chunked,
    UntilClose,
    /// The answer has no body, whatever is sent.
    Silent,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(context: Rc<Context>, now: Instant) -> Self {
        let read_deadline = Some(now + context.limits().idle_timeout);
        Self {
            context,
            received: BytesMut::new(),
            queue: TransmitQueue::default(),
            phase: Phase::Head(HeadProgress::default()),
            read_deadline,
            write_deadline: None,
            write_window: 0,
            linger_left: LINGER_BYTES,
            refused: None,
            read_closed: false,
            read_closed_unreported: false,
            draining: false,
            broken_off: false,
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

    /// The head of the request whose client asks whether to send the body.
    #[must_use]
    pub fn asking(&self) -> Option<&Request> {
        match &self.phase {
            Phase::Body { request, asking: true, .. } => Some(request),
            _ => None,
        }
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

    /// Bytes of memory held for this connection's requests and answers, but for
    /// a request that was handed out.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let request = match &self.phase {
            Phase::Body { request, body, .. } => request.held_bytes() + body.held_bytes(),
            _ => 0,
        };
        self.received.capacity() + request + self.queue.held_bytes()
    }

    /// Lets go of a buffer that the request which was handed out shares with what
    /// came behind it. For one that waits.
    pub fn release_buffer(&mut self) {
        if self.received.capacity() > 0 {
            self.received = BytesMut::from(self.received.as_ref());
        }
    }

    /// Whether it waits for a request of which nothing has arrived, and holds
    /// nothing.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head(HeadProgress { begun: false, .. }))
            && self.queue.is_empty()
    }

    /// Whether it waits for the rest of a head, and holds no answer.
    #[must_use]
    pub const fn receives_head(&self) -> bool {
        matches!(self.phase, Phase::Head(HeadProgress { begun: true, .. })) && self.queue.is_empty()
    }

    /// Whether a body is arriving.
    #[must_use]
    pub const fn receives_body(&self) -> bool {
        matches!(self.phase, Phase::Body { .. })
    }

    /// Whether the end of the answer that is being sent is told by that of the
    /// connection alone, so that a broken one must not end like a whole one.
    #[must_use]
    pub const fn ends_with_connection(&self) -> bool {
        matches!(self.phase, Phase::Answering(Exchange { stream: Stream::UntilClose, .. }))
    }

    /// Whether a request has come, in part at least, behind the one that is being
    /// answered.
    #[must_use]
    pub fn has_pipelined(&self) -> bool {
        !self.received.is_empty()
    }

    /// Gives up a request of which only a part has arrived: the server cannot hold
    /// it. Does nothing when there is none.
    pub fn refuse_unfinished(&mut self, now: Instant) {
        if self.receives_body() || self.receives_head() {
            self.refuse(ProtocolError::Overloaded, now);
            self.refused = Some(ProtocolError::Overloaded);
        }
    }

    /// Bytes of answers not yet written: for streams, the measure of when to
    /// send more.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }
}
