//! HTTP/1.1 as bytes: requests written, answers read piece by piece. No I/O.

use crate::error::Error;

const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longer than any line that says how long a chunk is.
const CHUNK_LINE_BYTES_MAX: usize = 4096;

fn broken(what: &str) -> Error {
    Error::Broken(what.to_owned())
}

/// The bytes of a request.
pub(crate) fn request(
    line: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(512 + body.map_or(0, <[u8]>::len));
    let length = body.map(|body| body.len().to_string());
    let length = length.iter().map(|length| ("Content-Length", length.as_str()));
    bytes.extend_from_slice(line.as_bytes());
    for (name, value) in headers.iter().copied().chain(length) {
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Error::Usage(format!("not to be sent as {name}: {value:?}")));
        }
        bytes.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body.unwrap_or_default());
    Ok(bytes)
}

/// What an answer says before its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name, which is in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
enum State {
    Head,
    /// So many bytes are left of the body.
    Length(u64),
    /// The line that says how long the next chunk is.
    ChunkLine,
    /// So many bytes are left of this chunk.
    Chunk(u64),
    /// The end of the line after a chunk.
    ChunkEnd,
    Trailer,
    Done,
}

/// Takes the bytes of one answer and gives its head and its body.
///
/// Only an answer that tells its end (by a length or by chunks) can be known to be
/// whole, so no other is taken.
#[derive(Debug)]
pub(crate) struct Answer {
    head: Head,
    state: State,
    raw: Vec<u8>,
    body: Vec<u8>,
    keep_alive: bool,
    started: bool,
}

impl Answer {
    pub(crate) fn new() -> Self {
        Self {
            head: Head::default(),
            state: State::Head,
            raw: Vec::new(),
            body: Vec::new(),
            keep_alive: true,
            started: false,
        }
    }

    /// The head, once it is complete.
    pub(crate) fn head(&self) -> Option<&Head> {
        (!matches!(self.state, State::Head)).then_some(&self.head)
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether any byte of it has come.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Whether another request may be sent on its connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.is_done() && self.keep_alive
    }

    /// The bytes of the body that have come since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Takes what came; nothing is the end of the connection.
    pub(crate) fn feed(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Err(broken("the connection ended in the middle of an answer"));
        }
        self.started = true;
        self.raw.extend_from_slice(data);
        let mut raw = std::mem::take(&mut self.raw);
        let mut at = 0;
        while let Some(taken) = self.step(raw.get(at..).unwrap_or_default())? {
            at += taken;
        }
        raw.drain(..at);
        // Nothing was asked for: whoever sent it is not to be asked again.
        self.keep_alive &= !self.is_done() || raw.is_empty();
        self.raw = raw;
        Ok(())
    }

    /// The bytes that a step took, none where it needs more of them.
    fn step(&mut self, raw: &[u8]) -> Result<Option<usize>, Error> {
        match self.state {
            State::Head => self.read_head(raw),
            State::Length(left) => {
                let taken = self.read_bytes(raw, left);
                let left = left - taken as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok((taken > 0).then_some(taken))
            }
            State::Chunk(left) => {
                let taken = self.read_bytes(raw, left);
                let left = left - taken as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                Ok((taken > 0).then_some(taken))
            }
            State::ChunkLine | State::ChunkEnd | State::Trailer => self.read_line(raw),
            State::Done => Ok(None),
        }
    }

    fn read_bytes(&mut self, raw: &[u8], left: u64) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
        self.body.extend_from_slice(raw.get(..taken).unwrap_or_default());
        taken
    }

    fn read_line(&mut self, raw: &[u8]) -> Result<Option<usize>, Error> {
        let Some(end) = raw.windows(2).position(|pair| pair == b"\r\n") else {
            if raw.len() > CHUNK_LINE_BYTES_MAX {
                return Err(broken("a chunk without a length"));
            }
            return Ok(None);
        };
        let line = raw.get(..end).unwrap_or_default();
        self.state = match self.state {
            State::ChunkEnd if line.is_empty() => State::ChunkLine,
            State::ChunkEnd => return Err(broken("a chunk is longer than it said")),
            State::ChunkLine => match chunk_length(line)? {
                0 => State::Trailer,
                length => State::Chunk(length),
            },
            _ if line.is_empty() => State::Done,
            _ => State::Trailer,
        };
        Ok(Some(end + 2))
    }

    fn read_head(&mut self, raw: &[u8]) -> Result<Option<usize>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(raw);
        let size = match parsed.map_err(|error| broken(&format!("not HTTP/1.1: {error}")))? {
            httparse::Status::Complete(size) => size,
            httparse::Status::Partial if raw.len() > HEAD_BYTES_MAX => {
                return Err(broken("the head of an answer is too long"));
            }
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.unwrap_or_default();
        match status {
            101 => return Err(broken("another protocol than HTTP")),
            100..200 => return Ok(Some(size)),
            _ => {}
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let headers = response.headers.iter();
        let headers = headers.map(|header| (header.name.to_lowercase(), text(header.value)));
        self.head = Head { status, headers: headers.collect() };
        let closes = self.head.get("connection").is_some_and(|value| value.contains("close"));
        self.keep_alive = response.version == Some(1) && !closes;
        self.state = self.framing()?;
        Ok(Some(size))
    }

    fn framing(&self) -> Result<State, Error> {
        if matches!(self.head.status, 204 | 304) {
            return Ok(State::Done);
        }
        let coding = self.head.get("transfer-encoding");
        if coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Ok(State::ChunkLine);
        }
        match self.head.get("content-length").and_then(|length| length.parse().ok()) {
            Some(0) => Ok(State::Done),
            Some(length) => Ok(State::Length(length)),
            None => Err(broken("an answer that does not tell where it ends")),
        }
    }
}

fn chunk_length(line: &[u8]) -> Result<u64, Error> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let length = is_number.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    length.ok_or_else(|| broken("a chunk without a length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n";
    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";

    fn feed(parts: &[&[u8]]) -> Result<(Answer, Vec<u8>), Error> {
        let mut answer = Answer::new();
        let mut body = Vec::new();
        for part in parts {
            answer.feed(part)?;
            body.extend(answer.take());
        }
        Ok((answer, body))
    }

    #[test]
    fn an_answer_is_the_same_however_it_comes() {
        for whole in [CHUNKED, SIZED] {
            for cut in 1..whole.len() {
                let (start, end) = whole.split_at(cut);
                let (answer, body) = feed(&[start, end]).expect("an answer");
                assert!(answer.keeps_alive(), "cut at {cut}");
                assert_eq!(body, b"abcde", "cut at {cut}");
            }
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(feed(&bytes).expect("an answer").1, b"abcde");
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_not_done() {
        for whole in [CHUNKED, SIZED] {
            for cut in 1..whole.len() {
                let start = whole.get(..cut).expect("a part");
                let (mut answer, _) = feed(&[start]).expect("a part");
                assert!(!answer.is_done(), "cut at {cut}");
                assert!(answer.feed(b"").is_err());
            }
        }
    }

    #[test]
    fn what_does_not_tell_its_end_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "SSH-2.0\r\n\r\n",
        ] {
            assert!(feed(&[head.as_bytes()]).is_err(), "{head}");
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunk in ["x\r\n", "+1\r\na\r\n", "1\r\nab\r\n", "fffffffffffffffff\r\n"] {
            assert!(feed(&[format!("{chunked}{chunk}").as_bytes()]).is_err(), "{chunk}");
        }
        let (answer, _) = feed(&[SIZED, b"more"]).expect("an answer");
        assert!(!answer.keeps_alive(), "what sends more than was asked for is not asked again");
    }
}
