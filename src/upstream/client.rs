//! One other node, and the connections to it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    answer::{Answer, HEAD_BYTES_MAX, Head, head},
    arriving::{Arriving, Complete},
    pace::Pace,
    passing::{Passed, Passing},
};
use crate::{
    base::timing::{CONNECT, UPSTREAM_STALL},
    io::{
        cores,
        net::{READ_BYTES, Stream},
        tls::Caller,
    },
};

/// Connections to one node that are kept for later.
pub const IDLE_MAX: usize = 8;
/// How long they are: nodes close theirs after 75 s unless that is set.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// What is asked. `Debug` shows neither headers nor parameters nor the body: secrets are among them.
#[derive(Clone)]
pub struct Question {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Further headers: neither those of the connection, nor `Host` and `Content-Length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// The longest body of an answer, in bytes.
    pub answer_bytes_max: usize,
    /// How long it may take from the last byte of the request to the head of the answer. Before and
    /// after, bytes have time as long as they come: a way may be slow.
    pub limit: Duration,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        f.debug_struct("Question")
            .field("method", &self.method)
            .field("path", &path)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Question {
    /// `GET target`, with an answer of at most so many bytes that begins within `limit`.
    #[must_use]
    pub fn get(target: String, answer_bytes_max: usize, limit: Duration) -> Self {
        let (method, headers, body) = ("GET".to_owned(), Vec::new(), Bytes::new());
        Self { method, target, headers, body, answer_bytes_max, limit }
    }

    /// Its head, as it is sent to `host`.
    fn head(&self, host: &str) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD") {
            out += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut out = out.into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The other node cannot have had the whole request.
    #[error("{0}")]
    NotSent(String),
    /// It may have had it.
    #[error("{0}")]
    Lost(String),
}

/// An answer of which the head is here.
#[derive(Debug)]
pub enum Opened {
    /// All of it is.
    Whole(Answer),
    /// Its body is taken as it comes.
    Passing(Box<Passing>),
}

impl Opened {
    /// Its head.
    #[must_use]
    pub fn head(&self) -> &Answer {
        match self {
            Self::Whole(answer) => answer,
            Self::Passing(passing) => passing.head(),
        }
    }
}

/// How the place of a node begins that is spoken to by TLS.
pub const SECURED: &str = "https://";

/// A node at one address, `host:port`. Stays on its core.
pub struct Upstream {
    address: String,
    /// TLS is spoken there.
    is_secured: bool,
    /// How.
    caller: Option<Caller>,
    /// Invariant: the oldest first, and at most [`IDLE_MAX`].
    idle: RefCell<Vec<(Stream, Instant)>>,
}

impl Upstream {
    /// The node at `place`, `host:port`, or `https://host:port` by the TLS of `caller`.
    #[must_use]
    pub fn new(place: String, caller: Option<&Caller>) -> Self {
        let address = place.strip_prefix(SECURED).map(ToOwned::to_owned);
        let (is_secured, address) = (address.is_some(), address.unwrap_or(place));
        Self { address, is_secured, caller: caller.cloned(), idle: RefCell::default() }
    }

