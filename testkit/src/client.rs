//! A small HTTP/1.1 client that hides nothing: bytes out, answers in.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::PATIENCE;

/// One connection, kept alive for as long as the server keeps it.
pub struct Client {
    stream: TcpStream,
    /// Received and not yet part of an answer.
    received: Vec<u8>,
    /// Whether a server that says nothing fails the test, or only breaks the
    /// connection.
    insists: bool,
}

/// One answer, as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        Self::over(stream, PATIENCE, true)
    }

    /// A client over a connection: where it `insists`, a server that says nothing
    /// for the time of `silence` fails the test; else the connection counts as
    /// broken.
    pub fn over(stream: TcpStream, silence: Duration, insists: bool) -> Self {
        stream.set_read_timeout(Some(silence)).unwrap();
        stream.set_write_timeout(Some(silence)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new(), insists }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes bytes");
    }

    /// Sends bytes to a server that may have cut the connection; whether it took
    /// them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that no more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends one request with the headers it needs, and these.
    pub fn send_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        assert!(self.try_send_request(method, target, headers, body), "the server takes a request");
    }

    pub fn try_send_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> bool {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.try_send(bytes)
    }

    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send_request(method, target, headers, body);
        if method == "HEAD" { self.answer_to_head() } else { self.answer() }
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    /// Posts a JSON body to `/changes`.
    pub fn post(&mut self, body: impl AsRef<[u8]>) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", "/changes", &headers, body.as_ref())
    }

    /// Posts one change and gives back its id.
    pub fn append(&mut self, body: impl AsRef<[u8]>) -> u64 {
        let answer = self.post(body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["_id"].as_u64().expect("an id")
    }

    /// A page of the list.
    pub fn list(&mut self, query: &str) -> Value {
        let answer = self.get(&format!("/changes{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The next answer, which must come.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("the server answers")
    }

    /// The next answer, which has no body whatever its length says.
    pub fn answer_to_head(&mut self) -> Answer {
        self.head().expect("the server answers")
    }

    /// The head of the next answer, or nothing when the connection broke.
    pub fn try_head(&mut self) -> Option<Answer> {
        self.head()
    }

    /// The next answer, or nothing when the connection broke before its end.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        while self.received.len() < length {
            if !self.receive() {
                return None;
            }
        }
        answer.body = self.received.drain(..length).collect();
        Some(answer)
    }

    fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.receive() {
                return None;
            }
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line:?}");
        let status = status_line[9..12].parse().unwrap();
        let headers: Vec<_> = lines
            .take_while(|line| !line.is_empty())
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let answer = Answer { status, headers, body: Vec::new() };
        if status >= 200 {
            answer.check_common_headers();
        }
        Some(answer)
    }

    /// What was received and not yet answered, and the connection itself.
    pub(super) fn into_parts(self) -> (Vec<u8>, TcpStream) {
        (self.received, self.stream)
    }

    /// The address of this end, as the server sees it.
    pub fn local(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    /// The connection itself, of which nothing was read ahead.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.received.is_empty(), "something was read ahead");
        self.stream
    }

    /// Whether the server has closed, and sent nothing more before it did.
    pub fn is_closed(&mut self) -> bool {
        !self.receive() && self.received.is_empty()
    }

    /// Whether bytes arrive within that time.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        if !self.received.is_empty() {
            return true;
        }
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let heard = self.stream.peek(&mut byte).is_ok();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        heard
    }

    /// Reads once; `false` at the end of the connection.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(!self.insists, "the server said nothing for {PATIENCE:?}");
                false
            }
            Err(_) => false,
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that this is a problem document with that status and code, and
    /// gives it back.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{} {self:?}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        let kind = problem["type"].as_str().expect("a type");
        assert!(kind.ends_with(&format!("/errors/{code}")), "{problem}");
        assert!(!problem["title"].as_str().expect("a title").is_empty(), "{problem}");
        assert!(!problem["detail"].as_str().expect("a detail").is_empty(), "{problem}");
        if status == 503 {
            let seconds: u32 = self.header("retry-after").expect("Retry-After").parse().unwrap();
            assert!(seconds > 0);
        }
        problem
    }

    fn check_common_headers(&self) {
        let last = self.header("changeagent-last").expect("ChangeAgent-Last on every answer");
        assert!(last.parse::<u64>().is_ok(), "{last:?}");
        let cluster =
            self.header("changeagent-cluster").expect("ChangeAgent-Cluster on every answer");
        assert!(uuid::Uuid::parse_str(cluster).is_ok(), "{cluster:?}");
    }

    /// `ChangeAgent-Last`.
    pub fn last(&self) -> u64 {
        self.header("changeagent-last").unwrap().parse().unwrap()
    }
}

/// What is asked of a node that may not be there, or not for long.
impl Client {
    /// A connection that counts as broken after so long without a byte.
    pub fn try_connect(address: SocketAddr, silence: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, silence).ok()?;
        Some(Self::over(stream, silence, false))
    }

    /// The answer, or nothing where the connection broke before its end.
    pub fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        if self.try_send_request(method, target, headers, body) { self.try_answer() } else { None }
    }
}
