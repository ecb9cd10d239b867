//! Drives one connection: bytes between its socket and the HTTP machine,
//! requests between that and the API.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io::{self, IoSlice, Read, Write as _},
    net::{Shutdown, TcpStream},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use glommio::io::{PollState, PollableFd};

use super::deadlines::{Deadline, Deadlines};
use crate::{
    api::{
        Api, Next, Reply, Stream, Told, Write,
        error::{ApiError, Code},
        metrics::{Gauge, Limit},
    },
    base::timing::CLIENT_WRITE,
    http::{self, Connection, Event, Response},
    io::cores,
};

/// Bytes read from a socket at once, by all connections of a core into the same
/// memory.
const READ_BYTES: usize = 64 << 10;

/// Bodies above this size may take a while to be parsed.
const LARGE_BODY_BYTES: usize = 64 << 10;

/// What the connections of one core share.
pub struct Shared {
    /// The API they call.
    pub api: Api,
    /// What their HTTP machines share.
    pub http: Rc<http::Context>,
    /// Their deadlines.
    pub deadlines: Deadlines,
    /// Bytes that the connections of this core hold, and may hold.
    held_bytes: Cell<usize>,
    held_bytes_max: usize,
    scratch: RefCell<Box<[u8]>>,
}

impl Shared {
    /// For a core that serves `api` and whose connections may hold
    /// `held_bytes_max` together.
    #[must_use]
    pub fn new(api: Api, http: Rc<http::Context>, held_bytes_max: usize) -> Self {
        let scratch = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
        let (deadlines, held_bytes) = (Deadlines::default(), Cell::new(0));
        Self { api, http, deadlines, held_bytes, held_bytes_max, scratch }
    }

    fn is_full(&self) -> bool {
        self.held_bytes.get() > self.held_bytes_max
    }
}

/// The connection is of no more use.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Serves `stream`, which must be non-blocking, until it closes. One that is
/// not `welcome` is told so at its first request.
pub async fn serve(stream: TcpStream, shared: Rc<Shared>, welcome: bool) {
    let Ok(socket) = PollableFd::new(stream) else { return };
    let counted = Rc::clone(&shared);
    let _counted = Counted::new(&counted.api.metrics().connections);
    let now = Instant::now();
    let http = Connection::new(Rc::clone(&shared.http), now);
    let deadline = shared.deadlines.register();
    let (held_bytes, write_shut, draining) = (0, false, false);
    let mut driver =
        Driver { socket, http, deadline, shared, welcome, held_bytes, now, write_shut, draining };
    // Whoever broke the connection knows; there is nobody to tell.
    let _ = driver.run().await;
}

struct Driver {
    socket: PollableFd<TcpStream>,
    http: Connection,
    deadline: Deadline,
    shared: Rc<Shared>,
    /// Whether it is within the limit of connections.
    welcome: bool,
    /// What this connection has added to the bytes that the core holds.
    held_bytes: usize,
    /// The time of the last wake-up: precise enough for time-outs, and cheaper
    /// than asking at each step.
    now: Instant,
    write_shut: bool,
    /// The HTTP machine knows that the node stops.
    draining: bool,
}

/// What a wait ended with.
#[derive(PartialEq, Eq)]
enum Woken {
    Socket,
    /// The deadline, a stop of the node, or what was waited for.
    Time,
}

/// How a wait for something else than the socket ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// It may be worth looking again.
    Waiting,
    /// The client cannot be watched any longer.
    Gone,
}

impl Driver {
    async fn run(&mut self) -> Result<(), Gone> {
        loop {
            self.drain_if_stopping();
            match self.http.poll_event(self.now) {
                Some(Event::Request(request)) => {
                    self.answer(request).await?;
                    // A client that sends without a pause gets its turns only.
                    cores::yield_if_needed().await;
                }
                Some(Event::Asking) => Box::pin(self.decide()).await,
                Some(Event::Refused(error)) => {
                    self.shared.api.metrics().refused(error);
                    tracing::debug!(?error, "request refused");
                }
                Some(Event::PeerClosed) => {}
                None => {
                    if self.transmit().await? {
                        continue;
                    }
                    if self.http.is_closed() {
                        return Ok(());
                    }
                    if self.http.should_shutdown_write() && !self.write_shut {
                        self.write_shut = true;
                        self.socket.get_ref().shutdown(Shutdown::Write)?;
                    }
                    self.receive().await?;
                }
            }
        }
    }

    fn stopping(&self) -> bool {
        self.shared.api.node().is_stopping()
    }

    /// Tells the HTTP machine that the node stops, so that answers say so.
    fn drain_if_stopping(&mut self) {
        if self.stopping() && !self.draining {
            self.draining = true;
            self.http.drain();
        }
    }

    /// Why no request is taken up now, if that is so.
    fn overload(&self) -> Option<ApiError> {
        let (limit, detail) = match self.welcome {
            false => (Limit::Connections, "the node has all the connections it may have"),
            true if self.shared.is_full() => {
                (Limit::Held, "the node holds as many bytes of requests and answers as it may")
            }
            true => return None,
        };
        self.shared.api.metrics().limited(limit);
        Some(ApiError::new(Code::Overloaded, detail))
    }

