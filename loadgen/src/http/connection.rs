//! One non-blocking client connection: connects, sends a request, collects the response. It owns
//! the sockets' details and no policy; the engine decides what happens when.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;

use crate::http::response::{Delivery, Response, ResponseError, ResponseParser};
use crate::http::target::Target;
use crate::http::wire::Wire;

/// How many connections one loopback source address carries: below the usual 28,232 local ports.
const CONNECTIONS_PER_SOURCE: usize = 25_000;
/// A response buffer above this size is given back when its response is done, in bytes.
const BUFFER_BYTES_KEPT: usize = 16 * 1024 * 1024;
/// Shortest and longest pause before a failed connection tries again.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What ended a connection, or a request on it, other than a response.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The connection could not be made.
    #[error("connect: {}", .0.kind())]
    Connect(io::Error),
    /// Reading or writing failed.
    #[error("connection: {}", .0.kind())]
    Io(io::Error),
    /// The server closed before the first byte of an answer.
    #[error("connection closed by the server")]
    Closed,
    /// The server ended a stream.
    #[error("stream ended by the server")]
    StreamEnded,
    /// What a stream brought is none.
    #[error("not a stream of changes")]
    NoStream,
    /// The answer made no sense.
    #[error("{0}")]
    Response(#[from] ResponseError),
    /// Bytes arrived that belong to no request.
    #[error("unexpected bytes from the server")]
    Unexpected,
    /// No answer within the limit.
    #[error("timeout")]
    Timeout,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No socket; the engine's queues say when the next try is.
    Closed,
    Connecting,
    /// Connected, nothing asked.
    Idle,
    /// A request is being sent or its response awaited.
    Busy,
}

/// One connection and its buffers. Invariant: a socket is present in all states but `Closed`.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Option<Wire>,
    state: State,
    /// When the request in flight should have gone out, by the schedule.
    intended: Instant,
    /// When the present state began: the connect, or the send of the request.
    since: Instant,
    /// The part of a request that the socket did not take yet.
    unsent: Vec<u8>,
    /// The part of a response that came in so far, when it took more than one read.
    received: Vec<u8>,
    parser: ResponseParser,
    /// Failures since the last success.
    failures: u32,
}

/// What a readiness event brought.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    /// Nothing complete yet.
    Nothing,
    /// The connection stands.
    Connected,
    /// A whole response.
    Response(Response<'a>),
    /// A part of a body that is handed out as it comes.
    Part {
        bytes: &'a [u8],
        /// It was the last.
        ended: bool,
    },
    /// The server closed a connection that was idle: no request is lost.
    ClosedIdle,
}

impl Connection {
    /// A connection that is not made yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            socket: None,
            state: State::Closed,
            intended: now,
            since: now,
            unsent: Vec::new(),
            received: Vec::new(),
            parser: ResponseParser::default(),
            failures: 0,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// When the request in flight should have gone out.
    pub(crate) fn intended(&self) -> Instant {
        self.intended
    }

