//! Every message that could be understood in two ways gets `400` and a closed
//! connection; everything too large gets its own status.

use super::*;
use ProtocolError as E;

fn refused(limits: Limits, raw: &[u8], error: ProtocolError) {
    let shown = String::from_utf8_lossy(raw).into_owned();
    let mut bench = Bench::new(limits);
    bench.feed(raw);
    assert_eq!(bench.outcomes, [Outcome::Refused(error)], "{shown:?}");
    let start = format!("HTTP/1.1 {} ", error.status());
    assert!(bench.sent_text().starts_with(&start), "{shown:?} got {:?}", bench.sent_text());
    assert!(bench.sent_text().contains("\r\nConnection: close\r\n"));
    assert!(bench.sent_text().contains("\r\nContent-Type: application/problem+json\r\n"));
    assert!(bench.connection.should_shutdown_write());
    // Nothing that follows on this connection is taken up.
    let sent = bench.sent.len();
    bench.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").eof();
    assert_eq!((bench.outcomes.len(), bench.sent.len()), (1, sent));
    assert!(bench.connection.is_closed());
}

#[test]
fn request_lines() {
    for (line, error) in [
        ("GET / HTTP/2.0", E::Version),
        ("PRI * HTTP/2.0", E::Version),
        ("GET / HTTP/1.", E::Version),
        ("GET / HTTP/1.22", E::Version),
        ("GET / HTTP/1.a", E::Version),
        ("GET /  HTTP/1.2", E::Version),
        ("GET / HTTP/0.9", E::Version),
        ("GET / http/1.1", E::Version),
        ("GET / HTTP/1.1 ", E::RequestLine),
        ("GET /", E::RequestLine),
        ("GET", E::RequestLine),
        (" GET / HTTP/1.1", E::RequestLine),
        ("GET  / HTTP/1.1", E::RequestLine),
        ("GET /  HTTP/1.1", E::Version),
        ("GET\t/ HTTP/1.1", E::RequestLine),
        ("GET /\tHTTP/1.1", E::RequestLine),
        ("G(T / HTTP/1.1", E::RequestLine),
        ("GET /ü HTTP/1.1", E::Target),
        ("GET a HTTP/1.1", E::Target),
        ("GET * HTTP/1.1", E::Target),
        ("CONNECT a HTTP/1.1", E::Target),
        ("CONNECT /a HTTP/1.1", E::Target),
        ("GET /a#b HTTP/1.1", E::Target),
        ("GET /%zz HTTP/1.1", E::TargetEncoding),
        ("GET /?a=%ff HTTP/1.1", E::TargetEncoding),
        ("GET http://u@h/ HTTP/1.1", E::Host),
        ("GET /\0 HTTP/1.1", E::ControlCharacter),
        ("GET /\x7f HTTP/1.1", E::ControlCharacter),
        ("GET / HTTP/1.1\rX", E::LineEnd),
        ("GET / HTTP/1.1\nHost: b", E::LineEnd),
    ] {
        refused(Limits::default(), format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), error);
    }
}

#[test]
fn header_lines() {
    for (lines, error) in [
        ("Host: a\r\nX : y", E::Header),
        ("Host: a\r\nX\t: y", E::Header),
        ("Host: a\r\n: y", E::Header),
        ("Host: a\r\nX", E::Header),
        ("Host: a\r\nX{: y", E::Header),
        ("Host: a\r\nX: y\r\n z", E::FoldedHeader),
        ("Host: a\r\nX: y\r\n\tz", E::FoldedHeader),
        (" Host: a", E::FoldedHeader),
        ("Host: a\r\nX: y\rz", E::LineEnd),
        ("Host: a\r\nX: y\nz: 1", E::LineEnd),
        ("Host: a\nX: y", E::LineEnd),
        ("Host: a\r\r\nX: y", E::LineEnd),
        ("Host: a\r\nX: \0", E::ControlCharacter),
        ("Host: a\r\nX: \x01", E::ControlCharacter),
        ("Host: a\r\nX: \x1b[0m", E::ControlCharacter),
        ("Host: a\r\nX: \x7f", E::ControlCharacter),
        ("Host: a\r\n\x0bX: y", E::ControlCharacter),
        ("X: y", E::HostMissing),
        ("Host: a\r\nHost: a", E::HostRepeated),
        ("Host: a\r\nhost: b", E::HostRepeated),
        ("Host:", E::Host),
        ("Host: \t", E::Host),
        ("Host: a\r\nContent-Type: a/b\r\ncontent-type: a/b", E::ContentTypeRepeated),
        ("Host: a\r\nAuthorization: a\r\nauthorization: a", E::AuthorizationRepeated),
        ("Host: a\r\nAuthorization:\r\nAuthorization: a", E::AuthorizationRepeated),
        ("Host: a b", E::Host),
        ("Host: a,b", E::Host),
        ("Host: a/b", E::Host),
        ("Host: u@a", E::Host),
        ("Host: a:b", E::Host),
        ("Host: [::1", E::Host),
        ("Host: \u{fc}", E::Host),
        ("Host: a\r\nExpect: 200-ok", E::Expectation),
        ("Host: a\r\nExpect: 100-continue, x", E::Expectation),
        ("Host: a\r\nExpect: 100-continue\r\nExpect: y=\"100-continue\"", E::Expectation),
    ] {
        refused(Limits::default(), format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes(), error);
    }
}

