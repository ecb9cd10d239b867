//! Slow clients are cut off, each by the clock of what it is doing.

use super::*;
use crate::base::limits::{LINGER_TIMEOUT, WRITE_WINDOW_BYTES};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

impl Bench {
    /// Lets time pass; time-outs come when they are due.
    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(due) = self.connection.poll_timeout().filter(|&due| due <= end) {
            self.now = due;
            self.connection.handle_timeout(due);
            self.settle(false);
        }
        self.now = end;
        self.settle(false)
    }
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let limits = Limits::default();
    for requests in 0..2 {
        let mut bench = Bench::new(limits.clone());
        bench.pass(SECOND).feed(&GET.repeat(requests)).take_sent();
        let spent = if requests == 0 { 2 * SECOND } else { SECOND };
        bench.pass(limits.idle_timeout - spent);
        assert!(!bench.connection.is_closed());
        bench.pass(SECOND);
        assert!(bench.connection.is_closed());
        assert!(bench.sent.is_empty());
    }
}

#[test]
fn an_empty_line_alone_is_no_request() {
    for pieces in [&["\r\n"][..], &["\r", "\n"]] {
        let limits = Limits::default();
        let mut bench = Bench::new(limits.clone());
        for piece in pieces {
            bench.feed(piece.as_bytes());
        }
        bench.pass(limits.idle_timeout);
        assert!(bench.outcomes.is_empty() && bench.sent.is_empty());
        assert!(bench.connection.is_closed());
    }
}

#[test]
fn a_head_that_drips_is_refused() {
    let mut bench = Bench::new(Limits::default());
    bench.pass(5 * SECOND);
    let mut seconds = 0;
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: a long header" {
        bench.feed(&[*byte]).pass(SECOND);
        seconds += 1;
        if !bench.outcomes.is_empty() {
            break;
        }
    }
    assert_eq!(seconds, 10);
    assert_eq!(bench.outcomes, [Outcome::Refused(ProtocolError::Timeout)]);
    assert!(bench.sent_text().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(bench.sent_text().contains("\"code\":\"request-timeout\""));
    assert!(bench.connection.should_shutdown_write());
    bench.pass(LINGER_TIMEOUT);
    assert!(bench.connection.is_closed());
}

#[test]
fn a_body_that_drips_is_refused() {
    for framing in ["Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"] {
        let mut bench = Bench::new(Limits::default());
        bench.feed(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes());
        for _ in 0..59 {
            bench.feed(b"a").pass(SECOND);
        }
        assert!(bench.outcomes.is_empty());
        bench.feed(b"a").pass(SECOND);
        assert_eq!(bench.outcomes, [Outcome::Refused(ProtocolError::Timeout)]);
        assert!(bench.sent_text().starts_with("HTTP/1.1 408 "));
    }
}

#[test]
fn a_request_may_be_answered_late() {
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(GET).pass(3600 * SECOND).respond(Response::new(200));
    assert!(bench.sent_text().starts_with("HTTP/1.1 200 "));
    assert!(!bench.connection.is_closed());
}

/// A connection that has answered with so many bytes, of which none is taken.
fn answered(bytes: usize) -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(GET);
    assert!(bench.connection.poll_event(bench.now).is_some());
    bench.connection.respond(Response::json(200, vec![0; bytes]), bench.now);
    bench
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let mut bench = answered(100);
    bench.now += 30 * SECOND - Duration::from_nanos(1);
    bench.connection.handle_timeout(bench.now);
    assert!(!bench.connection.is_closed());
    bench.now += Duration::from_nanos(1);
    bench.connection.handle_timeout(bench.now);
    assert!(bench.connection.is_closed() && bench.connection.is_broken_off());
    assert_eq!(bench.connection.poll_timeout(), None);
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_connection() {
    let mut bench = answered(10 * WRITE_WINDOW_BYTES);
    for _ in 0..29 {
        bench.now += SECOND;
        bench.connection.handle_timeout(bench.now);
        bench.connection.transmitted(1, bench.now);
        assert!(!bench.connection.is_closed());
    }
    bench.now += SECOND;
    bench.connection.handle_timeout(bench.now);
    assert!(bench.connection.is_closed() && bench.connection.is_broken_off());
}

#[test]
fn a_client_that_takes_enough_has_all_the_time_it_needs() {
    let mut bench = answered(10 * WRITE_WINDOW_BYTES);
    while bench.connection.poll_transmit().is_some() {
        bench.now += 14 * SECOND;
        bench.connection.handle_timeout(bench.now);
        bench.connection.transmitted(WRITE_WINDOW_BYTES / 2, bench.now);
        assert!(!bench.connection.is_closed());
    }
    assert!(!bench.connection.is_broken_off());
}

#[test]
fn the_clock_of_the_next_head_starts_when_the_answer_is_written() {
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(&[GET, b"GET /"].concat());
    assert!(bench.connection.poll_event(bench.now).is_some());
    bench.connection.respond(Response::new(200), bench.now);
    assert!(bench.connection.poll_event(bench.now).is_none());
    bench.now += 20 * SECOND;
    bench.connection.handle_timeout(bench.now);
    bench.settle(false).pass(9 * SECOND);
    assert!(bench.outcomes.is_empty());
    bench.pass(SECOND);
    assert_eq!(bench.outcomes, [Outcome::Refused(ProtocolError::Timeout)]);
}

#[test]
fn an_early_call_does_nothing() {
    let mut bench = Bench::new(Limits::default());
    bench.feed(b"GET");
    let due = bench.connection.poll_timeout().unwrap();
    bench.connection.handle_timeout(due - Duration::from_nanos(1));
    bench.settle(false);
    assert!(bench.outcomes.is_empty() && bench.connection.poll_timeout() == Some(due));
}
