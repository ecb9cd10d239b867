//! Rules that hold for all inputs.

use super::*;
use proptest::{collection::vec, prelude::*, sample::Index};

/// Feeds `raw` cut at the given lengths, over and over, and ends it.
fn run(raw: &[u8], lengths: &[usize], limits: &Limits) -> Bench {
    let mut bench = Bench::new(limits.clone());
    let mut rest = raw;
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.clamp(1, rest.len()));
        bench.feed(piece);
        let bound = limits.head_bytes + limits.body_bytes + piece.len();
        assert!(bench.held_bytes() <= bound);
        rest = after;
    }
    bench.eof();
    assert!(bench.connection.is_closed());
    bench
}

fn body() -> impl Strategy<Value = String> {
    let data = "[ -~\r\n]{1,40}";
    prop_oneof![
        Just("\r\n".to_owned()),
        data.prop_map(|body| format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        (vec((data, "(;[a-z]{1,5})?"), 0..4), "(X: y\r\n)?").prop_map(|(chunks, trailer)| {
            let chunks: String = chunks
                .iter()
                .map(|(data, extension)| format!("{:x}{extension}\r\n{data}\r\n", data.len()))
                .collect();
            format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailer}\r\n")
        }),
    ]
}

fn message() -> impl Strategy<Value = String> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("HEAD"), Just("BREW")];
    let target = "(/[a-z]{0,4}){1,3}(%[24][1-9f])?([?][a-z]{1,3}=[a-z0-9+]{0,4})?";
    let headers = vec("[A-Z][a-z]{0,6}-[a-z]{1,3}:[ \t]?[ -~]{0,30}", 0..4);
    ("(\r\n)?", method, target, headers, body()).prop_map(
        |(before, method, target, headers, body)| {
            let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
            format!("{before}{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}{body}")
        },
    )
}

/// Messages with a few bytes changed: near enough to valid to reach every rule.
fn almost_messages() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(&b"\r\n :\0;,0"[..]), any::<u8>()];
    (vec(message(), 1..3), vec((any::<Index>(), byte), 0..4)).prop_map(|(messages, changes)| {
        let mut raw = messages.concat().into_bytes();
        for (place, byte) in changes {
            let at = place.index(raw.len());
            raw[at] = byte;
        }
        raw
    })
}

proptest! {
    #[test]
    fn any_split_of_valid_messages_gives_the_same_requests(
        messages in vec(message(), 1..5),
        lengths in vec(1..50_usize, 1..10),
    ) {
        let raw = messages.concat().into_bytes();
        let limits = Limits::default();
        let whole = run(&raw, &[raw.len()], &limits);
        prop_assert_eq!(whole.outcomes.len(), messages.len());
        prop_assert_eq!(whole.requests().len(), messages.len());
        let pieces = run(&raw, &lengths, &limits);
        prop_assert_eq!(&whole.outcomes, &pieces.outcomes);
        prop_assert_eq!(&whole.sent, &pieces.sent);
        let bytes = run(&raw, &[1], &limits);
        prop_assert_eq!(&whole.outcomes, &bytes.outcomes);
    }

    #[test]
    fn any_split_of_almost_valid_messages_gives_the_same_verdict(
        raw in almost_messages(),
        lengths in vec(1..50_usize, 1..10),
        small in any::<bool>(),
    ) {
        let limits = if small { small_limits() } else { Limits::default() };
        let whole = run(&raw, &[raw.len()], &limits);
        let pieces = run(&raw, &lengths, &limits);
        prop_assert_eq!(&whole.outcomes, &pieces.outcomes);
        prop_assert_eq!(&whole.sent, &pieces.sent);
    }

    #[test]
    fn an_answer_reads_back_as_it_was_given(
        status in prop_oneof![Just(200_u16), Just(201), Just(404), Just(503)],
        text in "[ -~]{0,40}",
        number in any::<u64>(),
        body in vec(any::<u8>(), 0..10_000),
    ) {
        let mut bench = Bench::new(Limits::default());
        let response = Response::json(status, body.clone())
            .with_header("X-Text", text.clone())
            .with_number("X-Number", number);
        bench.feed_only(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").respond(response);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = parsed.parse(&bench.sent).unwrap().unwrap();
        prop_assert_eq!(parsed.code, Some(status));
        let value = |name: &str| {
            let header = parsed.headers.iter().find(|header| header.name == name).unwrap();
            std::str::from_utf8(header.value).unwrap().to_owned()
        };
        prop_assert_eq!(value("X-Text"), text.trim());
        prop_assert_eq!(value("X-Number"), number.to_string());
        prop_assert_eq!(value("Content-Length"), body.len().to_string());
        prop_assert_eq!(&bench.sent[length..], body);
    }
}
