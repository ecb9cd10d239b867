//! What a request looks like to the caller.

use super::*;
use crate::http::Method;
use std::mem::size_of;

#[test]
fn a_request_with_all_its_parts() {
    let seen = request(
        "POST /tenants/f%2Fo/changes?since=1&tag=a+b HTTP/1.1\r\nHost: h:80\r\ncontent-type: application/json\r\nX-Empty:\r\nX-Space: \t a b \t\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
    );
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.target, "/tenants/f%2Fo/changes?since=1&tag=a+b");
    assert_eq!(seen.segments, ["tenants", "f/o", "changes"]);
    assert_eq!(seen.query, [("since".into(), "1".into()), ("tag".into(), "a b".into())]);
    assert_eq!(seen.host.as_deref(), Some("h:80"));
    assert_eq!(seen.body, b"{\"a\":1}");
    assert!(seen.keep_alive);
    assert_eq!(seen.headers[2], ("X-Empty".into(), b"".to_vec()));
    assert_eq!(seen.headers[3], ("X-Space".into(), b"a b".to_vec()));
}

#[test]
fn headers_are_found_whatever_their_case() {
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(
        b"GET / HTTP/1.1\r\nhOST: a\r\nCONTENT-TYPE: t\r\nIf-Match: \"1\"\r\nif-match: \"2\"\r\nX: \xff\r\n\r\n",
    );
    let Some(Event::Request(request)) = bench.connection.poll_event(bench.now) else { panic!() };
    assert_eq!(request.header("if-MATCH"), Some(&b"\"1\""[..]));
    assert_eq!(request.header("Content-Type"), Some(&b"t"[..]));
    assert_eq!(request.content_type(), Some(&b"t"[..]));
    assert_eq!(request.header("x"), Some(&b"\xff"[..]));
    assert_eq!(request.header("absent"), None);
    assert_eq!(request.host(), Some("a"));
}

#[test]
fn methods() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("get", Method::Other),
        ("TRACE", Method::Other),
        ("BREW", Method::Other),
        ("M-SEARCH", Method::Other),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.connection.receive(format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let Some(Event::Request(request)) = bench.connection.poll_event(bench.now) else {
            panic!()
        };
        assert_eq!((request.method(), request.method_name()), (method, name));
    }
}

