//! Any bytes, in any pieces, are understood alike and survived.

use std::{rc::Rc, time::Instant};

use super::{Connection, Context, DateText, Event, ProtocolError, Request, Response};
use crate::base::limits::Limits;

/// The first bytes choose the pieces, up to this many.
const LENGTHS: usize = 4;

/// What a caller can see of a request, or why there was none.
#[derive(Debug, PartialEq)]
enum Outcome {
    Request { line: String, parts: Vec<String>, body: Vec<u8> },
    Refused(ProtocolError),
}

/// Takes the lengths of the pieces from the start of `input` and feeds what
/// follows to a connection three times: in one piece, in many, and in many whose
/// answers are taken in pieces too.
///
/// # Panics
/// When the outcomes differ, or when the connection is still open after the
/// client's last byte.
pub fn http(input: &[u8]) {
    let (lengths, raw) = input.split_at(input.len().min(LENGTHS));
    let (whole, _) = run(raw, &[usize::MAX], usize::MAX);
    let lengths: Vec<usize> = lengths.iter().map(|&length| usize::from(length) + 1).collect();
    let Some(&first) = lengths.first() else { return };
    let (outcomes, sent) = run(raw, &lengths, usize::MAX);
    assert_eq!(outcomes, whole);
    assert_eq!(run(raw, &lengths, first), (outcomes, sent), "taken in pieces of {first}");
}

/// What comes of `raw`, and what is answered.
fn run(raw: &[u8], lengths: &[usize], taken_bytes: usize) -> (Vec<Outcome>, Vec<u8>) {
    let limits = Limits { head_bytes: 512, headers: 8, body_bytes: 256, ..Limits::default() };
    let held_max = limits.head_bytes + limits.body_bytes;
    let context = Rc::new(Context::new(limits, DateText::from_unix_seconds(0)));
    let now = Instant::now();
    let mut client =
        Client { connection: Connection::new(context, now), now, taken_bytes, seen: Vec::new() };
    let mut sent = Vec::new();
    let mut rest = raw;
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        client.connection.receive(piece);
        client.settle(&mut sent);
        assert!(client.connection.held_bytes() <= 2 * (held_max + piece.len()), "held too much");
        rest = after;
    }
    client.connection.received_eof();
    client.settle(&mut sent);
    assert!(client.connection.is_closed(), "open after the end");
    (client.seen, sent)
}

struct Client {
    connection: Connection,
    now: Instant,
    /// How much of an answer it takes at once.
    taken_bytes: usize,
    seen: Vec<Outcome>,
}

impl Client {
    /// Answers every request and takes every answer.
    fn settle(&mut self, sent: &mut Vec<u8>) {
        let Self { connection, now, taken_bytes, seen } = self;
        loop {
            while let Some(slices) = connection.poll_transmit() {
                let before = sent.len();
                slices.iter().for_each(|slice| sent.extend_from_slice(slice));
                let count = (sent.len() - before).min(*taken_bytes);
                sent.truncate(before + count);
                connection.transmitted(count, *now);
            }
            match connection.poll_event(*now) {
                Some(Event::Request(request)) => {
                    seen.push(outcome(&request));
                    connection.respond(Response::json(200, "{}"), *now);
                }
                Some(Event::Asking) => connection.proceed(*now),
                Some(Event::Refused(error)) => seen.push(Outcome::Refused(error)),
                Some(Event::PeerClosed) => {}
                None if connection.poll_transmit().is_none() => return,
                None => {}
            }
        }
    }
}

fn outcome(request: &Request) -> Outcome {
    let mut parts: Vec<String> = request.path_segments().iter().map(|&s| s.to_owned()).collect();
    parts.extend(request.query().map(|(name, value)| format!("{name}={value}")));
    parts.extend(request.headers().map(|(name, value)| format!("{name}: {value:?}")));
    let line = format!(
        "{} {} {:?} {} {:?}",
        request.method_name(),
        request.target(),
        request.version(),
        request.keep_alive(),
        request.host()
    );
    Outcome::Request { line, parts, body: request.body().to_vec() }
}

/// The request of a client that sent this head, if it is one; whatever follows is
/// nothing to it.
pub(crate) fn request(head: &[u8]) -> Option<Box<Request>> {
    let context = Rc::new(Context::new(Limits::default(), DateText::from_unix_seconds(0)));
    let now = Instant::now();
    let mut connection = Connection::new(context, now);
    connection.receive(head);
    match connection.poll_event(now)? {
        Event::Request(request) => Some(request),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::http;
    use proptest::{collection::vec, prelude::*, sample::select};

    /// What messages, good and bad, are made of.
    const TOKENS: &[&[u8]] = &[
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"OPTIONS ",
        b"/",
        b"/a%2Fb?c=d+e",
        b"*",
        b"http://h:1/x",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Host: a\r\n",
        b"Host: ",
        b"Content-Length: ",
        b"5",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"5;x=y\r\n",
        b"hello",
        b": ",
        b" ",
        b"\t",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn arbitrary_bytes(input in vec(any::<u8>(), 0..1000)) {
            http(&input);
        }

        #[test]
        fn arbitrary_tokens(lengths in any::<[u8; 4]>(), tokens in vec(select(TOKENS), 0..40)) {
            http(&[&lengths[..], &tokens.concat()].concat());
        }
    }
}
