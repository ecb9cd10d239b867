//! Reads one HTTP/1.1 response out of a growing buffer. Pure: it is fed bytes in any split and
//! says when the response is whole, so that it can be tested without a socket.

use std::ops::Range;

use memchr::memmem;
use thiserror::Error;

use crate::http::resp::{self, Replies};

/// Longest response head that is accepted, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest line that announces a chunk, extensions included, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest body that is accepted, in bytes: far above the server's 8 MiB answers.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most header fields a response may have.
const HEADERS_MAX: usize = 64;

/// Why bytes from the server are not a response this client understands.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ResponseError {
    /// The head is not HTTP/1.x.
    #[error("malformed response head: {0}")]
    Head(httparse::Error),
    /// The head has no end within the limit.
    #[error("response head longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// A length that is no number, or two that differ.
    #[error("bad Content-Length")]
    Length,
    /// A transfer coding other than `chunked`.
    #[error("unknown transfer coding")]
    Coding,
    /// A chunk without a proper size line or end.
    #[error("malformed chunk")]
    Chunk,
    /// A body beyond the limit.
    #[error("response body longer than {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// Redis was asked, and the answer is none of its.
    #[error("malformed answer of Redis")]
    Resp,
    /// The connection closed in the middle of a response.
    #[error("connection closed within a response")]
    Truncated,
}

/// A whole response, borrowed from the buffer it arrived in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// The server will not take another request on this connection.
    pub(crate) close: bool,
    /// How many bytes of the buffer this response took, informational ones before it included.
    pub(crate) consumed: usize,
}

impl Response<'_> {
    /// Whether the status is any of the 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// How a body is handed out that need not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As a whole, when it is, or its head has not come yet: no part of it was decoded.
    Whole,
    /// In parts, and more may follow.
    Open,
    /// In parts, of which this was the last.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    /// Offset of the first byte of the body in the buffer.
    body_start: usize,
    framing: Framing,
    close: bool,
}

/// The state of one response in progress. The buffer handed to [`ResponseParser::parse`] always
/// begins at the same byte until the response is complete; then the caller drops what was
/// consumed and calls [`ResponseParser::reset`].
#[derive(Debug, Default)]
pub(crate) struct ResponseParser {
    /// How many answers of Redis make a response; 0 where HTTP is spoken.
    replies: u32,
    head: Option<Head>,
    /// Offset from which the search for the end of the head goes on.
    scanned: usize,
    /// Offset of the response's own head: behind informational ones.
    start: usize,
    /// Chunked only: offset of the next chunk's size line, and the body put together so far.
    chunk_start: usize,
    decoded: Vec<u8>,
}

impl ResponseParser {
    /// From now on so many answers of Redis make a response, or HTTP is spoken where there are none.
    pub(crate) fn speak(&mut self, replies: u32) {
        self.replies = replies;
    }

    /// Makes ready for the next response; keeps the memory of the chunk buffer.
    pub(crate) fn reset(&mut self) {
        self.head = None;
        self.scanned = 0;
        self.start = 0;
        self.chunk_start = 0;
        self.decoded.clear();
    }

    /// How long the buffer will be when the response is whole, where the head has told it.
    pub(crate) fn expected_bytes(&self) -> Option<usize> {
        match self.head {
            Some(Head { framing: Framing::Length(length), body_start, .. }) => {
                Some(body_start + length)
            }
            _ => None,
        }
    }

