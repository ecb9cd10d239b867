//! A connection and its client: bytes between the socket and the HTTP machine,
//! and every wait for either of them.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    admission::Place,
    context::CoreContext,
    deadlines::Deadline,
    waiting::{Idle, Waiting},
};
use crate::{
    base::held::HeldShare,
    http::Connection,
    io::{cores, net::Stream},
};

/// The connection is of no more use.
pub(super) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
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
pub(super) enum Ended {
    /// It may be worth looking again.
    Waiting,
    /// The client cannot be watched any longer.
    Gone,
}

/// A connection as the kernel, HTTP and the node know it.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) http: Connection,
    pub(super) deadline: Deadline,
    pub(super) context: Rc<CoreContext>,
    /// Its place among the connections of the node.
    pub(super) place: Place,
    /// What it holds, as the node counts it. Invariant: true whenever the driver
    /// waits.
    pub(super) held: HeldShare,
    /// Bytes of the request that is being answered.
    pub(super) in_hand_bytes: usize,
    /// Since when it holds anything.
    pub(super) held_since: Option<Instant>,
    /// Bytes that the client has sent and taken.
    pub(super) moved_bytes: u64,
    /// The time of the last wake-up: precise enough for time-outs, and cheaper
    /// than asking at each step.
    pub(super) now: Instant,
    pub(super) write_shut: bool,
    /// The HTTP machine knows that the node stops.
    pub(super) draining: bool,
}