#[test]
fn lengths() {
    for (lines, error) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", E::TwoLengths),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", E::TwoLengths),
        ("Content-Length: 1\r\nContent-Length: 2", E::ContentLengthRepeated),
        ("Content-Length: 1\r\ncontent-length: 1", E::ContentLengthRepeated),
        ("Content-Length: 1, 1", E::ContentLength),
        ("Content-Length: 1,2", E::ContentLength),
        ("Content-Length: +5", E::ContentLength),
        ("Content-Length: -5", E::ContentLength),
        ("Content-Length: 0x5", E::ContentLength),
        ("Content-Length: 5 5", E::ContentLength),
        ("Content-Length: 5.0", E::ContentLength),
        ("Content-Length: \u{665}", E::ContentLength),
        ("Content-Length:", E::ContentLength),
        ("Content-Length: 18446744073709551616", E::ContentLength),
        ("Content-Length: 99999999999999999999999", E::ContentLength),
        ("Content-Length: 18446744073709551615", E::BodyTooLarge),
        ("Transfer-Encoding: gzip", E::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", E::TransferCoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", E::TransferCoding),
        ("Transfer-Encoding: x;y=z ,\tCHUNKED", E::TransferCoding),
        ("Transfer-Encoding: chunked, gzip", E::TransferEncoding),
        ("Transfer-Encoding: chunked, gzip, chunked", E::TransferEncoding),
        ("Transfer-Encoding: , chunked", E::TransferEncoding),
        ("Transfer-Encoding: (, chunked", E::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\nContent-Length: 1", E::TwoLengths),
        ("Transfer-Encoding: chunked, chunked", E::TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", E::TransferEncoding),
        ("Transfer-Encoding: \x0cchunked", E::ControlCharacter),
        ("Transfer-Encoding: identity", E::TransferEncoding),
        ("Transfer-Encoding:", E::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", E::TransferEncoding),
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n1\r\na\r\n0\r\n\r\n");
        refused(Limits::default(), raw.as_bytes(), error);
    }
    refused(
        Limits::default(),
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        E::TransferEncoding,
    );
}

#[test]
fn chunks() {
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
    let many_extensions =
        format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100));
    for (body, error) in [
        ("\r\n", E::ChunkSize),
        (";x\r\n", E::ChunkSize),
        ("+1\r\na\r\n", E::ChunkSize),
        ("-1\r\na\r\n", E::ChunkSize),
        ("0x1\r\na\r\n", E::ChunkSize),
        (" 1\r\na\r\n", E::ChunkSize),
        ("1 \r\na\r\n", E::ChunkSize),
        ("1 1\r\na\r\n", E::ChunkSize),
        ("g\r\na\r\n", E::ChunkSize),
        ("1\na\r\n", E::ChunkSize),
        ("1\rx", E::ChunkSize),
        ("1;a\nb\r\na\r\n", E::ChunkSize),
        ("1;\0\r\na\r\n", E::ChunkSize),
        ("1;\r\na\r\n", E::ChunkExtension),
        ("1;;\r\na\r\n", E::ChunkExtension),
        ("1;a;\r\na\r\n", E::ChunkExtension),
        ("1;=\r\na\r\n", E::ChunkExtension),
        ("1;a=\r\na\r\n", E::ChunkExtension),
        ("1;=b\r\na\r\n", E::ChunkExtension),
        ("1;a b\r\na\r\n", E::ChunkExtension),
        ("1;a=b c\r\na\r\n", E::ChunkExtension),
        ("1;a=\"b\r\na\r\n", E::ChunkExtension),
        ("1;a=\"b\\\"\r\na\r\n", E::ChunkExtension),
        ("1;a=\"b\"c\r\na\r\n", E::ChunkExtension),
        ("1;a=b=c\r\na\r\n", E::ChunkExtension),
        ("1;[\r\na\r\n", E::ChunkExtension),
        ("1;a \r\na\r\n", E::ChunkExtension),
        ("1;\"a\"\r\na\r\n", E::ChunkExtension),
        ("1;\u{fc}\r\na\r\n", E::ChunkExtension),
        ("0;[\r\n\r\n", E::ChunkExtension),
        ("10000000000000000\r\n", E::ChunkSize),
        ("fffffffffffffffff\r\n", E::ChunkSize),
        (&long_extension, E::ChunkSize),
        (&many_extensions, E::ChunkSize),
        ("ffffffffffffffff\r\n", E::BodyTooLarge),
        ("1\r\nab\r\n", E::ChunkEnd),
        ("1\r\na\n", E::ChunkEnd),
        ("1\r\na\rx", E::ChunkEnd),
        ("1\r\na0\r\n\r\n", E::ChunkEnd),
        ("0\r\nX: y\nZ: 1\r\n\r\n", E::LineEnd),
        ("0\r\nX : y\r\n\r\n", E::Header),
        ("0\r\nX\r\n\r\n", E::Header),
        ("0\r\nX: y\r\n z\r\n\r\n", E::FoldedHeader),
        ("0\r\n X: y\r\n\r\n", E::Header),
        ("0\r\nX: \0\r\n\r\n", E::ControlCharacter),
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        refused(Limits::default(), raw.as_bytes(), error);
    }
}

