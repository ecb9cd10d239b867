//! What goes back to the client.

use super::*;
use bytes::Bytes;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const DATE: &str = "Cache-Control: no-store\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\n";

#[test]
fn an_answer_in_full() {
    let mut bench = Bench::new(Limits::default());
    let response = Response::json(201, "{\"_id\":123}")
        .with_header("Location", "/changes/123")
        .with_number("ChangeAgent-Last", 123);
    bench.feed_only(GET).respond(response);
    let expected = format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 11\r\n{DATE}Location: /changes/123\r\nChangeAgent-Last: 123\r\n\r\n{{\"_id\":123}}"
    );
    assert_eq!(bench.sent_text(), expected);
}

#[test]
fn common_headers_and_date_come_from_the_context() {
    let context = Context::new(Limits::default(), DateText::from_unix_seconds(0))
        .with_common_headers(|fields| {
            fields.text("ChangeAgent-Cluster", "x");
            fields.number("ChangeAgent-Last", 7);
        });
    let context = Rc::new(context);
    let mut bench = Bench::new(Limits::default());
    bench.connection = Connection::new(Rc::clone(&context), bench.now);
    context.set_date(DateText::from_unix_seconds(1));
    bench.feed(GET).feed(b"bad\r\n\r\n");
    let common = "Date: Thu, 01 Jan 1970 00:00:01 GMT\r\nX-Content-Type-Options: nosniff\r\nChangeAgent-Cluster: x\r\nChangeAgent-Last: 7\r\n";
    assert_eq!(bench.sent_text().matches(common).count(), 2, "{}", bench.sent_text());
}

#[test]
fn bodiless_answers() {
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").respond(Response::json(200, "{}"));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    assert_eq!(bench.take_sent(), format!("{head}{DATE}\r\n"));
    bench.feed_only(GET).respond(Response::new(204));
    assert_eq!(bench.take_sent(), format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n"));
    bench.feed_only(GET).respond(Response::json(304, "{}").with_header("ETag", "\"1\""));
    assert!(bench.take_sent().ends_with(&format!("{DATE}ETag: \"1\"\r\n\r\n")));
    bench.feed_only(GET).respond(Response::new(404));
    assert!(bench.take_sent().contains("\r\nContent-Length: 0\r\n"));
    assert!(!bench.connection.is_closed());
}

#[test]
fn a_large_body_is_sent_from_where_it_is() {
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(GET);
    assert!(bench.connection.poll_event(bench.now).is_some());
    let body = Bytes::from(vec![b'x'; 100_000]);
    bench.connection.respond(Response::json(200, body.clone()), bench.now);
    let slices = bench.connection.poll_transmit().unwrap();
    assert_eq!(slices.len(), 2);
    assert_eq!(slices[1].as_ptr_range(), body.as_ptr_range());
    bench.settle(false);
    assert!(bench.sent.ends_with(&body));
    bench.connection.receive(GET);
    assert!(bench.connection.poll_event(bench.now).is_some());
    bench.connection.respond(Response::json(200, vec![b'x'; 1000]), bench.now);
    assert_eq!(bench.connection.poll_transmit().unwrap().len(), 1, "one write sends both");
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let mut bench = Bench::new(Limits::default());
    let many: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    bench.feed_only(many.as_bytes());
    for n in 0..20 {
        assert_eq!(bench.requests().len(), n + 1);
        assert_eq!(bench.requests()[n].target, format!("/{n}"));
        assert!(bench.sent.is_empty());
        bench.respond(Response::json(200, n.to_string()));
        assert!(bench.take_sent().ends_with(&format!("\r\n\r\n{n}")));
    }
    // Without a request there is nothing to answer.
    bench.respond(Response::new(200));
    assert!(bench.sent.is_empty());
}

#[test]
fn a_client_that_does_not_read_gets_no_further_request_taken_up() {
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(&GET.repeat(10));
    let mut answered = 0;
    while let Some(Event::Request(_)) = bench.connection.poll_event(bench.now) {
        bench.connection.respond(Response::json(200, vec![0; 100_000]), bench.now);
        answered += 1;
    }
    assert_eq!(answered, 1);
    assert_eq!(bench.settle(true).requests().len(), 9, "they follow when it has read");
}

#[test]
fn pipelined_bytes_are_bounded() {
    let mut bench = Bench::new(small_limits());
    bench.feed_only(GET);
    let mut fed = 0;
    while bench.connection.wants_read() {
        bench.feed_only(GET);
        fed += GET.len();
        assert!(fed < 256 + GET.len());
    }
    while bench.held_bytes() > 0 {
        bench.respond(Response::new(200));
    }
    assert!(bench.connection.wants_read());
}

#[test]
fn closing_after_an_answer() {
    // The client did not ask for it: it gets time to read.
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(GET).respond(Response::new(200).with_close());
    assert!(bench.sent_text().contains("\r\nConnection: close\r\n"));
    assert!(bench.connection.should_shutdown_write() && bench.connection.wants_read());
    bench.feed(GET);
    assert_eq!(bench.requests().len(), 1);
    assert!(!bench.connection.is_closed());
    bench.eof();
    assert!(bench.connection.is_closed());
}

#[test]
fn lingering_is_bounded() {
    let mut bench = Bench::new(Limits::default());
    bench.feed(b"bad\r\n\r\n");
    let piece = vec![0; 1024 * 1024];
    let mut left = LINGER_BYTES + piece.len();
    while bench.connection.wants_read() {
        bench.connection.receive(&piece);
        assert_eq!(bench.held_bytes(), 0);
        left = left.checked_sub(piece.len()).unwrap();
    }
    assert!(bench.connection.is_closed());
}

#[test]
fn a_client_that_leaves_is_reported_and_may_still_be_answered() {
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(GET);
    bench.connection.received_eof();
    bench.settle(false);
    assert_eq!(bench.outcomes[1..], [Outcome::PeerClosed]);
    assert!(!bench.connection.wants_read() && !bench.connection.is_closed());
    bench.respond(Response::new(200));
    assert!(bench.sent_text().contains("\r\nConnection: close\r\n"));
    assert!(bench.connection.is_closed());
    // All requests that were sent before are answered.
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(&GET.repeat(3));
    bench.connection.received_eof();
    bench.settle(true);
    assert_eq!(bench.requests().len(), 3);
    assert_eq!(bench.sent_text().matches("HTTP/1.1 200 OK").count(), 3);
    assert!(bench.connection.is_closed());
}

#[test]
fn draining() {
    let mut idle = Bench::new(Limits::default());
    idle.feed(GET);
    idle.connection.drain();
    assert!(idle.connection.is_closed());

    let mut answering = Bench::new(Limits::default());
    answering.feed_only(GET).connection.drain();
    answering.feed_only(GET).respond(Response::new(200));
    assert!(answering.sent_text().contains("\r\nConnection: close\r\n"));
    assert_eq!(answering.requests().len(), 1);
    assert!(answering.connection.should_shutdown_write());

    let mut receiving = Bench::new(Limits::default());
    receiving.feed(&GET[..10]).connection.drain();
    receiving.feed(&GET[10..]);
    assert_eq!(receiving.requests().len(), 1);
    assert!(receiving.sent_text().contains("\r\nConnection: close\r\n"));

    let mut nothing = Bench::new(Limits::default());
    nothing.feed(b"\r").connection.drain();
    assert!(!nothing.connection.is_closed());
    nothing.feed(b"\n");
    assert!(nothing.connection.is_closed() && nothing.sent.is_empty());

    let mut writing = Bench::new(Limits::default());
    writing.connection.receive(GET);
    assert!(writing.connection.poll_event(writing.now).is_some());
    writing.connection.respond(Response::new(200), writing.now);
    writing.connection.drain();
    assert!(!writing.connection.is_closed(), "the answer is still written");
    writing.settle(true);
    assert!(writing.sent_text().starts_with("HTTP/1.1 200 "));
    assert!(writing.connection.should_shutdown_write());
}

fn stream(request: &str, response: Response) -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(request.as_bytes());
    let now = bench.now;
    bench.connection.respond_head(response, now);
    bench.settle(false);
    for chunk in [&b"hello"[..], b"", b"0123456789abcdef"] {
        bench.connection.send_chunk(Bytes::copy_from_slice(chunk), now);
    }
    bench.settle(false);
    bench.connection.finish(now);
    bench.settle(false);
    bench
}

#[test]
fn streams() {
    let response = || Response::new(200).with_content_type("application/x-ndjson");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n";
    let mut bench = stream("GET / HTTP/1.1\r\nHost: a\r\n\r\n", response());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n{DATE}\r\n");
    let body = "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    assert_eq!(bench.take_sent(), format!("{chunked}{body}"));
    bench.feed(GET);
    assert!(bench.sent_text().starts_with("HTTP/1.1 200 "), "the connection goes on");

    let mut bench = stream("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", response());
    assert_eq!(bench.take_sent(), chunked);
    assert_eq!(bench.feed(GET).requests().len(), 2);

    let bench = stream("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", response());
    let expected = format!("{head}Connection: close\r\n{DATE}\r\nhello0123456789abcdef");
    assert_eq!(bench.sent_text(), expected);
    assert!(bench.connection.should_shutdown_write());

    let bench = stream("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Response::new(304));
    assert_eq!(bench.sent_text(), format!("HTTP/1.1 304 Not Modified\r\n{DATE}\r\n"));

    let bench = stream("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", response());
    assert!(bench.sent_text().ends_with(body) && bench.connection.is_closed());
}

#[test]
fn a_stream_tells_its_backlog_and_shares_large_chunks() {
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(GET);
    bench.connection.respond_head(Response::new(200), bench.now);
    bench.settle(false);
    assert_eq!(bench.connection.queued_bytes(), 0);
    let chunk = Bytes::from(vec![b'x'; 10_000]);
    bench.connection.send_chunk(chunk.clone(), bench.now);
    assert_eq!(bench.connection.queued_bytes(), "2710\r\n".len() + 10_000 + "\r\n".len());
    assert_eq!(bench.connection.poll_transmit().unwrap()[1].as_ptr(), chunk.as_ptr());
    // A second answer cannot begin within the first.
    bench.connection.respond(Response::new(500), bench.now);
    bench.connection.respond_head(Response::new(500), bench.now);
    bench.settle(false);
    assert!(!bench.sent_text().contains(" 500 "));
    bench.connection.abort();
    assert!(bench.connection.is_closed());
    assert!(!bench.sent_text().ends_with("0\r\n\r\n"), "the client sees that it is incomplete");
    bench.connection.send_chunk(chunk, bench.now);
    assert_eq!(bench.connection.queued_bytes(), 0);
}