    /// Takes in what the buffer holds by now: the response when it is whole, `None` when more
    /// bytes are needed. `ended` tells that the server closed its side.
    pub(crate) fn parse<'a>(
        &'a mut self,
        buffer: &'a [u8],
        ended: bool,
    ) -> Result<Option<Response<'a>>, ResponseError> {
        if self.replies > 0 {
            return self.parse_replies(buffer, ended);
        }
        let head = match self.head {
            Some(head) => head,
            None => match self.parse_head(buffer)? {
                Some(head) => head,
                None if ended => return Err(ResponseError::Truncated),
                None => return Ok(None),
            },
        };
        self.head = Some(head);
        let rest = buffer.get(head.body_start..).unwrap_or_default();
        let (body, consumed, close) = match head.framing {
            Framing::Length(length) => match rest.get(..length) {
                Some(body) => (body, head.body_start + length, head.close),
                None if ended => return Err(ResponseError::Truncated),
                None => return Ok(None),
            },
            Framing::UntilClose if rest.len() > BODY_BYTES_MAX => {
                return Err(ResponseError::BodyTooLong);
            }
            Framing::UntilClose if ended => (rest, buffer.len(), true),
            Framing::UntilClose => return Ok(None),
            Framing::Chunked => match self.decode_chunks(buffer)? {
                Some(end) => (self.decoded.as_slice(), end, head.close),
                None if ended => return Err(ResponseError::Truncated),
                None => return Ok(None),
            },
        };
        Ok(Some(Response { status: head.status, body, close, consumed }))
    }

    /// Answers of Redis: 200 with their text, or 500 when one of them is an error.
    fn parse_replies<'a>(
        &self,
        buffer: &'a [u8],
        ended: bool,
    ) -> Result<Option<Response<'a>>, ResponseError> {
        if buffer.len() > BODY_BYTES_MAX {
            return Err(ResponseError::BodyTooLong);
        }
        match resp::replies(buffer, self.replies).map_err(|_| ResponseError::Resp)? {
            Some(Replies { end, failed }) => {
                let status = if failed { 500 } else { 200 };
                let body = buffer.get(..end).unwrap_or_default();
                Ok(Some(Response { status, body, close: false, consumed: end }))
            }
            None if ended => Err(ResponseError::Truncated),
            None => Ok(None),
        }
    }

    /// Takes in what the buffer holds of a body that need not end, and drops from the buffer what
    /// was decoded: that is [`ResponseParser::part`] until the next call. Only a success whose
    /// body comes in chunks is handed out in parts.
    pub(crate) fn parse_part(&mut self, buffer: &mut Vec<u8>) -> Result<Delivery, ResponseError> {
        if self.head.is_none() {
            self.head = self.parse_head(buffer)?;
        }
        self.decoded.clear();
        let Some(head) = self.head else { return Ok(Delivery::Whole) };
        if head.framing != Framing::Chunked || !(200..300).contains(&head.status) {
            return Ok(Delivery::Whole);
        }
        let ended = self.decode_chunks(buffer)?.is_some();
        buffer.drain(..self.chunk_start);
        self.chunk_start = 0;
        Ok(if ended { Delivery::Ended } else { Delivery::Open })
    }

    /// The part of a body that was decoded last.
    pub(crate) fn part(&self) -> &[u8] {
        &self.decoded
    }

    /// Finds and reads the head, passing over informational responses.
    fn parse_head(&mut self, buffer: &[u8]) -> Result<Option<Head>, ResponseError> {
        loop {
            let from = self.scanned.saturating_sub(3).max(self.start);
            let unseen = buffer.get(from..).unwrap_or_default();
            let Some(found) = memmem::find(unseen, b"\r\n\r\n") else {
                if buffer.len() - self.start > HEAD_BYTES_MAX {
                    return Err(ResponseError::HeadTooLong);
                }
                self.scanned = buffer.len();
                return Ok(None);
            };
            let end = from + found + 4;
            let head = read_head(buffer, self.start..end)?;
            if !(100..200).contains(&head.status) {
                self.chunk_start = end;
                return Ok(Some(head));
            }
            self.start = end;
            self.scanned = end;
        }
    }

    /// Decodes every chunk that is whole; the offset behind the last one once it is there.
    fn decode_chunks(&mut self, buffer: &[u8]) -> Result<Option<usize>, ResponseError> {
        loop {
            let rest = buffer.get(self.chunk_start..).unwrap_or_default();
            let Some((line, size)) = chunk_size(rest)? else { return Ok(None) };
            if size == 0 {
                return Ok(trailers_end(rest, line)?.map(|end| self.chunk_start + end));
            }
            if self.decoded.len() + size > BODY_BYTES_MAX {
                return Err(ResponseError::BodyTooLong);
            }
            let Some(data) = rest.get(line..line + size) else { return Ok(None) };
            match rest.get(line + size..line + size + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ResponseError::Chunk),
                None => return Ok(None),
            }
            self.decoded.extend_from_slice(data);
            self.chunk_start += line + size + 2;
        }
    }
}

/// The length of a chunk's size line with its end, and the size; `None` while it is incomplete.
fn chunk_size(rest: &[u8]) -> Result<Option<(usize, usize)>, ResponseError> {
    let Some(end) = memmem::find(rest, b"\r\n") else {
        if rest.len() > CHUNK_LINE_BYTES_MAX {
            return Err(ResponseError::Chunk);
        }
        return Ok(None);
    };
    let line = rest.get(..end).unwrap_or_default();
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(ResponseError::Chunk);
    }
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or(ResponseError::Chunk)?;
    Ok(Some((end + 2, size)))
}

/// The offset behind the empty line that closes the trailers, which begin at `from`.
fn trailers_end(rest: &[u8], from: usize) -> Result<Option<usize>, ResponseError> {
    let trailers = rest.get(from..).unwrap_or_default();
    if trailers.starts_with(b"\r\n") {
        return Ok(Some(from + 2));
    }
    match memmem::find(trailers, b"\r\n\r\n") {
        Some(end) => Ok(Some(from + end + 4)),
        None if trailers.len() > HEAD_BYTES_MAX => Err(ResponseError::HeadTooLong),
        None => Ok(None),
    }
}

