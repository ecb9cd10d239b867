//! A blocking connection for the questions around a run: the newest id before it, one append,
//! the pages that are read back. Not used for anything that is measured in bulk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::answers::{page, problem};
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::response::{Response, ResponseParser};
use crate::http::target::Target;
use crate::http::wire::Blocking;

/// How much one read may bring, in bytes.
const READ_BYTES_MAX: usize = 256 * 1024;
/// How long to wait before a server that is down is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The connection; made at the first question and again after a failure.
#[derive(Debug)]
pub(crate) struct Control {
    target: Target,
    timeout: Duration,
    stream: Option<Box<dyn Blocking>>,
    /// Memory for a response, of which the first `filled` bytes are one.
    buffer: Vec<u8>,
    filled: usize,
    parser: ResponseParser,
}

impl Control {
    /// A connection to this server, not made yet.
    pub(crate) fn new(target: &Target, timeout: Duration) -> Self {
        let mut parser = ResponseParser::default();
        parser.speak(target.replies);
        Self {
            target: target.clone(),
            timeout,
            stream: None,
            buffer: Vec::new(),
            filled: 0,
            parser,
        }
    }

    /// The newest id of the list at `path`, by a read that begins now.
    pub(crate) fn newest(&mut self, path: &str) -> Result<u64> {
        let question = page::query(path, "since=now&limit=1");
        let body = self.get(&question)?;
        page::summary(body, false)
            .map(|summary| summary.last)
            .with_context(|| format!("GET {question}: not a list of changes"))
    }

    /// The same from a server that may be down for a moment: asks again until the time-out.
    pub(crate) fn newest_when_up(&mut self, path: &str) -> Result<u64> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let newest = self.newest(path);
            if newest.is_ok() || stop::requested() || Instant::now() >= deadline {
                return newest;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// The body of a successful GET below the base URL. A connection that turns out stale is
    /// replaced once.
    pub(crate) fn get(&mut self, path: &str) -> Result<&[u8]> {
        let request = format!(
            "GET {} HTTP/1.1\r\n{}Accept: application/json\r\n\r\n",
            self.target.path(path)?,
            self.target.fields
        );
        let reused = self.stream.is_some();
        let mut exchanged = self.exchange(request.as_bytes());
        if reused && exchanged.is_err() {
            exchanged = self.exchange(request.as_bytes());
        }
        exchanged.with_context(|| format!("GET {path}"))?;
        self.success().with_context(|| format!("GET {path}"))
    }

    /// The body of the successful answer to a POST of JSON below the base URL, sent once.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<&[u8]> {
        let request = format!(
            "POST {} HTTP/1.1\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.target.path(path)?,
            self.target.fields,
            body.len()
        );
        self.send(request.as_bytes()).with_context(|| format!("POST {path}"))
    }

    /// Opens the connection ahead of a request that should not pay for it.
    pub(crate) fn connect(&mut self) -> Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.target.address, self.timeout)
                .with_context(|| format!("cannot connect to {}", self.target.address))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            self.stream = Some(match &self.target.tls {
                Some(tls) => tls.blocking(stream)?,
                None => Box::new(stream),
            });
        }
        Ok(())
    }

    /// Sends prebuilt bytes once and hands back the body of the successful answer.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.exchange(request)?;
        self.success()
    }

    /// The body of the response in the buffer, or what it says is wrong.
    fn success(&mut self) -> Result<&[u8]> {
        let received = self.buffer.get(..self.filled).unwrap_or_default();
        let Some(response) = self.parser.parse(received, true)? else {
            bail!("no response");
        };
        if !response.is_success() {
            let code = problem::code(response.status, response.body);
            bail!("answered {code}: {}", String::from_utf8_lossy(response.body).trim());
        }
        Ok(response.body)
    }

    /// One request, one response, left in the buffer.
    fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.connect()?;
        let Some(mut stream) = self.stream.take() else { bail!("no connection") };
        self.filled = 0;
        self.parser.reset();
        stream.write_all(request)?;
        loop {
            // The memory only grows, so that a long page is not cleared again for every read.
            let expected = self.parser.expected_bytes().unwrap_or_default();
            let room = expected.max(self.filled + READ_BYTES_MAX);
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            let read = stream.read(&mut self.buffer[self.filled..])?;
            self.filled += read;
            ensure!(self.filled > 0, Failure::Closed);
            let received = &self.buffer[..self.filled];
            if let Some(Response { close, .. }) = self.parser.parse(received, read == 0)? {
                if !close && read > 0 {
                    self.stream = Some(stream);
                }
                return Ok(());
            }
        }
    }
}