    async fn connect(&self) -> io::Result<Stream> {
        match (self.is_secured, &self.caller) {
            (false, _) => Stream::connect(&self.address, CONNECT).await,
            (true, Some(caller)) => Stream::connect_secured(&self.address, CONNECT, caller).await,
            (true, None) => Err(io::Error::other("nobody is trusted here, so TLS is not spoken")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`AskError`], which says whether it may have come to something.
    pub async fn ask(&self, question: &Question) -> Result<Answer, AskError> {
        self.ask_holding(question, &|_| Ok(())).await
    }

    /// Asks once. As the body of the answer comes, `hold` is told how many bytes of memory it takes,
    /// and may refuse them.
    ///
    /// # Errors
    /// [`AskError`], which says whether it may have come to something.
    pub async fn ask_holding(
        &self,
        question: &Question,
        hold: &dyn Fn(usize) -> io::Result<()>,
    ) -> Result<Answer, AskError> {
        let sent = Cell::new(false);
        self.exchange(question, &sent, hold).await.map_err(|error| match sent.get() {
            true => AskError::Lost(error.to_string()),
            false => AskError::NotSent(error.to_string()),
        })
    }

    async fn exchange(
        &self,
        question: &Question,
        sent: &Cell<bool>,
        hold: &dyn Fn(usize) -> io::Result<()>,
    ) -> io::Result<Answer> {
        let stream = self.send(question).await?;
        sent.set(true);
        let mut arriving = Arriving::new(question.answer_bytes_max, question.method == "HEAD");
        let begun = in_time(question.limit, read_head(&stream, &mut arriving)).await?;
        let (answer, keeps) = match begun {
            Some(complete) => complete,
            None => read_body(&stream, arriving, hold).await?,
        };
        if keeps {
            self.keep(stream);
        }
        Ok(answer)
    }

    /// Asks once for what may have no end: where the head of the answer says so to `goes_on`, its body is taken
    /// as it comes. Any other is read as a whole.
    ///
    /// # Errors
    /// [`AskError`], which says whether it may have come to something.
    pub async fn open(
        &self,
        question: &Question,
        goes_on: impl Fn(&Answer) -> bool,
    ) -> Result<Opened, AskError> {
        let not_sent = |error: io::Error| AskError::NotSent(error.to_string());
        let lost = |error: io::Error| AskError::Lost(error.to_string());
        let stream = self.send(question).await.map_err(not_sent)?;
        let begun = in_time(question.limit, read_head_alone(&stream)).await;
        let (head, received) = begun.map_err(lost)?;
        let passing = Passing::new(stream, head, &received);
        let most = question.answer_bytes_max;
        match goes_on(passing.head()) && !passing.is_short(most) {
            true => Ok(Opened::Passing(Box::new(passing))),
            false => {
                let whole = in_time(UPSTREAM_STALL, whole(passing, most)).await;
                whole.map(Opened::Whole).map_err(lost)
            }
        }
    }

    /// Sends all of a question, on a connection that was kept or a new one.
    async fn send(&self, question: &Question) -> io::Result<Stream> {
        let request = [&*question.head(&self.address), &*question.body];
        match self.take_idle() {
            Some(stream) if write_all(&stream, request).await.is_ok() => Ok(stream),
            // A request of which something is missing is none.
            _ => {
                let stream = self.connect().await?;
                write_all(&stream, request).await?;
                Ok(stream)
            }
        }
    }

    /// A connection that the other node has not closed, as far as is known here.
    fn take_idle(&self) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(_, since)| cores::elapsed(*since) < IDLE_TIME);
        while let Some((stream, _)) = idle.pop() {
            let nothing = stream.try_read(&mut [0]);
            if nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, stream: Stream) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push((stream, cores::now()));
        assert!(idle.len() <= IDLE_MAX, "no more connections are kept than may be");
    }
}

async fn write_all(stream: &Stream, parts: [&[u8]; 2]) -> io::Result<()> {
    let [mut first, mut second] = parts;
    let mut pace = Pace::begin();
    while !first.is_empty() || !second.is_empty() {
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        let written = pace.step(stream.write(&parts)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_first = written.min(first.len());
        first = first.get(of_first..).unwrap_or_default();
        second = second.get(written - of_first..).unwrap_or_default();
    }
    Ok(())
}

async fn in_time<T>(limit: Duration, reads: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    cores::within(limit, reads).await.unwrap_or_else(|| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")))
    })
}

/// Reads the head of an answer to something else than `HEAD`; gives all that was received, too.
async fn read_head_alone(stream: &Stream) -> io::Result<(Head, Vec<u8>)> {
    let mut received = Vec::new();
    loop {
        if stream.read_onto(&mut received, READ_BYTES).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = head(&received, false).map_err(io::Error::other)? {
            return Ok((head, received));
        }
        if received.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of its answer is too long"));
        }
    }
}

/// All of an answer whose body has at most so many bytes.
async fn whole(mut passing: Passing, most: usize) -> io::Result<Answer> {
    let mut body = Vec::new();
    loop {
        match passing.take()? {
            Passed::Part(part) if body.len() + part.len() > most => {
                return Err(io::Error::other(format!("its answer is longer than {most} bytes")));
            }
            Passed::Part(part) => body.extend_from_slice(&part),
            Passed::Nothing => poll_fn(|cx| passing.poll_ready(cx)).await,
            Passed::End => return Ok(Answer { body: body.into(), ..passing.head().clone() }),
        }
    }
}

/// Reads an answer until its head is complete; gives it where it is complete with that.
async fn read_head(stream: &Stream, arriving: &mut Arriving) -> io::Result<Option<Complete>> {
    loop {
        let mut part = Vec::new();
        if stream.read_onto(&mut part, READ_BYTES).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let complete = arriving.receive(&part).map_err(io::Error::other)?;
        if complete.is_some() || arriving.has_head() {
            return Ok(complete);
        }
    }
}

/// Reads the rest of an answer whose head is complete.
async fn read_body(
    stream: &Stream,
    mut arriving: Arriving,
    hold: &dyn Fn(usize) -> io::Result<()>,
) -> io::Result<Complete> {
    let mut pace = Pace::begin();
    loop {
        let mut part = Vec::new();
        if pace.step(stream.read_onto(&mut part, READ_BYTES)).await? == 0 {
            return arriving.end().ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(complete) = arriving.receive(&part).map_err(io::Error::other)? {
            return Ok(complete);
        }
        hold(arriving.held_bytes())?;
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
