//! What a kind of load has to say to the engine that drives its connections.

use std::time::{Duration, Instant};

use crate::http::connection::Failure;
use crate::http::response::Response;

/// What the engine asks of a kind of load. Connections are named by their index within the engine.
pub(crate) trait Workload {
    /// When the next request of this idle connection should have been sent; `None` if there is
    /// nothing to send now. A `Some` is followed by [`Workload::request`].
    fn next(&mut self, connection: usize, now: Instant) -> Option<Instant>;

    /// The bytes of the request that [`Workload::next`] announced.
    fn request(&mut self, connection: usize) -> &[u8];

    /// A whole answer came in at `now` to the request intended for `intended`. Whether it was
    /// a success: after any other the connection rests for a while.
    fn answered(
        &mut self,
        connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool;

    /// A part of a body came in at `now` that is handed out as it comes, as [`Engine::streaming`]
    /// asks for. False when it makes no sense: the connection is then given up.
    ///
    /// [`Engine::streaming`]: crate::http::engine::Engine::streaming
    fn streamed(&mut self, _connection: usize, _now: Instant, _bytes: &[u8]) -> bool {
        false
    }

    /// The connection broke; `in_flight` tells whether a request was lost with it.
    fn failed(&mut self, connection: usize, failure: &Failure, in_flight: bool);

    /// A request of an open loop is sent at `now` that was due, and had a free connection, so much
    /// earlier. Only this program is to blame for that.
    fn sent_late(&mut self, _now: Instant, _lateness: Duration) {}

    /// When [`Workload::next`] may give something again to a connection it has just refused:
    /// later than `now`, or never by the clock alone.
    fn wake_at(&self, now: Instant) -> Option<Instant>;

    /// Whether the loop should end.
    fn finished(&mut self, now: Instant, census: Census) -> bool;
}

/// How many connections are in which state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Census {
    pub(crate) connected: usize,
    pub(crate) busy: usize,
    pub(crate) total: usize,
}

/// A workload that sends nothing: it ends when all connections stand, when each has failed once
/// and none stands, or at its deadline.
#[derive(Debug)]
pub(crate) struct ConnectAll {
    deadline: Instant,
    failures: usize,
    /// The last failure, to tell why nothing could be connected.
    pub(crate) failure: Option<String>,
}

impl ConnectAll {
    /// Waits for the connections until `deadline`.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, failures: 0, failure: None }
    }
}

impl Workload for ConnectAll {
    fn next(&mut self, _connection: usize, _now: Instant) -> Option<Instant> {
        None
    }

    fn request(&mut self, _connection: usize) -> &[u8] {
        &[]
    }

    fn answered(&mut self, _: usize, _: Instant, _: Instant, _: &Response<'_>) -> bool {
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.failures += 1;
        self.failure = Some(failure.to_string());
    }

    fn wake_at(&self, _now: Instant) -> Option<Instant> {
        None
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let hopeless = census.connected == 0 && self.failures >= census.total;
        census.connected == census.total
            || hopeless
            || now >= self.deadline
            || crate::base::stop::requested()
    }
}
