//! What a connection says that it holds, after every step of any schedule.

use super::*;
use proptest::{collection::vec, prelude::*};

/// Slack of a buffer that grows: see `Body::room`.
const GROWTH: usize = 4;
const ROOM_BYTES: usize = 2 * crate::base::limits::BODY_ROOM_BYTES;

#[derive(Clone, Debug)]
enum Step {
    /// So many bytes of the client's requests arrive.
    Feed(usize),
    /// The request in hand is answered with a body of that size.
    Answer(usize),
    /// The answer begins whose body comes in parts.
    Begin,
    /// A part of it comes.
    Part(usize),
    /// It ends.
    End,
    /// The client takes so many bytes.
    Take(usize),
    /// The answer has to wait.
    Park,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_000_usize).prop_map(Step::Feed),
        2 => prop_oneof![0..100_usize, 0..100_000_usize].prop_map(Step::Answer),
        1 => Just(Step::Begin),
        2 => (0..20_000_usize).prop_map(Step::Part),
        1 => Just(Step::End),
        4 => prop_oneof![0..2_000_usize, 0..200_000_usize].prop_map(Step::Take),
        2 => Just(Step::Park),
    ]
}

/// A request and the bytes of its head.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    prop_oneof![
        Just(format!("{head}\r\n").into_bytes()),
        (0..5_000_usize).prop_map(move |bytes| {
            format!("{head}Content-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes)).into_bytes()
        }),
        (1..5_000_usize).prop_map(move |bytes| {
            let body = "x".repeat(bytes);
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n")
                .into_bytes()
        }),
    ]
}

/// What a schedule has done so far, without a look into the connection.
#[derive(Default)]
struct Model {
    fed: usize,
    /// Bytes of the requests that were handed out.
    handed_out: usize,
    in_hand: bool,
    streams: bool,
    /// Bodies that were queued as they are: their ends among the bytes queued,
    /// and their sizes.
    shared: Vec<(usize, usize)>,
    queued: usize,
    taken: usize,
    parked: bool,
}

impl Model {
    /// The least and the most that the connection holds.
    fn bounds(&self) -> (usize, usize) {
        let arrived = self.fed - self.handed_out;
        let unsent = self.queued - self.taken;
        let whole = self.shared.iter().filter(|(end, _)| *end > self.taken);
        let shared: usize = whole.map(|(_, bytes)| bytes).sum();
        // Of a chunked body only the data is held, between its lines.
        let least = (arrived.saturating_sub(64)).max(shared).max(unsent);
        let buffer = match self.parked {
            true => arrived,
            false if arrived == 0 => 0,
            false => GROWTH * arrived + ROOM_BYTES,
        };
        // Small bytes are in runs, of which one may be sent in part.
        let runs = if unsent == 0 { 0 } else { 2 * unsent + 64 * 1024 };
        (least, buffer + shared + runs)
    }
}

proptest! {
    #[test]
    fn what_is_held_is_what_is_there(
        requests in vec(request(), 1..8),
        steps in vec(step(), 1..80),
    ) {
        let raw = requests.concat();
        let ends: Vec<usize> = requests
            .iter()
            .scan(0, |end, request| { *end += request.len(); Some(*end) })
            .collect();
        let mut model = Model::default();
        let mut ends = ends.into_iter();
        let mut bench = Bench::new(Limits::default());
        // At the end everything arrives, is answered and taken.
        let finish = std::iter::repeat_n(
            [Step::Feed(usize::MAX), Step::End, Step::Answer(1), Step::Take(usize::MAX)],
            requests.len() + 1,
        );
        for step in steps.into_iter().chain(finish.flatten()) {
            let now = bench.now;
            let connection = &mut bench.connection;
            let mut before = connection.queued_bytes();
            let mut body = None;
            match step {
                Step::Feed(bytes) if connection.wants_read() => {
                    let rest = &raw[model.fed..];
                    let piece = &rest[..bytes.min(rest.len()).min(8192)];
                    connection.receive(piece);
                    model.fed += piece.len();
                    model.parked &= piece.is_empty();
                }
                Step::Answer(bytes) if model.in_hand && !model.streams => {
                    connection.respond(Response::json(200, vec![0; bytes]), now);
                    (model.in_hand, body) = (false, Some(bytes));
                }
                Step::Begin if model.in_hand && !model.streams => {
                    connection.respond_head(Response::new(200), now);
                    model.streams = true;
                }
                Step::Part(bytes) if model.streams => {
                    connection.send_chunk(vec![0; bytes].into(), now);
                    body = Some(bytes);
                }
                Step::End if model.streams => {
                    connection.finish(now);
                    (model.in_hand, model.streams) = (false, false);
                }
                Step::Take(bytes) => {
                    let bytes = bytes.min(connection.queued_bytes());
                    connection.transmitted(bytes, now);
                    model.taken += bytes;
                    before -= bytes;
                }
                Step::Park if model.in_hand => {
                    connection.release_buffer();
                    model.parked = true;
                }
                _ => {}
            }
            model.queued = model.queued + connection.queued_bytes() - before;
            if let Some(bytes) = body.filter(|&bytes| bytes > crate::base::limits::BODY_COPY_BYTES) {
                // A chunk's line end follows it.
                model.shared.push((model.queued - if model.streams { 2 } else { 0 }, bytes));
            }
            while let Some(event) = bench.connection.poll_event(now) {
                prop_assert!(matches!(event, Event::Request(_)), "{:?}", event);
                model.handed_out = ends.next().unwrap();
                (model.in_hand, model.parked) = (true, false);
            }
            let held = bench.connection.held_bytes();
            let (least, most) = model.bounds();
            prop_assert!((least..=most).contains(&held), "{} not in {}..={}", held, least, most);
        }
        prop_assert_eq!((model.fed, ends.next()), (raw.len(), None));
        prop_assert_eq!(bench.connection.held_bytes(), 0);
        prop_assert!(bench.connection.is_idle());
    }
}

#[test]
fn what_came_behind_a_parked_request_is_all_that_is_held() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post =
        [&b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"[..], &[b'x'; 60_000]];
    let mut bench = Bench::new(Limits::default());
    bench.feed_only(&post.concat());
    assert_eq!(bench.connection.held_bytes(), 0, "the body is with whoever answers");
    bench.connection.receive(&get[..10]);
    bench.connection.release_buffer();
    assert_eq!(bench.connection.held_bytes(), 10);
}