/// Reads the head that fills `range` of the buffer.
fn read_head(buffer: &[u8], range: Range<usize>) -> Result<Head, ResponseError> {
    let body_start = range.end;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let status =
        parsed.parse(buffer.get(range).unwrap_or_default()).map_err(ResponseError::Head)?;
    if status.is_partial() {
        return Err(ResponseError::Head(httparse::Error::Status));
    }
    let status = parsed.code.unwrap_or_default();
    let mut close = parsed.version == Some(0);
    let mut length: Option<usize> = None;
    let mut chunked = false;
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        // Comparing the length of the name first skips most headers without looking at them.
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                let number = decimal(value).ok_or(ResponseError::Length)?;
                if length.replace(number).is_some_and(|earlier| earlier != number) {
                    return Err(ResponseError::Length);
                }
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::Coding);
                }
                chunked = true;
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                if value.eq_ignore_ascii_case(b"close") {
                    close = true;
                } else if value.eq_ignore_ascii_case(b"keep-alive") {
                    close = false;
                }
            }
            _ => {}
        }
    }
    let framing = match (status, chunked, length) {
        (100..200 | 204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) if length > BODY_BYTES_MAX => {
            return Err(ResponseError::BodyTooLong);
        }
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilClose,
    };
    Ok(Head { status, body_start, framing, close })
}

/// A decimal number of at most eighteen digits, nothing else.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0usize, |number, &digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = Result<(u16, Vec<u8>, bool, usize), ResponseError>;

    /// Feeds `bytes` in pieces that end at `cuts`, then the end of the stream.
    fn feed(bytes: &[u8], cuts: &[usize]) -> Outcome {
        let mut parser = ResponseParser::default();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        for end in ends {
            if let Some(response) = parser.parse(&bytes[..end], false)? {
                return Ok(owned(&response));
            }
        }
        parser.parse(bytes, true)?.map(|response| owned(&response)).ok_or(ResponseError::Truncated)
    }

    fn owned(response: &Response<'_>) -> (u16, Vec<u8>, bool, usize) {
        (response.status, response.body.to_vec(), response.close, response.consumed)
    }

    const LENGTH: &[u8] =
        b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\nLocation: /changes/7\r\n\r\n{\"_id\":7}";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: a\r\n\r\n";
    const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    const CONTINUED: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nto the end";

    proptest! {
        #[test]
        fn any_split_gives_the_same_response(cuts in prop::collection::vec(0usize..400, 0..8)) {
            prop_assert_eq!(
                feed(LENGTH, &cuts),
                Ok((201, b"{\"_id\":7}".to_vec(), false, LENGTH.len()))
            );
            prop_assert_eq!(
                feed(CHUNKED, &cuts),
                Ok((200, b"hello world".to_vec(), false, CHUNKED.len()))
            );
            prop_assert_eq!(feed(EMPTY, &cuts), Ok((204, Vec::new(), true, EMPTY.len())));
            prop_assert_eq!(
                feed(CONTINUED, &cuts),
                Ok((200, b"ok".to_vec(), false, CONTINUED.len()))
            );
            prop_assert_eq!(
                feed(UNTIL_CLOSE, &cuts),
                Ok((200, b"to the end".to_vec(), true, UNTIL_CLOSE.len()))
            );
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0usize..300, 0..4),
        ) {
            let mut headed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            headed.extend_from_slice(&bytes);
            let whole = feed(&headed, &[]);
            prop_assert_eq!(feed(&headed, &cuts), whole);
            let _ = feed(&bytes, &cuts);
        }
    }

    #[test]
    fn a_body_is_handed_out_in_parts_as_its_chunks_come() {
        for size in 1..CHUNKED.len() {
            let (mut parser, mut buffer) = (ResponseParser::default(), Vec::new());
            let (mut body, mut ended) = (Vec::new(), false);
            for piece in CHUNKED.chunks(size) {
                buffer.extend_from_slice(piece);
                let delivery = parser.parse_part(&mut buffer).expect("valid");
                body.extend_from_slice(parser.part());
                ended |= delivery == Delivery::Ended;
            }
            assert_eq!((body.as_slice(), ended), (&b"hello world"[..], true), "{size}");
        }
        let mut parser = ResponseParser::default();
        assert_eq!(parser.parse_part(&mut LENGTH.to_vec()), Ok(Delivery::Whole));
    }

    #[test]
    fn bytes_behind_a_response_are_not_taken() {
        let two = [LENGTH, LENGTH].concat();
        let mut parser = ResponseParser::default();
        let first = parser.parse(&two, false).expect("valid").expect("whole");
        assert_eq!(first.consumed, LENGTH.len());
    }

    #[test]
    fn broken_responses_are_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"[..], ResponseError::Length),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                ResponseError::Length,
            ),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", ResponseError::Truncated),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ResponseError::Coding),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", ResponseError::Chunk),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
                ResponseError::Chunk,
            ),
            (b"HTTP/1.1 2", ResponseError::Truncated),
        ] {
            assert_eq!(feed(bytes, &[]), Err(error), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(matches!(feed(b"SSH-2.0-x\r\n\r\n", &[]), Err(ResponseError::Head(_))));
        let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert_eq!(feed(&endless, &[]), Err(ResponseError::HeadTooLong));
    }
}
