//! What a connection is in the middle of, and what can be asked about that.

use std::{rc::Rc, time::Instant};

use bytes::BytesMut;

use crate::{
    base::limits::LINGER_BYTES,
    http::{
        body::Body,
        context::Context,
        error::ProtocolError,
        method::Method,
        request::{Request, Version},
        scan::LineScan,
        transmit::TransmitQueue,
    },
};

/// How a request begins that is answered without a body.
pub(super) const HEAD_METHOD: &[u8] = b"HEAD ";

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
    pub(super) context: Rc<Context>,
    pub(super) received: BytesMut,
    pub(super) queue: TransmitQueue,
    pub(super) phase: Phase,
    /// When the client has been idle, or sending a head or a body, or
    /// lingering, for too long.
    pub(super) read_deadline: Option<Instant>,
    /// When the client has taken too little for too long. Invariant: set exactly
    /// while the queue is not empty.
    pub(super) write_deadline: Option<Instant>,
    /// What the client must still take for that to move.
    pub(super) write_window: usize,
    /// Bytes that may still be thrown away after a refusal.
    pub(super) linger_left: usize,
    /// A refusal made by a time-out and not reported yet.
    pub(super) refused: Option<ProtocolError>,
    pub(super) read_closed: bool,
    pub(super) read_closed_unreported: bool,
    pub(super) draining: bool,
    /// What was queued was thrown away.
    pub(super) broken_off: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
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
pub(super) struct HeadProgress {
    pub(super) scan: LineScan,
    pub(super) skipped_empty_line: bool,
    /// A byte of the head has arrived.
    pub(super) begun: bool,
    /// Whether it is that of a `HEAD`, once it is no longer in the buffer.
    pub(super) is_head: Option<bool>,
}

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) version: Version,
    /// The client wants to go on using the connection.
    pub(super) keep_alive: bool,
    /// The head of a streamed answer says that the connection closes.
    pub(super) close: bool,
    pub(super) stream: Stream,
}

/// The state of an answer that is sent in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
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

    /// What holds between two calls, whatever they are.
    pub(super) fn check(&self) {
        let is_timed = self.write_deadline.is_some();
        debug_assert_eq!(
            is_timed,
            !self.queue.is_empty(),
            "the clock of writing runs while it must"
        );
    }

    /// The head of the request whose client asks whether to send the body.
    #[must_use]
    pub fn asking(&self) -> Option<&Request> {
        match &self.phase {
            Phase::Body { request, asking: true, .. } => Some(request),
            _ => None,
        }
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

    /// Bytes of answers not yet written: for streams, the measure of when to
    /// send more.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }
}