    /// Tells a client whether to send the body that it asks about.
    async fn decide(&mut self) {
        let shared = Rc::clone(&self.shared);
        let Some(request) = self.http.asking() else { return };
        let refusal = match self.overload() {
            Some(error) => Some(error.into()),
            None => shared.api.refusal_by_head(request).await,
        };
        let Some(response) = refusal else { return self.http.proceed(self.now) };
        shared.api.metrics().answered(request.method(), response.status());
        let response = shared.api.reader(request).mark(response);
        self.http.decline(response, self.now);
    }

    /// Has a request answered. Nothing more is read meanwhile, except to notice
    /// that a parked client went away.
    async fn answer(&mut self, request: Box<http::Request>) -> Result<(), Gone> {
        let shared = Rc::clone(&self.shared);
        let reader = shared.api.reader(&request);
        if let Some(error) = self.overload() {
            let response = self.shared.api.refusal(&request, error).with_close();
            self.shared.api.metrics().answered(request.method(), response.status());
            self.http.respond(reader.mark(response), self.now);
            return Ok(());
        }
        let (metrics, method, arrived) = (shared.api.metrics(), request.method(), self.now);
        let is_large = request.body().len() > LARGE_BODY_BYTES;
        let mut waited = None;
        let mut reply = shared.api.handle(request, self.now).await;
        // It may have taken long, and what follows is timed from now on. Reading
        // the clock costs too much for a small write, which is handed on at once.
        if is_large || !matches!(reply, Reply::Write(_)) {
            self.now = Instant::now();
        }
        loop {
            reply = match reply {
                Reply::Now(response) => {
                    // It may have begun to stop while the answer was waited for.
                    self.drain_if_stopping();
                    metrics.answered(method, response.status());
                    if let Some(waited) = waited {
                        metrics.waited(waited);
                    } else if matches!(method, http::Method::Get | http::Method::Head) {
                        metrics.read(self.now - arrived);
                    }
                    self.http.respond(reader.mark(response), self.now);
                    self.account();
                    return Ok(());
                }
                Reply::Write(write) => {
                    let told = self.written(write).await;
                    match told {
                        Told::Answer(response) => {
                            metrics.written(self.now - arrived);
                            Reply::Now(response)
                        }
                        Told::Again(request) => {
                            let reply = Box::pin(shared.api.again(request, self.now)).await;
                            self.now = Instant::now();
                            reply
                        }
                    }
                }
                Reply::Park(mut parked) => {
                    let deadline = parked.deadline;
                    let _counted = Counted::new(&metrics.parked);
                    if self.parked(deadline, |cx| parked.poll_ready(cx)).await? == Ended::Gone {
                        // It waits no longer.
                        parked.deadline = self.now;
                    }
                    // Few connections are at it at once; all would have room for it.
                    let reply = Box::pin(shared.api.resume(parked, self.now)).await;
                    self.now = Instant::now();
                    waited = Some(self.now - arrived);
                    reply
                }
                Reply::Stream(stream) => {
                    metrics.answered(method, stream.head().status());
                    let _counted = Counted::new(&metrics.streams);
                    let head = reader.mark(stream.head());
                    return Box::pin(self.stream(*stream, head)).await;
                }
            };
        }
    }

    /// Sends an answer in parts, each when the one before is with the client:
    /// what a slow client makes the server hold is one part.
    async fn stream(&mut self, mut stream: Stream, head: Response) -> Result<(), Gone> {
        let shared = Rc::clone(&self.shared);
        self.drain_if_stopping();
        self.http.respond_head(head, self.now);
        loop {
            while self.transmit().await? {}
            if self.http.is_closed() {
                return Err(Gone);
            }
            let next = shared.api.advance(&mut stream, self.now).await;
            self.now = Instant::now();
            match next {
                Ok(Next::Part(part)) => {
                    self.http.send_chunk(part, self.now);
                    self.account();
                }
                Ok(Next::Wait(until)) => {
                    let _counted = Counted::new(&shared.api.metrics().parked);
                    let ended = self.parked(until, |cx| stream.poll_ready(cx)).await?;
                    if ended == Ended::Gone {
                        break;
                    }
                }
                Ok(Next::End) => break,
                Err(error) => {
                    // The client sees that the answer is incomplete.
                    tracing::debug!(%error, "a stream breaks off");
                    return Err(Gone);
                }
            }
            cores::yield_if_needed().await;
        }
        self.drain_if_stopping();
        self.http.finish(self.now);
        self.account();
        Ok(())
    }

    async fn written(&mut self, write: Write) -> Told {
        let mut write = pin!(write);
        self.deadline.set(Some(self.now + CLIENT_WRITE));
        let told = poll_fn(|cx| {
            if let Poll::Ready(told) = write.as_mut().poll(cx) {
                return Poll::Ready(told);
            }
            if self.deadline.poll_passed(cx) {
                return Poll::Ready(Write::timed_out());
            }
            Poll::Pending
        })
        .await;
        self.now = Instant::now();
        told
    }

