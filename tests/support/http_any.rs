//! Feeds any bytes in any pieces to an HTTP connection and checks what must
//! hold for all of them. Plain, so that a fuzzer and a property test share it.

use changeagent::{
    base::limits::Limits,
    http::{Connection, Context, DateText, Event, ProtocolError, Request, Response},
};
use std::{rc::Rc, time::Instant};

/// The first bytes choose the pieces, up to this many.
const LENGTHS: usize = 4;

/// What a caller can see of a request, or why there was none.
#[derive(Debug, PartialEq)]
enum Outcome {
    Request { line: String, parts: Vec<String>, body: Vec<u8> },
    Refused(ProtocolError),
}

/// Takes the lengths of the pieces from the start of `input` and feeds what
/// follows twice: in one piece and in many.
///
/// # Panics
/// When the outcomes differ, or when the connection is still open after the
/// client's last byte.
pub(crate) fn feed(input: &[u8]) {
    let (lengths, raw) = input.split_at(input.len().min(LENGTHS));
    let whole = outcomes(raw, &[usize::MAX]);
    let lengths: Vec<usize> = lengths.iter().map(|&length| usize::from(length) + 1).collect();
    if !raw.is_empty() {
        assert_eq!(outcomes(raw, &lengths), whole);
    }
}

fn outcomes(raw: &[u8], lengths: &[usize]) -> Vec<Outcome> {
    let limits = Limits { head_bytes: 512, headers: 8, body_bytes: 256, ..Limits::default() };
    let context = Rc::new(Context::new(limits, DateText::from_unix_seconds(0)));
    let now = Instant::now();
    let mut connection = Connection::new(context, now);
    let mut outcomes = Vec::new();
    let mut rest = raw;
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        connection.receive(piece);
        settle(&mut connection, now, &mut outcomes);
        rest = after;
    }
    connection.received_eof();
    settle(&mut connection, now, &mut outcomes);
    assert!(connection.is_closed(), "open after the end");
    outcomes
}

/// Answers every request and writes every answer at once.
fn settle(connection: &mut Connection, now: Instant, outcomes: &mut Vec<Outcome>) {
    loop {
        while let Some(slices) = connection.poll_transmit() {
            let count = slices.iter().map(|slice| slice.len()).sum();
            connection.transmitted(count, now);
        }
        match connection.poll_event(now) {
            Some(Event::Request(request)) => {
                outcomes.push(seen(&request));
                connection.respond(Response::json(200, "{}"), now);
            }
            Some(Event::Asking) => connection.proceed(now),
            Some(Event::Refused(error)) => outcomes.push(Outcome::Refused(error)),
            Some(Event::PeerClosed) => {}
            None if connection.poll_transmit().is_none() => return,
            None => {}
        }
    }
}

fn seen(request: &Request) -> Outcome {
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
