//! Answers of other nodes: heads are parsed here, bodies by the decoder of requests.

use bytes::Bytes;

use crate::http::BodyLength;

/// The longest head that is read, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;
/// Header lines of one answer.
const HEADERS_MAX: usize = 64;

/// An answer of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names and values, in order; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The whole body, decoded.
    pub body: Bytes,
}

impl Answer {
    /// The value of the first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The same as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Length(BodyLength),
    /// With the connection.
    Close,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Without its body.
    pub(super) answer: Answer,
    pub(super) ending: Ending,
    /// The connection may be used for another request.
    pub(super) keeps: bool,
    /// Its length.
    pub(super) bytes: usize,
}

/// The final head that `bytes` begin with; nothing while it is not complete. `to_head` says that the
/// answer is one to `HEAD`.
pub(super) fn head(bytes: &[u8], to_head: bool) -> Result<Option<Head>, String> {
    let mut skipped = 0;
    loop {
        let rest = bytes.get(skipped..).unwrap_or_default();
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("it answers no HTTP: {error}")),
        };
        let status = parsed.code.unwrap_or_default();
        if (100..200).contains(&status) {
            skipped += length;
            continue;
        }
        let text = |field: &httparse::Header<'_>| {
            let value = std::str::from_utf8(field.value).ok()?;
            Some((field.name.to_owned(), value.trim().to_owned()))
        };
        let headers = parsed.headers.iter().filter_map(text).collect();
        let answer = Answer { status, headers, body: Bytes::new() };
        let ending = ending(&answer, to_head)?;
        let closes = answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let keeps = parsed.version == Some(1) && !closes && ending != Ending::Close;
        return Ok(Some(Head { answer, ending, keeps, bytes: skipped + length }));
    }
}

fn ending(answer: &Answer, to_head: bool) -> Result<Ending, String> {
    if to_head || matches!(answer.status, 204 | 304) {
        return Ok(Ending::Length(BodyLength::Known(0)));
    }
    match (answer.header("transfer-encoding"), answer.header("content-length")) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
            Ok(Ending::Length(BodyLength::Chunked))
        }
        (Some(coding), _) => Err(format!("it answers in the transfer coding {coding:?}")),
        (None, Some(length)) => {
            let length = length.parse().map_err(|_| "it does not say how long its answer is")?;
            Ok(Ending::Length(BodyLength::Known(length)))
        }
        (None, None) => Ok(Ending::Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Head {
        head(text.as_bytes(), false).unwrap().unwrap()
    }

    #[test]
    fn a_head_says_how_the_body_ends_and_whether_the_connection_goes_on() {
        let text = "HTTP/1.1 201 Created\r\ncontent-LENGTH: 9\r\nX: \t a b \r\n\r\nrest";
        let known = parsed(text);
        assert_eq!(known.answer.status, 201);
        assert_eq!(known.answer.header("x"), Some("a b"));
        assert_eq!(known.answer.number("Content-Length"), Some(9));
        assert_eq!(known.ending, Ending::Length(BodyLength::Known(9)));
        assert_eq!((known.keeps, known.bytes), (true, text.len() - 4));
        for cut in 0..text.len() - 4 {
            assert_eq!(head(&text.as_bytes()[..cut], false), Ok(None), "{cut}");
        }
        let chunked = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(chunked.ending, Ending::Length(BodyLength::Chunked));
        let closing = parsed("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n");
        assert!(!closing.keeps);
        let ends = parsed("HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!((ends.ending, ends.keeps), (Ending::Close, false));
        let none = parsed("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!((none.ending, none.keeps), (Ending::Length(BodyLength::Known(0)), true));
        let to_head = head(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true);
        assert_eq!(to_head.unwrap().unwrap().ending, Ending::Length(BodyLength::Known(0)));
    }

    #[test]
    fn what_comes_before_the_answer_is_passed_over() {
        let found =
            parsed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
        assert_eq!(found.answer.status, 200);
        assert_eq!(head(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", false), Ok(None));
    }

    #[test]
    fn what_is_open_to_doubt_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert!(head(text.as_bytes(), false).is_err(), "{text:?}");
        }
    }
}
