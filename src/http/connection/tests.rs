//! The rules of HTTP/1.1 as this server keeps them, shown by raw bytes.

mod account;
mod answers;
mod properties;
mod refusals;
mod requests;
mod timeouts;

use std::rc::Rc;

use super::*;
use crate::{
    base::limits::{LINGER_BYTES, Limits},
    http::{Context, DateText, Request, Response},
};

/// What the tests compare of a request: everything a caller can see.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
    host: Option<String>,
    keep_alive: bool,
    body: Vec<u8>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            method: request.method_name().to_owned(),
            target: request.target().to_owned(),
            segments: request.path_segments().iter().map(|&text| text.to_owned()).collect(),
            query: request.query().map(own).collect(),
            headers: request
                .headers()
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            host: request.host().map(str::to_owned),
            keep_alive: request.keep_alive(),
            body: request.body().to_vec(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Request(Seen),
    Refused(ProtocolError),
    PeerClosed,
}

/// A connection with a client and a server that answers at once.
struct Bench {
    connection: Connection,
    now: Instant,
    outcomes: Vec<Outcome>,
    sent: Vec<u8>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let context = Rc::new(Context::new(limits, DateText::from_unix_seconds(0)));
        Self {
            connection: Connection::new(context, now),
            now,
            outcomes: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Feeds bytes and lets every request be answered and written at once.
    fn feed(&mut self, bytes: &[u8]) -> &mut Self {
        self.connection.receive(bytes);
        self.settle(true)
    }

    /// Bytes of requests held.
    fn held_bytes(&self) -> usize {
        let received = self.connection.received.len();
        match &self.connection.phase {
            Phase::Body { body, .. } => received + body.held_bytes(),
            _ => received,
        }
    }

    /// Feeds bytes, and answers nothing.
    fn feed_only(&mut self, bytes: &[u8]) -> &mut Self {
        self.connection.receive(bytes);
        self.settle(false)
    }

    fn eof(&mut self) -> &mut Self {
        self.connection.received_eof();
        self.settle(true)
    }

    fn settle(&mut self, answer: bool) -> &mut Self {
        loop {
            match self.connection.poll_event(self.now) {
                Some(Event::Request(request)) => {
                    self.outcomes.push(Outcome::Request(Seen::of(&request)));
                    if answer {
                        self.connection.respond(Response::json(200, "{}"), self.now);
                    }
                }
                Some(Event::Asking) => self.connection.proceed(self.now),
                Some(Event::Refused(error)) => self.outcomes.push(Outcome::Refused(error)),
                Some(Event::PeerClosed) => self.outcomes.push(Outcome::PeerClosed),
                None if self.write() => {}
                None => return self,
            }
        }
    }

    fn respond(&mut self, response: Response) -> &mut Self {
        self.connection.respond(response, self.now);
        self.settle(false)
    }

    /// Writes all that is queued; true when there was something.
    fn write(&mut self) -> bool {
        let mut any = false;
        while let Some(slices) = self.connection.poll_transmit() {
            let bytes = slices.concat();
            assert!(!bytes.is_empty());
            self.sent.extend_from_slice(&bytes);
            self.connection.transmitted(bytes.len(), self.now);
            any = true;
        }
        any
    }

    fn requests(&self) -> Vec<&Seen> {
        self.outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Request(seen) => Some(seen),
                Outcome::Refused(_) | Outcome::PeerClosed => None,
            })
            .collect()
    }

    fn sent_text(&self) -> &str {
        std::str::from_utf8(&self.sent).unwrap()
    }

    fn take_sent(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }
}

/// Limits small enough to reach.
fn small_limits() -> Limits {
    Limits { head_bytes: 256, headers: 4, body_bytes: 64, ..Limits::default() }
}

fn outcomes(raw: &[u8]) -> Vec<Outcome> {
    std::mem::take(&mut Bench::new(Limits::default()).feed(raw).outcomes)
}

/// The only request in `raw`.
fn request(raw: &str) -> Seen {
    match outcomes(raw.as_bytes()).as_slice() {
        [Outcome::Request(seen)] => seen.clone(),
        other => panic!("{raw:?} gave {other:?}"),
    }
}