#[test]
fn empty_lines_beyond_the_first() {
    refused(Limits::default(), b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::EmptyLine);
    refused(Limits::default(), b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::LineEnd);
}

#[test]
fn heads_beyond_the_limits() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(bytes));
    refused(small_limits(), line(256).as_bytes(), E::UriTooLong);
    refused(small_limits(), "a".repeat(256).as_bytes(), E::MethodTooLong);
    refused(small_limits(), "(".repeat(256).as_bytes(), E::RequestLine);
    let head = format!("{}Host: {}\r\n\r\n", line(10), "a".repeat(256));
    refused(small_limits(), head.as_bytes(), E::HeadersTooLarge);
    let five = format!("{}Host: a\r\n{}\r\n", line(1), "X: y\r\n".repeat(4));
    refused(small_limits(), five.as_bytes(), E::HeadersTooLarge);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let trailers = format!("{chunked}X: {}\r\n\r\n", "a".repeat(256));
    refused(small_limits(), trailers.as_bytes(), E::HeadersTooLarge);
    let trailers = format!("{chunked}{}\r\n", "X: y\r\n".repeat(5));
    refused(small_limits(), trailers.as_bytes(), E::HeadersTooLarge);
}

#[test]
fn a_head_of_exactly_the_limit_is_taken() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let head = format!("{start}{}\r\n\r\n", "a".repeat(256 - 4 - start.len()));
    assert_eq!(head.len(), 256);
    assert_eq!(Bench::new(small_limits()).feed(head.as_bytes()).requests().len(), 1);
    let head = format!("{start}{}\r\n\r\n", "a".repeat(257 - 4 - start.len()));
    refused(small_limits(), head.as_bytes(), E::HeadersTooLarge);
    let four = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(3));
    assert_eq!(Bench::new(small_limits()).feed(four.as_bytes()).requests().len(), 1);
}

#[test]
fn bodies_beyond_the_limit() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let declared = format!("{head}Content-Length: 65\r\n\r\n");
    refused(small_limits(), declared.as_bytes(), E::BodyTooLarge);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    refused(small_limits(), format!("{chunked}41\r\n").as_bytes(), E::BodyTooLarge);
    let one_too_many = format!("{chunked}40\r\n{}\r\n1\r\n", "a".repeat(64));
    refused(small_limits(), one_too_many.as_bytes(), E::BodyTooLarge);
    let exact = format!("{chunked}40\r\n{}\r\n0\r\n\r\n", "a".repeat(64));
    assert_eq!(Bench::new(small_limits()).feed(exact.as_bytes()).requests()[0].body.len(), 64);
    let exact = format!("{head}Content-Length: 64\r\n\r\n{}", "a".repeat(64));
    assert_eq!(Bench::new(small_limits()).feed(exact.as_bytes()).requests()[0].body.len(), 64);
}

#[test]
fn a_request_cut_short_by_the_client() {
    for raw in [
        "G",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.feed(raw.as_bytes()).eof();
        assert_eq!(bench.outcomes, [Outcome::Refused(E::Incomplete)], "{raw:?}");
        assert!(bench.sent_text().starts_with("HTTP/1.1 400 "));
        assert!(bench.connection.is_closed());
    }
    let mut bench = Bench::new(Limits::default());
    bench.eof();
    assert_eq!((bench.outcomes.len(), bench.sent.len()), (0, 0));
    assert!(bench.connection.is_closed());
}

#[test]
fn the_problem_says_what_was_wrong() {
    let mut bench = Bench::new(Limits::default());
    bench.feed(b"GET / HTTP/1.1\r\n\r\n");
    let body = bench.sent_text().split_once("\r\n\r\n").unwrap().1;
    assert_eq!(
        body,
        r#"{"type":"/errors/bad-request","title":"Malformed HTTP request","status":400,"detail":"the header Host is missing","code":"bad-request"}"#
    );
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let mut bench = Bench::new(small_limits());
    bench.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx");
    assert!(bench.sent_text().starts_with("HTTP/1.1 400 "));
    assert!(bench.sent_text().ends_with("\r\n\r\n"));
    for raw in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nX: \x01", "HEAD / HTTP/2.0\r\n\r\n"]
    {
        let mut bench = Bench::new(small_limits());
        bench.feed(raw.as_bytes());
        assert!(bench.sent_text().starts_with("HTTP/1.1 400 "), "{raw:?}");
        assert!(bench.sent_text().ends_with("\r\n\r\n"), "{raw:?}");
    }
}
