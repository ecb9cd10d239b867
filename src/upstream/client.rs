//! One other node, and the connections to it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, IoSlice},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    answer::{Answer, Ending, HEAD_BYTES_MAX, Head, head},
    pace::Pace,
};
use crate::{
    base::{limits::Limits, timing::CONNECT},
    http::{Body, BodyLength},
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
        let request = [&*question.head(&self.address), &*question.body];
        let stream = match self.take_idle() {
            Some(stream) if write_all(&stream, request).await.is_ok() => stream,
            // A request of which something is missing is none.
            _ => {
                let stream = self.connect().await?;
                write_all(&stream, request).await?;
                stream
            }
        };
        sent.set(true);
        let Some(head) = cores::within(question.limit, read_head(&stream, question)).await else {
            let text = format!("no answer within {:?}", question.limit);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        };
        let (head, rest) = head?;
        let (answer, keeps) = read_body(&stream, question, head, rest, hold).await?;
        if keeps {
            self.keep(stream);
        }
        Ok(answer)
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

/// Reads the head of an answer; gives what came behind it, too.
async fn read_head(stream: &Stream, question: &Question) -> io::Result<(Head, BytesMut)> {
    let mut received = Vec::new();
    loop {
        let found = head(&received, question.method == "HEAD").map_err(io::Error::other)?;
        if let Some(head) = found {
            let rest = BytesMut::from(received.get(head.bytes..).unwrap_or_default());
            return Ok((head, rest));
        }
        if received.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of its answer is too long"));
        }
        if stream.read_onto(&mut received, READ_BYTES).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads the body behind a head, of which `rest` has come; gives the answer, and whether the connection
/// may be used again.
async fn read_body(
    stream: &Stream,
    question: &Question,
    Head { mut answer, ending, keeps, .. }: Head,
    mut rest: BytesMut,
    hold: &dyn Fn(usize) -> io::Result<()>,
) -> io::Result<(Answer, bool)> {
    let mut pace = Pace::begin();
    let most = question.answer_bytes_max;
    let too_long = || io::Error::other(format!("its answer is longer than {most} bytes"));
    let Ending::Length(length) = ending else {
        while pace.step(read_on(stream, &mut rest)).await? > 0 {
            if rest.len() > most {
                return Err(too_long());
            }
            hold(rest.capacity())?;
        }
        answer.body = rest.freeze();
        return Ok((answer, false));
    };
    if matches!(length, BodyLength::Known(bytes) if bytes > most) {
        return Err(too_long());
    }
    let limits = Limits { body_bytes: most, ..Limits::default() };
    let mut body = Body::new(length, &limits);
    answer.body = loop {
        let decoded = body.advance(&mut rest, &limits);
        if let Some(body) = decoded.map_err(|error| io::Error::other(error.detail()))? {
            break body;
        }
        if pace.step(read_on(stream, &mut rest)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hold(rest.capacity() + body.held_bytes())?;
    };
    // What comes behind an answer that nobody asked for is no answer.
    Ok((answer, keeps && rest.is_empty()))
}

/// Reads on; how many bytes came.
async fn read_on(stream: &Stream, received: &mut BytesMut) -> io::Result<usize> {
    let mut part = Vec::new();
    let count = stream.read_onto(&mut part, READ_BYTES).await?;
    received.extend_from_slice(&part);
    Ok(count)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