    /// When the present state began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether a part of the request has not gone out yet.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.socket.as_ref().is_some_and(Wire::has_unsent)
    }

    /// Begins to connect and hands out the socket to be registered.
    pub(crate) fn connect(
        &mut self,
        target: &Target,
        source: Option<SocketAddr>,
        now: Instant,
    ) -> Result<&TcpStream, Failure> {
        let socket = open(target.address, source);
        let wire = socket.and_then(|socket| Wire::new(socket, target.tls.as_ref()));
        (self.state, self.since) = (State::Connecting, now);
        self.parser.speak(target.replies);
        Ok(&self.socket.insert(wire.map_err(Failure::Connect)?).socket)
    }

    /// Sends a request; what the socket does not take at once follows when it is writable.
    pub(crate) fn send(
        &mut self,
        request: &[u8],
        intended: Instant,
        now: Instant,
    ) -> Result<(), Failure> {
        debug_assert_eq!(self.state, State::Idle);
        self.state = State::Busy;
        self.intended = intended;
        self.since = now;
        let taken = self.write(request)?;
        if let Some(rest) = request.get(taken..) {
            self.unsent.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Goes on with a request that did not fit into the socket's buffer.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.state == State::Busy && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let taken = self.write(&unsent)?;
            self.unsent = unsent;
            self.unsent.drain(..taken);
        }
        match &mut self.socket {
            Some(socket) => socket.flush().map_err(Failure::Io),
            None => Ok(()),
        }
    }

    /// Finds out whether the connection was made.
    pub(crate) fn finish_connect(&mut self) -> Result<Arrival<'_>, Failure> {
        let Some(wire) = &mut self.socket else { return Ok(Arrival::Nothing) };
        match wire.socket.take_error() {
            Ok(None) => match wire.handshake() {
                Ok(true) => {
                    self.state = State::Idle;
                    Ok(Arrival::Connected)
                }
                Ok(false) => Ok(Arrival::Nothing),
                Err(error) => Err(Failure::Connect(error)),
            },
            Ok(Some(error)) | Err(error) => Err(Failure::Connect(error)),
        }
    }

    /// Reads what there is. A response that arrives in one piece is parsed where it was read, in
    /// `scratch`; only one that comes in parts is collected here.
    pub(crate) fn receive<'a>(&'a mut self, scratch: &'a mut [u8]) -> Result<Arrival<'a>, Failure> {
        loop {
            let Some(socket) = &mut self.socket else { return Ok(Arrival::Nothing) };
            let reads_on = socket.reads_on();
            let read = match socket.read(scratch) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Arrival::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Io(error)),
            };
            let ended = read == 0;
            if self.state != State::Busy {
                return if ended { Ok(Arrival::ClosedIdle) } else { Err(Failure::Unexpected) };
            }
            if ended && self.received.is_empty() {
                return Err(Failure::Closed);
            }
            let whole = if self.received.is_empty() && self.parses(scratch, read)? {
                true
            } else {
                self.collect(scratch, read)?
            };
            if whole {
                return self.complete(scratch, read, ended);
            }
            // A short read emptied the socket: the next bytes bring a new event.
            if ended || (read < scratch.len() && !reads_on) {
                return Ok(Arrival::Nothing);
            }
        }
    }

    /// Reads what there is of a response whose body is handed out as it comes.
    pub(crate) fn receive_part<'a>(
        &'a mut self,
        scratch: &'a mut [u8],
    ) -> Result<Arrival<'a>, Failure> {
        if self.state != State::Busy {
            return self.receive(scratch);
        }
        let mut ended = false;
        loop {
            let Some(socket) = &mut self.socket else { return Ok(Arrival::Nothing) };
            match socket.read(scratch) {
                Ok(0) => ended = true,
                Ok(read) => {
                    self.received.extend_from_slice(scratch.get(..read).unwrap_or_default());
                    if read == scratch.len() || socket.reads_on() {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Io(error)),
            }
            break;
        }
        match self.parser.parse_part(&mut self.received)? {
            // Without its last chunk it broke off.
            Delivery::Open if ended => Err(Failure::Closed),
            Delivery::Open => Ok(Arrival::Part { bytes: self.parser.part(), ended: false }),
            Delivery::Ended => Ok(Arrival::Part { bytes: self.parser.part(), ended: true }),
            Delivery::Whole => match self.parser.parse(&self.received, ended)? {
                Some(response) => Ok(Arrival::Response(response)),
                None => Ok(Arrival::Nothing),
            },
        }
    }

    /// Whether the response is whole within the first bytes of `scratch`.
    fn parses(&mut self, scratch: &[u8], read: usize) -> Result<bool, Failure> {
        let bytes = scratch.get(..read).unwrap_or_default();
        Ok(self.parser.parse(bytes, false)?.is_some())
    }

    /// Adds what was read to the collected part; whether the response is whole now.
    fn collect(&mut self, scratch: &[u8], read: usize) -> Result<bool, Failure> {
        let expected = self.parser.expected_bytes().unwrap_or_default();
        self.received.reserve(expected.saturating_sub(self.received.len()).max(read));
        self.received.extend_from_slice(scratch.get(..read).unwrap_or_default());
        Ok(self.parser.parse(&self.received, read == 0)?.is_some())
    }

    /// Hands out the whole response from where it lies.
    fn complete<'a>(
        &'a mut self,
        scratch: &'a [u8],
        read: usize,
        ended: bool,
    ) -> Result<Arrival<'a>, Failure> {
        let buffer = match self.received.is_empty() {
            true => scratch.get(..read).unwrap_or_default(),
            false => &self.received,
        };
        match self.parser.parse(buffer, ended)? {
            // One request is in flight at a time, so one response must be all there is.
            Some(response) if response.consumed == buffer.len() => Ok(Arrival::Response(response)),
            Some(_) => Err(Failure::Unexpected),
            None => Ok(Arrival::Nothing),
        }
    }

    /// Ends a request whose response was handled, ready for the next.
    pub(crate) fn finish(&mut self) {
        self.state = State::Idle;
        self.unsent.clear();
        self.parser.reset();
        self.received.clear();
        if self.received.capacity() > BUFFER_BYTES_KEPT {
            self.received = Vec::new();
        }
    }

    /// Drops the socket and everything in progress.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.finish();
        self.state = State::Closed;
    }

    /// Notes a success: the next failure is the first again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure; how long this connection should rest.
    pub(crate) fn failed(&mut self) -> Duration {
        let pause = BACKOFF_MIN * 2u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        pause.min(BACKOFF_MAX)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(socket) = &mut self.socket else { return Err(Failure::Closed) };
        loop {
            match socket.write(bytes) {
                Ok(taken) => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Io(error)),
            }
        }
    }
}

/// Opens a non-blocking socket and begins to connect it.
fn open(target: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SockAddr::from(source))?;
    }
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Which address the connection of this index comes from: on loopback another one for every
/// [`CONNECTIONS_PER_SOURCE`], since local ports run out; elsewhere the system chooses.
pub(crate) fn source_address(target: SocketAddr, index: usize) -> Option<SocketAddr> {
    let IpAddr::V4(address) = target.ip() else { return None };
    let group = index / CONNECTIONS_PER_SOURCE;
    if !address.is_loopback() || group == 0 {
        return None;
    }
    let last = u8::try_from(1 + group).unwrap_or(u8::MAX - 1);
    Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_sources_change_before_ports_run_out() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(source_address(loopback, CONNECTIONS_PER_SOURCE - 1), None);
        assert_eq!(
            source_address(loopback, CONNECTIONS_PER_SOURCE),
            Some(SocketAddr::from(([127, 0, 0, 2], 0)))
        );
        assert_eq!(source_address(SocketAddr::from(([10, 0, 0, 1], 80)), 90_000), None);
    }

    #[test]
    fn pauses_grow_to_a_limit_and_start_over_after_a_success() {
        let mut connection = Connection::new(Instant::now());
        let pauses: Vec<Duration> = (0..40).map(|_| connection.failed()).collect();
        assert_eq!(pauses[0], BACKOFF_MIN);
        assert_eq!(pauses[1], BACKOFF_MIN * 2);
        assert_eq!(pauses[39], BACKOFF_MAX);
        connection.succeeded();
        assert_eq!(connection.failed(), BACKOFF_MIN);
    }
}
