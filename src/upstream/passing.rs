//! An answer whose body is taken as it comes: no more of it is read than is asked for, so whoever takes
//! it slowly holds up who sends it.

use std::{
    fmt, io,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};

use super::answer::{Answer, Ending, Head};
use crate::{
    base::limits::Limits,
    http::{Body, BodyLength},
    io::net::Stream,
};

/// Bytes of a body that are read at once.
const PART_BYTES: usize = 16 << 10;

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// Some bytes of it.
    Part(Bytes),
    /// Nothing yet.
    Nothing,
    /// The end: it is complete.
    End,
}

/// An answer whose head is here. Its connection ends with it.
pub struct Passing {
    stream: Stream,
    /// Without its body.
    answer: Answer,
    parts: Parts,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("status", &self.answer.status).finish_non_exhaustive()
    }
}

impl Passing {
    /// The answer with that head, which `received` begins with and `stream` goes on with.
    pub(super) fn new(stream: Stream, head: Head, received: &[u8]) -> Self {
        let Head { answer, ending, bytes, .. } = head;
        let parts = Parts::new(ending, received.get(bytes..).unwrap_or_default());
        Self { stream, answer, parts }
    }

    /// Its head.
    #[must_use]
    pub fn head(&self) -> &Answer {
        &self.answer
    }

    /// Whether its head says that its body has at most so many bytes.
    #[must_use]
    pub fn is_short(&self, most: usize) -> bool {
        matches!(self.parts.left, Left::Known(bytes) if bytes <= most)
    }

    /// What there is of its body, without waiting.
    ///
    /// # Errors
    /// What the network reports; that it breaks off, or is no body.
    pub fn take(&mut self) -> io::Result<Passed> {
        loop {
            if let Some(passed) = self.parts.take()? {
                return Ok(passed);
            }
            let mut buffer = [0; PART_BYTES];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => self.parts.end()?,
                Ok(count) => self.parts.receive(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Passed::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ready when there may be more, be it the end.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_readable(cx)
    }
}

/// A body in whatever pieces.
struct Parts {
    left: Left,
    limits: Limits,
    /// What came and is not taken.
    rest: BytesMut,
}

/// What is still to come.
enum Left {
    Known(usize),
    Chunked(Body),
    /// All until the connection ends.
    Close,
}

impl Parts {
    fn new(ending: Ending, received: &[u8]) -> Self {
        // As a whole it may be of any length; what is held of it is what was received last.
        let limits = Limits { body_bytes: usize::MAX, ..Limits::default() };
        let left = match ending {
            Ending::Close => Left::Close,
            Ending::Length(BodyLength::Known(bytes)) => Left::Known(bytes),
            Ending::Length(length @ BodyLength::Chunked) => {
                Left::Chunked(Body::new(length, &limits))
            }
        };
        Self { left, limits, rest: BytesMut::from(received) }
    }

    fn receive(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
    }

    /// Takes that nothing more is received.
    fn end(&mut self) -> io::Result<()> {
        match self.left {
            Left::Close => self.left = Left::Known(0),
            Left::Known(_) | Left::Chunked(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    /// What was received; nothing where that is all taken.
    fn take(&mut self) -> io::Result<Option<Passed>> {
        let part = match &mut self.left {
            Left::Known(0) => return Ok(Some(Passed::End)),
            Left::Known(left) => {
                let part = self.rest.split_to(self.rest.len().min(*left)).freeze();
                *left -= part.len();
                part
            }
            Left::Close => self.rest.split().freeze(),
            Left::Chunked(body) => {
                let last = body.advance(&mut self.rest, &self.limits);
                match last.map_err(|error| io::Error::other(error.detail()))? {
                    Some(last) => {
                        self.left = Left::Known(0);
                        if last.is_empty() {
                            return Ok(Some(Passed::End));
                        }
                        last
                    }
                    None => body.take_decoded(),
                }
            }
        };
        if self.rest.is_empty() {
            // Who waits holds nothing.
            self.rest = BytesMut::new();
        }
        Ok(if part.is_empty() { None } else { Some(Passed::Part(part)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::answer::head;

    /// What is passed of an answer that comes in pieces of at most so many bytes, and whether it is complete.
    fn passed(answer: &[u8], most: usize) -> (Vec<u8>, bool) {
        let begin = head(answer, false).unwrap().unwrap();
        let (first, rest) = answer[begin.bytes..].split_at(most.min(answer.len() - begin.bytes));
        let (mut parts, mut found) = (Parts::new(begin.ending, first), Vec::new());
        let mut pieces = rest.chunks(most);
        loop {
            match parts.take() {
                Ok(Some(Passed::Part(part))) => {
                    assert!(!part.is_empty() && part.len() <= most, "it holds nothing back");
                    found.extend_from_slice(&part);
                }
                Ok(Some(Passed::End)) => return (found, true),
                Ok(_) => match pieces.next() {
                    Some(piece) => parts.receive(piece),
                    None if parts.end().is_err() => return (found, false),
                    None => {}
                },
                Err(_) => return (found, false),
            }
        }
    }

    fn answers(body: &[u8], chunk: usize) -> [Vec<u8>; 3] {
        let with = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
        let mut chunks = Vec::new();
        for part in body.chunks(chunk) {
            chunks.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            chunks.extend_from_slice(part);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        [
            with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &chunks),
            with(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()), body),
            with("HTTP/1.0 200 OK\r\n\r\n", body),
        ]
    }

    proptest! {
        #[test]
        fn a_body_is_passed_on_whole_in_whatever_pieces_it_comes(
            body in proptest::collection::vec(any::<u8>(), 1..400),
            chunk in 1usize..200,
            most in 1usize..200,
            cut in 1usize..400,
        ) {
            for (kind, answer) in answers(&body, chunk).iter().enumerate() {
                prop_assert_eq!(passed(answer, most), (body.clone(), true));
                // Of one that breaks off it is seen that it does, but where its end is that of its connection.
                let begin = head(answer, false).unwrap().unwrap().bytes;
                let end = answer.len() - cut.min(answer.len() - begin);
                let (found, complete) = passed(&answer[..end], most);
                prop_assert!(body.starts_with(&found));
                prop_assert_eq!(complete, kind == 2);
            }
        }
    }

    #[test]
    fn what_is_no_body_is_told() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (found, complete) = passed(format!("{head}2\r\nabx").as_bytes(), 100);
        assert!(!complete && b"ab".starts_with(&found), "{found:?}");
    }
}
