//! A client's end of HTTP: requests as bytes over a stream, answers out of bytes.

use std::{fmt::Write as _, io::IoSlice, time::Duration};

use crate::io::{cores, net::Stream};

/// How long a client tries to reach a node.
const CONNECT: Duration = Duration::from_secs(1);
/// A client gives up on an answer of which nothing comes for so long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;
/// Header lines of an answer.
const HEADERS_MAX: usize = 32;

/// A request, but for where it goes.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Request {
    pub fn get(target: String) -> Self {
        Self { method: "GET", target, ..Self::default() }
    }

    pub fn with_body(method: &'static str, target: String, body: String) -> Self {
        Self { method, target, body, ..Self::default() }
    }

    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if !self.body.is_empty() {
            let length = self.body.len();
            write!(head, "Content-Type: application/json\r\nContent-Length: {length}\r\n").unwrap();
        }
        write!(head, "\r\n{}", self.body).unwrap();
        head.into_bytes()
    }
}

/// An answer, or the head of one that comes in parts.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
    /// The body of an answer that is no text.
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it comes in parts.
    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Heard {
    Answer(Answer),
    /// The node was not reached: nothing was sent.
    NotSent,
    /// The connection broke, or no answer came.
    Broken,
}

/// How fast a client reads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes at once.
    pub bytes: usize,
    /// How long it rests before the next ones.
    pub rest: Duration,
}

impl Default for Pace {
    /// As fast as bytes come.
    fn default() -> Self {
        Self { bytes: READ_BYTES, rest: Duration::ZERO }
    }
}

/// The way to one node: a connection that is made again when it breaks.
pub struct Link {
    address: String,
    stream: Option<Stream>,
    received: Vec<u8>,
    pace: Pace,
}

/// The connection is of no more use.
#[derive(Debug)]
struct Gone;

impl Link {
    pub fn new(address: String) -> Self {
        Self { address, stream: None, received: Vec::new(), pace: Pace::default() }
    }

    /// Reads at that pace from now on.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Asks and waits for the whole answer.
    pub async fn ask(&mut self, request: &Request) -> Heard {
        let answer = match self.send(request).await {
            Heard::Answer(head) => self.body(head).await,
            other => return other,
        };
        match answer {
            Ok(answer) => {
                if answer.header("connection") == Some("close") {
                    self.close();
                }
                Heard::Answer(answer)
            }
            Err(Gone) => {
                self.close();
                Heard::Broken
            }
        }
    }

    /// Waits for the rest of an answer whose head is there.
    pub async fn rest(&mut self, head: Answer) -> Option<Answer> {
        self.body(head).await.ok()
    }

    /// Asks and waits for the head of the answer.
    pub async fn send(&mut self, request: &Request) -> Heard {
        if !self.connect().await {
            return Heard::NotSent;
        }
        let bytes = request.bytes(&self.address);
        match cores::within(PATIENCE, self.exchange(&bytes)).await {
            Some(Ok(head)) => Heard::Answer(head),
            Some(Err(Gone)) | None => {
                self.close();
                Heard::Broken
            }
        }
    }

    /// Sends that part of a request, of 1, and waits for nothing.
    pub async fn send_part(&mut self, request: &Request, part: f64) {
        if !self.connect().await {
            return;
        }
        let bytes = request.bytes(&self.address);
        let count = (bytes.len() as f64 * part) as usize;
        if !matches!(cores::within(PATIENCE, self.write(&bytes[..count])).await, Some(Ok(()))) {
            self.close();
        }
    }

    /// Says whether there is a connection.
    async fn connect(&mut self) -> bool {
        if self.stream.is_none() {
            self.received.clear();
            self.stream = Stream::connect(&self.address, CONNECT).await.ok();
        }
        self.stream.is_some()
    }

    pub fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close();
        }
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        let stream = self.stream.as_ref().ok_or(Gone)?;
        let mut sent = 0;
        while sent < bytes.len() {
            sent += stream.write(&[IoSlice::new(&bytes[sent..])]).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn exchange(&mut self, bytes: &[u8]) -> Result<Answer, Gone> {
        self.write(bytes).await?;
        loop {
            if let Some(head) = self.head()? {
                return Ok(head);
            }
            self.receive().await?;
        }
    }

    /// Waits for more bytes.
    async fn receive(&mut self) -> Result<(), Gone> {
        let stream = self.stream.as_ref().ok_or(Gone)?;
        let Pace { bytes, rest } = self.pace;
        if !rest.is_zero() {
            cores::sleep(rest).await;
        }
        let read = stream.read_onto(&mut self.received, bytes);
        match cores::within(PATIENCE, read).await {
            Some(Ok(count)) if count > 0 => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Takes the head of an answer, once all of it is there.
    fn head(&mut self) -> Result<Option<Answer>, Gone> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => panic!("an answer is no HTTP: {error}: {:?}", self.received),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let answer = Answer {
            status: parsed.code.unwrap_or_default(),
            headers: parsed
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), text(header.value)))
                .collect(),
            body: String::new(),
            bytes: Vec::new(),
        };
        self.received.drain(..length);
        Ok(Some(answer))
    }

    async fn body(&mut self, mut answer: Answer) -> Result<Answer, Gone> {
        if answer.is_chunked() {
            while let Some(chunk) = self.chunk().await? {
                answer.body.push_str(&chunk);
            }
            return Ok(answer);
        }
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        while self.received.len() < length {
            self.receive().await?;
        }
        let body = self.received.drain(..length).collect();
        match answer.header("content-type") {
            Some("application/octet-stream") => answer.bytes = body,
            _ => answer.body = String::from_utf8(body).unwrap(),
        }
        Ok(answer)
    }

    /// The next part of an answer that comes in parts; nothing at its end.
    async fn chunk(&mut self) -> Result<Option<String>, Gone> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.received).expect("the size of a chunk");
            if let httparse::Status::Complete((start, length)) = parsed {
                let length = usize::try_from(length).unwrap();
                // Behind each stands the end of a line.
                let end = start + length + 2;
                if self.received.len() >= end {
                    let chunk = self.received[start..start + length].to_vec();
                    self.received.drain(..end);
                    let chunk = String::from_utf8(chunk).expect("text");
                    return Ok((length > 0).then_some(chunk));
                }
            }
            self.receive().await?;
        }
    }

    /// The next part of a stream; nothing when it ended or broke.
    pub async fn part(&mut self) -> Option<String> {
        match self.chunk().await {
            Ok(Some(part)) => Some(part),
            Ok(None) | Err(Gone) => {
                self.close();
                None
            }
        }
    }
}