    /// Waits until `ready`, or until the deadline, and watches the client
    /// meanwhile.
    async fn parked(
        &mut self,
        deadline: Instant,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Ended, Gone> {
        // Answers to requests before this one must not wait with it.
        while self.transmit().await? {}
        if self.http.is_closed() {
            return Err(Gone);
        }
        self.deadline.set(Some(deadline));
        let mut poll = PollState::default();
        loop {
            // Without reading, a client that leaves would go unnoticed: one that
            // has left already, or sent too much behind this, waits no longer.
            if !self.http.wants_read() {
                return Ok(Ended::Gone);
            }
            let woken = poll_fn(|cx| {
                let is_over = self.stopping() || self.shared.api.node().status().halted().is_some();
                if ready(cx).is_ready() || self.deadline.poll_passed(cx) || is_over {
                    return Poll::Ready(Ok(Woken::Time));
                }
                self.socket.poll_readable(cx, &mut poll).map(|ready| ready.map(|()| Woken::Socket))
            })
            .await;
            self.now = Instant::now();
            match woken {
                Ok(Woken::Time) => return Ok(Ended::Waiting),
                // A client that sends no more while it waits has left.
                Ok(Woken::Socket) if self.read()? == Some(0) => return Err(Gone),
                Ok(Woken::Socket) => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Writes what is queued; whether anything was.
    async fn transmit(&mut self) -> Result<bool, Gone> {
        let mut wrote = false;
        while let Some(slices) = self.http.poll_transmit() {
            let mut socket = self.socket.get_ref();
            let result = match &slices[..] {
                [one] => socket.write(one),
                several => {
                    let several: smallvec::SmallVec<[IoSlice<'_>; 8]> =
                        several.iter().map(|slice| IoSlice::new(slice)).collect();
                    socket.write_vectored(&several)
                }
            };
            match result {
                Ok(0) => return Err(Gone),
                Ok(count) => {
                    self.shared.api.metrics().sent_bytes.inc_by(count as u64);
                    self.http.transmitted(count, self.now);
                    self.account();
                    wrote = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Direction::Write).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(wrote)
    }

    /// Waits for bytes, or for a deadline, and reads what is there.
    async fn receive(&mut self) -> Result<(), Gone> {
        // There is hardly ever anything to read right after an answer was
        // written, so asking before waiting would be a wasted system call.
        if self.wait(Direction::Read).await? == Woken::Socket {
            self.read()?;
            self.account();
            if self.shared.is_full() {
                self.http.refuse_body(self.now);
            }
        }
        Ok(())
    }

    /// Counts what this connection holds into what the core does.
    fn account(&mut self) {
        let held = self.http.held_bytes();
        let others = self.shared.held_bytes.get() - self.held_bytes;
        self.shared.held_bytes.set(others + held);
        if held != self.held_bytes {
            let more = held as i64 - self.held_bytes as i64;
            self.shared.api.metrics().held_bytes.inc_by(more);
        }
        self.held_bytes = held;
    }

    /// Reads once without waiting; 0 at the end, `None` when there is nothing
    /// to read yet.
    fn read(&mut self) -> Result<Option<usize>, Gone> {
        let mut scratch = self.shared.scratch.borrow_mut();
        loop {
            match self.socket.get_ref().read(&mut scratch) {
                Ok(count) => {
                    self.shared.api.metrics().received_bytes.inc_by(count as u64);
                    match count {
                        0 => self.http.received_eof(),
                        _ => self.http.receive(&scratch[..count]),
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Waits for the socket or for the connection's next deadline, on which it
    /// acts.
    async fn wait(&mut self, direction: Direction) -> Result<Woken, Gone> {
        self.deadline.set(self.http.poll_timeout());
        let mut poll = PollState::default();
        let wants = direction == Direction::Write || self.http.wants_read();
        let woken = poll_fn(|cx| {
            if self.deadline.poll_passed(cx) || (self.stopping() && !self.draining) {
                return Poll::Ready(Ok(Woken::Time));
            }
            let ready = match direction {
                _ if !wants => Poll::Pending,
                Direction::Read => self.socket.poll_readable(cx, &mut poll),
                Direction::Write => self.socket.poll_writable(cx, &mut poll),
            };
            ready.map(|ready| ready.map(|()| Woken::Socket))
        })
        .await;
        let woken = woken.map_err(|_| Gone)?;
        self.now = Instant::now();
        if woken == Woken::Time {
            // A stop is heard once; else this would not wait again.
            self.drain_if_stopping();
            self.http.handle_timeout(self.now);
        }
        Ok(woken)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.held_bytes.update(|held| held - self.held_bytes);
        self.shared.api.metrics().held_bytes.dec_by(self.held_bytes as i64);
    }
}

/// One more in a gauge, for as long as it lives.
struct Counted<'g>(&'g Gauge);

impl<'g> Counted<'g> {
    fn new(gauge: &'g Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}