#[test]
fn target_forms() {
    let seen = request("GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((seen.host.as_deref(), seen.segments), (Some("b:1"), vec!["x".to_owned()]));
    let seen = request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((seen.host.as_deref(), seen.segments.len()), (Some("a"), 0));
    let seen = request("CONNECT b:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((seen.host.as_deref(), seen.segments.len()), (Some("b:80"), 0));
}

#[test]
fn one_empty_line_may_come_first() {
    assert_eq!(outcomes(b"\r\n"), []);
    assert_eq!(request("\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n").target, "/x");
    let twice = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    assert_eq!(outcomes(twice.as_bytes()).len(), 2);
}

#[test]
fn bodies() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (rest, body) in [
        ("\r\n", ""),
        ("Content-Length: 0\r\n\r\n", ""),
        ("Content-Length: 003\r\n\r\nabc", "abc"),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
        ("Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\n",
            "a0123456789",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n1;x=\"y\"\r\na\r\n1 \t; z\r\nb\r\n0;end\r\n\r\n", "ab"),
        (
            "Transfer-Encoding: chunked\r\n\r\n1;a;b\t= c ;d=\"\";e=\"f\\\";\u{fc} g\"\r\na\r\n0;!\r\n\r\n",
            "a",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", "a"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    ] {
        let seen = request(&format!("{post}{rest}"));
        assert_eq!(seen.body, body.as_bytes(), "{rest:?}");
        assert!(seen.headers.iter().all(|(name, _)| name != "X"), "trailers are dropped");
    }
    assert_eq!(request("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na").body, b"a");
}

#[test]
fn a_body_that_came_with_its_head_is_not_copied() {
    let mut bench = Bench::new(Limits::default());
    let raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    bench.connection.receive(raw);
    let end = bench.connection.received.as_ptr_range().end;
    let Some(Event::Request(request)) = bench.connection.poll_event(bench.now) else { panic!() };
    assert_eq!(request.body().as_ptr_range().end, end);
    assert_eq!(request.into_body(), "body");
}

#[test]
fn a_declared_length_alone_costs_no_memory_and_a_body_few_copies() {
    let mut bench = Bench::new(Limits::default());
    bench.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n");
    let (mut held, mut copied) = (0, 0);
    while held < 16_000_000 {
        let before = bench.connection.received.as_ptr();
        let piece = vec![b'x'; (16_000_000 - held).min(64 * 1024)];
        bench.connection.receive(&piece);
        if bench.connection.received.as_ptr() != before {
            copied += held;
        }
        held += piece.len();
        let capacity = bench.connection.received.capacity();
        assert!(capacity <= 4 * held + 64 * 1024, "{capacity} for {held}");
        bench.settle(true);
    }
    assert!(copied <= 16_000_000 / 2, "{copied} bytes were copied once more");
    assert_eq!(bench.requests()[0].body.len(), 16_000_000);
}

#[test]
fn versions_and_persistence() {
    for (head, keep_alive) in [
        ("HTTP/1.1\r\nHost: a\r\n", true),
        ("HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x, Close ,y\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", true),
        ("HTTP/1.2\r\nHost: a\r\n", true),
        ("HTTP/1.9\r\nHost: a\r\nConnection: close\r\n", false),
        ("HTTP/1.0\r\n", false),
        ("HTTP/1.0\r\nConnection: keep-alive\r\n", true),
        ("HTTP/1.0\r\nConnection: Keep-Alive, close\r\n", false),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.feed(format!("GET / {head}\r\n").as_bytes());
        assert_eq!(bench.requests()[0].keep_alive, keep_alive, "{head:?}");
        assert_eq!(bench.connection.is_closed(), !keep_alive, "{head:?}");
        let close = bench.sent_text().contains("\r\nConnection: close\r\n");
        let said = bench.sent_text().contains("\r\nConnection: keep-alive\r\n");
        assert_eq!(close, !keep_alive, "{head:?}");
        assert_eq!(said, keep_alive && head.starts_with("HTTP/1.0"), "{head:?}");
    }
}

#[test]
fn continue_is_sent_when_the_body_is_awaited() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n";
    let mut bench = Bench::new(Limits::default());
    bench.feed(format!("{head}Content-Length: 1\r\n\r\n").as_bytes());
    assert_eq!(bench.take_sent(), "HTTP/1.1 100 Continue\r\n\r\n");
    bench.feed(b"a");
    assert!(bench.take_sent().starts_with("HTTP/1.1 200 OK\r\n"));
    bench.feed(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    assert_eq!(bench.take_sent(), "HTTP/1.1 100 Continue\r\n\r\n");
    bench.feed(b"0\r\n\r\n");
    assert!(bench.take_sent().starts_with("HTTP/1.1 200 OK\r\n"));
    for without in [
        format!("{head}Content-Length: 1\r\n\r\na"),
        format!("{head}Content-Length: 0\r\n\r\n"),
        format!("{head}\r\n"),
        "POST / HTTP/1.1\r\nHost: a\r\nExpect:\r\nContent-Length: 1\r\n\r\na".to_owned(),
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n".to_owned(),
    ] {
        bench.feed(without.as_bytes());
        assert!(!bench.take_sent().contains("100 Continue"), "{without:?}");
    }
    let mut bench = Bench::new(small_limits());
    bench.feed(format!("{head}Content-Length: 65\r\n\r\n").as_bytes());
    assert!(bench.sent_text().starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_client_that_asks_may_be_told_not_to_send_its_body() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    let mut bench = Bench::new(Limits::default());
    bench.connection.receive(head.as_bytes());
    assert!(matches!(bench.connection.poll_event(bench.now), Some(Event::Asking)));
    assert_eq!(bench.connection.asking().map(Request::method), Some(Method::Post));
    assert!(bench.connection.poll_event(bench.now).is_none(), "decided by nobody else");
    bench.connection.decline(Response::json(404, "{}"), bench.now);
    assert!(bench.connection.asking().is_none());
    bench.settle(true);
    assert!(bench.sent_text().starts_with("HTTP/1.1 404 Not Found\r\n"), "{}", bench.sent_text());
    assert!(bench.sent_text().contains("\r\nConnection: close\r\n"));
    // The body that comes nevertheless is not taken for a request.
    bench.feed(b"xGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(bench.outcomes, []);
    // To decide twice, or without being asked, does nothing.
    bench.connection.proceed(bench.now);
    bench.connection.decline(Response::json(404, "{}"), bench.now);
    assert!(bench.connection.poll_transmit().is_none());
}

#[test]
fn a_client_that_asks_and_leaves_is_let_go() {
    let mut bench = Bench::new(Limits::default());
    bench.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    bench.eof();
    assert_eq!(bench.outcomes, [Outcome::Refused(ProtocolError::Incomplete)]);
    assert!(bench.connection.is_closed());
}

#[test]
fn a_parked_connection_is_small_and_holds_no_buffer() {
    assert!(size_of::<Connection>() < 300, "{}", size_of::<Connection>());
    let mut bench = Bench::new(Limits::default());
    for parked in [false, true] {
        bench.connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        bench.settle(!parked);
        assert_eq!(bench.connection.received.capacity(), 0);
        assert_eq!(bench.connection.queue.bytes(), 0);
        assert!(bench.connection.wants_read(), "so that a client that leaves is noticed");
    }
    assert_eq!(bench.connection.poll_timeout(), None);
}