impl Link {
    /// One that was just accepted.
    pub(super) fn new(stream: Stream, context: Rc<CoreContext>, place: Place) -> Self {
        let now = cores::now();
        Self {
            stream,
            http: Connection::new(Rc::clone(&context.http), now),
            deadline: context.deadlines.register(),
            held: HeldShare::new(Rc::clone(&context.held)),
            context,
            place,
            in_hand_bytes: 0,
            held_since: None,
            moved_bytes: 0,
            now,
            write_shut: false,
            draining: false,
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.context.api.node().is_stopping()
    }

    /// Whether nothing is waited for any longer, since the node stops or must not
    /// go on.
    pub(super) fn waits_no_longer(&self) -> bool {
        self.stopping() || self.context.api.node().status().halted().is_some()
    }

    /// Tells the HTTP machine that the node stops, so that answers say so.
    pub(super) fn drain_if_stopping(&mut self) {
        if self.stopping() && !self.draining {
            self.draining = true;
            self.http.drain();
        }
    }

    /// Writes all that is queued.
    pub(super) async fn transmit_all(&mut self) -> Result<(), Gone> {
        while self.transmit().await? {}
        match self.http.is_closed() && self.http.is_broken_off() {
            true => Err(Gone),
            false => Ok(()),
        }
    }

    /// Writes what is queued; whether anything was.
    pub(super) async fn transmit(&mut self) -> Result<bool, Gone> {
        let mut wrote = false;
        while self.http.poll_transmit().is_some() {
            if self.write()? {
                wrote = true;
            } else {
                self.wait(Direction::Write).await?;
            }
        }
        Ok(wrote)
    }

    /// Writes once without waiting; whether the socket took anything.
    fn write(&mut self) -> Result<bool, Gone> {
        let Some(slices) = self.http.poll_transmit() else { return Ok(false) };
        let slices: smallvec::SmallVec<[IoSlice<'_>; 8]> =
            slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let written = self.stream.try_write(&slices);
        drop(slices);
        match written {
            Ok(0) => Err(Gone),
            Ok(count) => {
                self.context.api.metrics().sent_bytes.inc_by(count as u64);
                self.moved_bytes += count as u64;
                self.http.transmitted(count, self.now);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Gone),
        }
    }

    /// Waits for bytes, or for a deadline, and reads what is there.
    pub(super) async fn receive(&mut self) -> Result<(), Gone> {
        // There is hardly ever anything to read right after an answer was
        // written, so asking before waiting would be a wasted system call.
        if self.wait(Direction::Read).await? == Woken::Socket {
            self.read()?;
            if self.http.receives_body() {
                self.account();
                let (held, bytes) = (&self.context.held, self.held.bytes());
                let is_large = bytes > held.small_bytes();
                if held.is_full() || (is_large && held.is_tight()) || !held.admits(bytes, bytes) {
                    self.http.refuse_unfinished(self.now);
                }
            }
        }
        Ok(())
    }

    /// Reads once without waiting; 0 at the end, `None` when there is nothing
    /// to read yet.
    fn read(&mut self) -> Result<Option<usize>, Gone> {
        let mut scratch = self.context.scratch.borrow_mut();
        match self.stream.try_read(&mut scratch) {
            Ok(count) => {
                self.context.api.metrics().received_bytes.inc_by(count as u64);
                self.moved_bytes += count as u64;
                match count {
                    0 => self.http.received_eof(),
                    _ => self.http.receive(&scratch[..count]),
                }
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(Gone),
        }
    }

    /// Waits until `ready`, or until the deadline, and watches the client
    /// meanwhile.
    pub(super) async fn parked(
        &mut self,
        deadline: Instant,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Ended, Gone> {
        // Answers to requests before this one must not wait with it.
        self.transmit_all().await?;
        self.http.release_buffer();
        loop {
            // Without reading, a client that leaves would go unnoticed: one that
            // has left already, or sent too much behind this, waits no longer.
            if !self.http.wants_read() {
                return Ok(Ended::Gone);
            }
            self.account();
            self.deadline.wait(self.waiting(Some(deadline)));
            let woken = poll_fn(|cx| {
                if ready(cx).is_ready() || self.deadline.poll_passed(cx) || self.waits_no_longer() {
                    return Poll::Ready(Woken::Time);
                }
                self.stream.poll_readable(cx).map(|()| Woken::Socket)
            })
            .await;
            self.now = cores::now();
            match woken {
                Woken::Time if self.deadline.is_cut() => return Err(self.cut()),
                Woken::Time => return Ok(Ended::Waiting),
                // A client that sends no more while it waits has left, unless it
                // has sent further requests: these are answered.
                Woken::Socket if self.read()? == Some(0) && !self.http.has_pipelined() => {
                    return Err(Gone);
                }
                Woken::Socket => {}
            }
        }
    }

    /// Waits for the socket or for the connection's next deadline, on which it
    /// acts.
    async fn wait(&mut self, direction: Direction) -> Result<Woken, Gone> {
        self.account();
        let writes = direction == Direction::Write;
        self.deadline.wait(Waiting { writes, ..self.waiting(self.http.poll_timeout()) });
        let wants = writes || self.http.wants_read();
        let woken = poll_fn(|cx| {
            if self.deadline.poll_passed(cx) || (self.stopping() && !self.draining) {
                return Poll::Ready(Woken::Time);
            }
            let ready = match direction {
                _ if !wants => Poll::Pending,
                Direction::Read => self.stream.poll_readable(cx),
                Direction::Write => self.stream.poll_writable(cx),
            };
            ready.map(|()| Woken::Socket)
        })
        .await;
        self.now = cores::now();
        if woken == Woken::Time {
            // A stop is heard once; else this would not wait again.
            self.drain_if_stopping();
            if writes {
                // A socket says that it can be written only once it has a lot of
                // room; what has become free so far counts for its client.
                self.write()?;
            }
            self.http.handle_timeout(self.now);
            if self.deadline.is_cut() {
                self.make_room(direction)?;
            }
        }
        Ok(woken)
    }

    /// Ends this connection for the sake of others, as gently as can be: a request
    /// that has just come is answered, half of one is refused.
    fn make_room(&mut self, direction: Direction) -> Result<(), Gone> {
        if direction == Direction::Write {
            return Err(self.cut());
        }
        // What it has yet to say is not held up once more.
        self.deadline.spare();
        if self.http.is_idle() {
            // Its place is another's.
            self.place = self.context.admission.refuse();
            self.read()?;
            self.http.drain();
        } else if self.http.receives_head() {
            // Its place is another's; what is left unread would cost it the answer.
            self.read()?;
            self.http.refuse_unfinished(self.now);
            self.write()?;
            return Err(Gone);
        } else {
            self.http.refuse_unfinished(self.now);
        }
        Ok(())
    }

    /// Gives up this connection to make room for others.
    fn cut(&self) -> Gone {
        self.stream.reset_on_drop(true);
        Gone
    }

    /// Counts what this connection holds. To be called before each wait.
    pub(super) fn account(&mut self) {
        let under_way = self.stream.under_way();
        let bytes = self.http.held_bytes() + self.in_hand_bytes + under_way.held_bytes;
        if self.held.bytes() == 0 || bytes == 0 {
            self.held_since = (bytes > 0).then_some(self.now);
        }
        self.held.set(bytes);
        assert_eq!(self.held.bytes(), bytes, "the node counts what is held");
    }

    /// What it waits for when it waits for its client.
    fn waiting(&self, until: Option<Instant>) -> Waiting {
        let idle = match (self.http.is_idle(), self.place.is_welcome()) {
            (true, true) => Some(Idle::Welcome),
            (true, false) => Some(Idle::Refused),
            (false, true) if self.http.receives_head() => Some(Idle::Begun),
            (false, _) => None,
        };
        let (since, held_since) = (Some(self.now), self.held_since);
        let under_way = self.stream.under_way().moved_bytes;
        let (held_bytes, moved_bytes) = (self.held.bytes(), self.moved_bytes + under_way as u64);
        Waiting { until, idle, since, held_bytes, held_since, moved_bytes, writes: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}
