//! Answers that arrive piece by piece and may never end.

use std::io::{BufRead, BufReader, Cursor, Error, ErrorKind, Read, Result};

use super::client::{Answer, Client};

/// A stream that was opened: its head is here, its body is read as it comes.
pub struct Stream {
    pub head: Answer,
    body: Box<dyn BufRead>,
}

/// A change as an event of `text/event-stream`.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub data: String,
}

/// Any event of `text/event-stream`, as a browser takes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name; empty for a change.
    pub name: String,
    pub id: Option<u64>,
    pub data: String,
    /// What it says of when to come back.
    pub retry: Option<u64>,
}

impl Message {
    fn take(&mut self, line: &str) {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => value.clone_into(&mut self.data),
            "id" => self.id = Some(value.parse().expect("an id is a number")),
            "retry" => self.retry = Some(value.parse().expect("milliseconds")),
            _ => panic!("no field of an event: {line:?}"),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A body in chunks, or one that ends with its connection.
struct Body {
    source: BufReader<Box<dyn Read>>,
    chunked: bool,
    /// Bytes left of the current chunk.
    left: usize,
    ended: bool,
}

impl Stream {
    /// The same, whose body is read through a decoder.
    pub fn decoded<R: Read + 'static>(self, decode: impl FnOnce(Box<dyn Read>) -> R) -> Self {
        Self { head: self.head, body: Box::new(BufReader::new(decode(Box::new(self.body)))) }
    }

    /// Asks for `target` in a form and takes the head of the answer, which must
    /// be a stream of that form.
    pub fn open(client: Client, target: &str, accept: &str) -> Self {
        Self::open_with(client, target, &[("Accept", accept)])
    }

    pub fn open_with(mut client: Client, target: &str, headers: &[(&str, &str)]) -> Self {
        client.send_request("GET", target, headers, b"");
        let stream = Self::begun(client);
        let wanted = headers.iter().find(|(name, _)| *name == "Accept").expect("a form").1;
        assert_eq!(stream.head.header("content-type"), Some(wanted), "{:?}", stream.head);
        assert_eq!(stream.head.header("transfer-encoding"), Some("chunked"));
        stream
    }

    /// The stream that answers what `client` has asked for.
    pub fn begun(mut client: Client) -> Self {
        let head = client.try_head().expect("the server answers");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-length"), None, "a stream has no length");
        let chunked = head.header("transfer-encoding") == Some("chunked");
        let (received, stream) = client.into_parts();
        let source: Box<dyn Read> = Box::new(Cursor::new(received).chain(stream));
        let body = Body { source: BufReader::new(source), chunked, left: 0, ended: false };
        Self { head, body: Box::new(BufReader::new(body)) }
    }

    /// The next line without its end, or nothing where the stream ended in good
    /// order.
    pub fn line(&mut self) -> Option<String> {
        self.try_line().expect("the stream goes on or ends in good order")
    }

    /// The same, with an error where it is broken off.
    pub fn try_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        self.body.read_line(&mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        assert_eq!(line.pop(), Some('\n'), "the stream ends with a line: {line:?}");
        Ok(Some(line))
    }

    /// The next change of lines, past heartbeats.
    pub fn change(&mut self) -> Option<String> {
        std::iter::from_fn(|| self.line()).find(|line| !line.is_empty())
    }

    /// Every further change of lines, to the end of the stream.
    pub fn changes(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.change()).collect()
    }

    /// The next change as an event, past those that say how far the stream is.
    pub fn event(&mut self) -> Option<Event> {
        loop {
            let message = self.message()?;
            match (message.name.as_str(), message.id) {
                ("cursor", _) => {}
                ("", Some(id)) => return Some(Event { id, data: message.data }),
                _ => panic!("neither a change nor a cursor: {message:?}"),
            }
        }
    }

    /// The next event.
    pub fn message(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(message);
            }
            message.take(&line);
        }
    }

    /// The next event, which says how far the stream is; its id.
    pub fn cursor(&mut self) -> u64 {
        let message = self.message().expect("the stream goes on");
        assert_eq!(message.name, "cursor", "{message:?}");
        let cluster = self.head.header("changeagent-cluster").expect("on every answer");
        let id = message.id.expect("a cursor has an id");
        assert_eq!(message.json(), serde_json::json!({"last": id, "cluster": cluster}));
        id
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.ended || !self.chunked {
            return if self.ended { Ok(0) } else { self.source.read(into) };
        }
        if self.left == 0 {
            let size = self.size_line()?;
            self.left = usize::from_str_radix(&size, 16).map_err(Error::other)?;
            if self.left == 0 {
                self.ended = true;
                return self.line_end().map(|()| 0);
            }
        }
        let room = into.len().min(self.left);
        let count = self.source.read(&mut into[..room])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        if self.left == 0 {
            self.line_end()?;
        }
        Ok(count)
    }
}

impl Body {
    fn size_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.source.read_line(&mut line)?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or(ErrorKind::UnexpectedEof.into())
    }

    fn line_end(&mut self) -> Result<()> {
        let mut end = [0; 2];
        self.source.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(()) } else { Err(Error::other("no end of a chunk")) }
    }
}
