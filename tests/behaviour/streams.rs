//! The lists as `text/event-stream`: every change in order, for ever, and from
//! any place on.

use std::time::Duration;

use serde_json::json;

use testkit::{Client, Event, Message, Node, Stream, eventually};

const EVENTS: &str = "text/event-stream";

fn events(node: &Node, target: &str) -> Stream {
    Stream::open(node.client(), target, EVENTS)
}

/// The ids of the next `count` events.
fn next(stream: &mut Stream, count: usize) -> Vec<u64> {
    (0..count).map(|_| stream.event().expect("the stream goes on").id).collect()
}

#[test]
fn each_change_is_one_event_with_its_id() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"tags":["a"],"data":{"text":"\n line \u2028","n":1E400}}"#);
    client.append("{\"data\":\"\u{2028}é🎉\"}");
    let mut stream = events(&node, "/changes");
    for id in 1..=2 {
        let data = client.get(&format!("/changes/{id}")).text().to_owned();
        assert_eq!(stream.event(), Some(Event { id, data }));
    }
    for id in 3..=20 {
        client.append(format!("{{\"data\":{id}}}"));
        let data = client.get(&format!("/changes/{id}")).text().to_owned();
        assert_eq!(stream.event(), Some(Event { id, data }), "an event comes with its change");
    }
}

#[test]
fn a_stream_begins_with_where_it_starts_and_says_when_it_has_caught_up() {
    let node = Node::start();
    let mut client = node.client();
    let mut stream = events(&node, "/changes");
    let first = stream.message().expect("it begins at once");
    assert_eq!((&*first.name, first.id, first.retry), ("cursor", Some(0), Some(1000)));
    let cluster = stream.head.header("changeagent-cluster").unwrap();
    assert_eq!(first.json(), json!({"last": 0, "cluster": cluster}));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("vary", "Accept, Accept-Encoding"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.head.header(name), Some(value));
    }
    let many: Vec<_> = (1..=3000).map(|n| format!("{{\"data\":{n}}}")).collect();
    for some in many.chunks(1000) {
        client.post(format!("[{}]", some.join(",")));
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&3000) {
        let message = stream.message().expect("the stream goes on");
        match &*message.name {
            "" => seen.extend(message.id),
            "cursor" => assert_eq!(message.id, seen.last().copied(), "no further than was sent"),
            other => panic!("{other}"),
        }
    }
    assert!(seen.into_iter().eq(1..=3000));
    assert_eq!(stream.cursor(), 3000, "it has caught up");

    client.append(r#"{"data":"last","tags":["a"]}"#);
    client.append(r#"{"data":"of others"}"#);
    for (query, starts, ends) in
        [("?since=2900", 2900, 3002), ("?since=now", 3002, 3002), ("?tag=a", 0, 3002)]
    {
        let mut stream = events(&node, &format!("/changes{query}"));
        assert_eq!(stream.cursor(), starts, "{query}");
        let mut last = starts;
        while last < ends {
            last = stream.message().and_then(|message| message.id).expect("an id");
        }
        assert_eq!(last, ends, "{query}");
    }
}

/// Slow since it waits for what comes every 15 seconds.
#[test]
fn a_quiet_stream_says_at_least_every_15_seconds_how_far_it_is() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("a");
    client.append(r#"{"tenant":"a","data":1}"#);
    let start = std::time::Instant::now();
    let mut stream = events(&node, "/tenants/a/changes");
    assert_eq!((stream.cursor(), next(&mut stream, 1), stream.cursor()), (0, vec![1], 1));
    let lines = |query: &str| {
        let target = format!("/tenants/a/changes?block=60{query}");
        let mut lines = Stream::open(node.client(), &target, "application/x-ndjson");
        assert!(lines.change().is_some());
        lines
    };
    let (mut plain, mut cursors) = (lines(""), lines("&cursors=true"));
    client.append(r#"{"data":"of nobody"}"#);
    assert_eq!(stream.cursor(), 2, "what it looked at without a change counts");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?} is more than a busy machine explains");
    assert_eq!(plain.line().as_deref(), Some(""), "the heartbeat of lines");
    assert_eq!(cursors.line().as_deref(), Some("{\"last\":2}"));
}

#[test]
fn a_reader_that_comes_back_before_its_first_change_loses_nothing() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":"before"}"#);
    let mut stream = events(&node, "/changes?since=now");
    let last = stream.cursor().to_string();
    drop(stream);
    client.append(r#"{"data":"between"}"#);
    // As a browser comes back: with the same address.
    let headers = [("Accept", EVENTS), ("Last-Event-ID", &*last)];
    let mut again = Stream::open_with(node.client(), "/changes?since=now", &headers);
    assert_eq!(next(&mut again, 1), [2]);
    // Lines tell it where the client asked for that.
    let target = "/changes?since=now&block=60&cursors=true";
    let mut lines = Stream::open(node.client(), target, "application/x-ndjson");
    assert_eq!(lines.line().as_deref(), Some("{\"last\":2}"));
}

#[test]
fn since_and_last_event_id_say_where_a_stream_goes_on() {
    let node = Node::start();
    let mut client = node.client();
    for n in 1..=10 {
        client.append(format!("{{\"data\":{n}}}"));
    }
    for (query, last, first) in [
        ("", None, 1),
        ("?since=0", None, 1),
        ("?since=7", None, 8),
        ("?since=7", Some(""), 8),
        ("", Some("7"), 8),
        ("", Some("0"), 1),
        ("?since=2", Some("9"), 10),
        ("?since=9", Some("2"), 3),
        ("?since=now", Some("4"), 5),
        // What a client sends that cannot send the header.
        ("?lastEventId=6", None, 7),
        ("?since=now&lastEventId=0", None, 1),
        ("?since=8&lastEventId=2", None, 3),
        ("?lastEventId=2", Some("5"), 6),
        // None yet.
        ("?since=8", Some(""), 9),
        ("?since=8&lastEventId=", None, 9),
    ] {
        let mut headers = vec![("Accept", EVENTS)];
        headers.extend(last.map(|id| ("Last-Event-ID", id)));
        let target = format!("/changes{query}");
        let mut stream = Stream::open_with(node.client(), &target, &headers);
        let wanted: Vec<u64> = (first..=10).collect();
        assert_eq!(next(&mut stream, wanted.len()), wanted, "{query} {last:?}");
    }
}

#[test]
fn a_reader_that_comes_back_with_its_last_id_misses_and_repeats_nothing() {
    let node = Node::with(&["--cores", "2"]);
    let mut client = node.client();
    let mut seen = Vec::new();
    for round in 1..20 {
        for _ in 0..round % 4 {
            client.append(format!("{{\"data\":{round}}}"));
        }
        let last = seen.last().unwrap_or(&0).to_string();
        let headers = [("Accept", EVENTS), ("Last-Event-ID", last.as_str())];
        let mut stream = Stream::open_with(node.client(), "/changes", &headers);
        // One that is written while the stream is open ends what it reads.
        let written = client.append(r#"{"data":"end"}"#);
        while seen.last() != Some(&written) {
            seen.extend(next(&mut stream, 1));
        }
    }
    let last = node.client().list("?since=now")["last"].as_u64();
    assert!(seen.into_iter().eq(1..=last.unwrap()));
}

#[test]
fn since_now_streams_only_what_comes_after() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":"before"}"#);
    let mut stream = events(&node, "/changes?since=now");
    assert_eq!(stream.cursor(), 1);
    client.append(r#"{"data":"after"}"#);
    assert_eq!(next(&mut stream, 1), [2]);
}

#[test]
fn a_stream_of_a_scope_and_of_tags_has_only_what_belongs_to_it() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("a");
    client.tenant("b");
    let c = client.collection("a", "c");
    let open = |target: &str| events(&node, target);
    let mut streams = [
        (open("/tenants/a/changes"), vec![]),
        (open(&format!("/collections/{c}/changes")), vec![]),
        (open("/tenants/a/collections/c/changes?tag=x"), vec![]),
        (open("/tenant/a/changes?tag=y&tag=x"), vec![]),
        (open("/changes?tag=x"), vec![]),
        (open("/changes"), vec![]),
    ];
    for round in 0..5 {
        for (members, hears) in [
            ("", &[5][..]),
            (r#","tenant":"b","tags":["x","y"]"#, &[4, 5]),
            (r#","tenant":"a""#, &[0, 5]),
            (r#","tenant":"a","tags":["y"]"#, &[0, 3, 5]),
            (&format!(",\"collection\":\"{c}\",\"key\":\"k{round}\""), &[0, 1, 5]),
            (&format!(",\"collection\":\"{c}\",\"tags\":[\"x\"]"), &[0, 1, 2, 3, 4, 5]),
        ] {
            let id = client.append(format!("{{\"data\":{round}{members}}}"));
            for n in hears {
                streams[*n].1.push(id);
            }
        }
    }
    for (n, (stream, wanted)) in streams.iter_mut().enumerate() {
        assert_eq!(next(stream, wanted.len()), *wanted, "stream {n}");
    }
}

#[test]
fn parameters_that_make_no_sense_for_an_endless_stream_are_refused() {
    let node = Node::start();
    let mut client = node.client();
    let accept = ("Accept", EVENTS);
    for (query, parameter) in [
        ("limit=5", "limit"),
        ("block=5", "block"),
        ("since=x", "since"),
        ("since=1&since=2", "since"),
        ("colour=red", "colour"),
        ("lastEventId=now", "lastEventId"),
        ("lastEventId=1&lastEventId=1", "lastEventId"),
        ("cursors=yes", "cursors"),
    ] {
        let target = format!("/changes?{query}");
        let problem =
            client.request("GET", &target, &[accept], b"").problem(400, "invalid-parameter");
        assert_eq!(problem["parameter"], parameter, "{query}: {problem}");
    }
    for last in ["x", "-1", "1.5", "9223372036854775808", "now"] {
        let headers = [accept, ("Last-Event-ID", last)];
        let answer = client.request("GET", "/changes", &headers, b"");
        let problem = answer.problem(400, "invalid-parameter");
        assert_eq!(problem["parameter"], "Last-Event-ID", "{last:?}: {problem}");
    }
    let answer = client.request("GET", "/changes?min_id=9&block=0", &[accept], b"");
    answer.problem(400, "invalid-parameter");
    let answer = client.request("GET", "/tenants/nobody/changes", &[accept], b"");
    answer.problem(404, "not-found");
    for accept in ["application/json", "application/x-ndjson"] {
        let answer = client.request("GET", "/changes?lastEventId=1", &[("Accept", accept)], b"");
        assert_eq!(answer.problem(400, "invalid-parameter")["parameter"], "lastEventId");
    }
}

/// Slow since it waits as long as a stream waits for an id.
#[test]
fn a_refusal_that_will_pass_does_not_send_a_browser_away_for_good() {
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    let target = "/changes?min_id=9";
    let mut program = node.client();
    program.send_request("GET", target, &[("Accept", "text/event-stream, */*")], b"");
    let mut head = node.client();
    head.send_request("HEAD", target, &[("Accept", EVENTS)], b"");
    let answer = node.client().request("GET", target, &[("Accept", EVENTS)], b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(EVENTS)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let rest = answer.text().strip_prefix("retry: 3000\nevent: unavailable\ndata: ");
    let data = rest.and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
    let problem: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&json!("behind"), &json!(503)));
    assert_eq!(head.answer_to_head().status, 200);
    // Whoever takes a problem as such gets it so.
    program.answer().problem(503, "behind");
}

#[test]
fn a_stop_of_the_node_ends_streams_in_good_order() {
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    let mut streams: Vec<_> = (0..5).map(|_| events(&node, "/changes")).collect();
    let mut lines = Stream::open(node.client(), "/changes?block=300", "application/x-ndjson");
    for stream in &mut streams {
        assert_eq!(next(stream, 1), [1]);
    }
    assert!(lines.change().is_some());
    node.signal(libc::SIGTERM);
    for stream in &mut streams {
        assert_eq!(stream.event(), None);
    }
    assert_eq!(lines.change(), None);
    let (status, _) = node.ends_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_stream_that_a_stop_ends_says_how_far_it_looked() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("quiet");
    client.append(r#"{"tenant":"quiet","tags":["rare"],"data":1}"#);
    let lists = ["/tenants/quiet/changes?", "/changes?tag=rare&"];
    let mut streams = lists.map(|list| events(&node, list));
    for stream in &mut streams {
        assert_eq!((stream.cursor(), next(stream, 1), stream.cursor()), (0, vec![1], 1));
    }
    let mut lines = lists.map(|list| {
        let target = format!("{list}block=300&cursors=true");
        Stream::open(node.client(), &target, "application/x-ndjson")
    });
    assert!(lines.iter_mut().all(|lines| lines.change().is_some()));
    let parked = |client: &mut Client| client.get("/metrics").text().contains("_parked 4\n");
    eventually("all of them wait", || parked(&mut client));
    let last = (0..5).map(|_| client.append(r#"{"data":"of nobody"}"#)).last().unwrap();
    node.signal(libc::SIGTERM);
    for stream in &mut streams {
        assert_eq!((stream.cursor(), stream.message()), (last, None));
    }
    for lines in &mut lines {
        assert_eq!(lines.line(), Some(format!("{{\"last\":{last}}}")));
        assert_eq!(lines.line(), None);
    }
}

#[test]
fn a_deletion_of_its_scope_ends_a_stream() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("a");
    let c = client.collection("a", "c");
    let mut collection = events(&node, &format!("/collections/{c}/changes"));
    let mut tenant = events(&node, "/tenants/a/changes");
    let mut of_c = Stream::open(
        node.client(),
        &format!("/collections/{c}/changes?block=300"),
        "application/x-ndjson",
    );
    client.append(format!("{{\"collection\":\"{c}\",\"data\":1}}"));
    assert_eq!((next(&mut collection, 1), next(&mut tenant, 1)), (vec![1], vec![1]));
    assert!(of_c.change().is_some());
    assert_eq!(client.delete(&format!("/collections/{c}")).id(), 2);
    assert_eq!(next(&mut tenant, 1), [2], "the tenant goes on");
    assert_eq!(client.delete("/tenants/a").id(), 3);
    for (mut stream, deletion) in [(collection, 2), (tenant, 3)] {
        let mut rest: Vec<Message> = std::iter::from_fn(|| stream.message()).collect();
        let reset = rest.pop().expect("it says why it ends");
        assert_eq!((&*reset.name, reset.id), ("reset", None), "{reset:?}");
        assert_eq!(reset.json()["code"], "not-found");
        // The last that a stream may tell is the deletion itself.
        let told: Vec<_> = rest.iter().filter(|message| message.name.is_empty()).collect();
        assert!(told.iter().all(|change| change.id == Some(deletion)), "{told:?}");
    }
    let broken = loop {
        match of_c.try_line() {
            Ok(Some(line)) => assert!(line.is_empty() || line.starts_with("{\"_id\":2,"), "{line}"),
            ended => break ended,
        }
    };
    assert!(broken.is_err(), "lines that could not go on do not look complete");
}

#[test]
fn a_reader_that_leaves_frees_its_connection() {
    let node = Node::with(&["--max-connections", "8"]);
    for _ in 0..3 {
        let mut streams = Vec::new();
        eventually("all connections are streams", || {
            let mut client = node.client();
            let sent = client.try_send_request("GET", "/changes", &[("Accept", EVENTS)], b"");
            // A refusal is 200 as well, for a browser's sake, but all of it is there.
            let taken = sent
                && client.try_head().is_some_and(|head| {
                    (head.status, head.header("content-length")) == (200, None)
                });
            if taken {
                streams.push(client);
            }
            streams.len() == 8
        });
        let mut refused: Client = node.client();
        refused.get("/changes").problem(503, "overloaded");
        let answer = node.client().request("GET", "/changes", &[("Accept", EVENTS)], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(EVENTS)));
        assert!(
            answer.text().starts_with("retry: 3000\nevent: unavailable\ndata: {"),
            "{answer:?}"
        );
        drop(streams);
    }
    eventually("a connection is free", || {
        let mut client = node.client();
        client.try_send_request("GET", "/changes", &[], b"")
            && client.try_answer().is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn the_form_is_chosen_by_accept_and_json_wins_where_nothing_is_preferred() {
    const LINES: &str = "application/x-ndjson";
    const PLAIN: &str = "application/ndjson";
    const JSONL: &str = "application/jsonl";
    const JSON: &str = "application/json";
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    for (accept, wanted) in [
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("text/event-stream, application/json", JSON),
        ("application/x-ndjson, */*", LINES),
        ("text/event-stream;q=0.5, application/json;q=0.9", JSON),
        ("text/html, */*;q=0.1", JSON),
        ("text/event-stream", EVENTS),
        ("TEXT/Event-Stream", EVENTS),
        ("text/*", EVENTS),
        ("text/event-stream, */*;q=0.1", EVENTS),
        ("application/json;q=0.5, text/event-stream;q=0.6", EVENTS),
        ("application/json;q=0, text/event-stream;q=0.001", EVENTS),
        ("application/x-ndjson;q=0.8,text/event-stream", EVENTS),
        ("application/x-ndjson", LINES),
        ("application/x-ndjson, application/json;q=0.9", LINES),
        ("application/x-ndjson;q=0.9, text/event-stream;q=0.8", LINES),
        ("text/event-stream;q=0, application/x-ndjson;q=0.1", LINES),
        ("application/ndjson", PLAIN),
        ("application/jsonl", JSONL),
        ("application/jsonl, application/x-ndjson", LINES),
        ("application/jsonl, application/ndjson;q=0.9, */*;q=0.1", JSONL),
        ("application/json, application/jsonl", JSON),
    ] {
        let answer = node.client().request("HEAD", "/changes", &[("Accept", accept)], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(wanted)), "{accept}");
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"), "{accept}");
    }
    for accept in [PLAIN, JSONL] {
        let mut lines = Stream::open(node.client(), "/changes", accept);
        assert!(lines.change().is_some_and(|line| line.starts_with("{\"_id\":1,")));
        assert_eq!(lines.change(), None);
    }
    for accept in ["text/html", "application/json;q=0", "text/event-stream;q=0", "image/*, text/x"]
    {
        let answer = node.client().request("GET", "/changes", &[("Accept", accept)], b"");
        answer.problem(406, "not-acceptable");
    }
    // What is no list is no stream.
    for target in ["/changes/1", "/tenants", "/health"] {
        let answer = node.client().request("GET", target, &[("Accept", LINES)], b"");
        assert!(answer.status == 406 || answer.header("content-type") == Some(JSON), "{answer:?}");
    }
    let answer = node.client().request("GET", "/changes/1", &[("Accept", EVENTS)], b"");
    answer.problem(406, "not-acceptable");
}

#[test]
fn head_of_a_stream_ends_at_once() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    for accept in [EVENTS, "application/x-ndjson"] {
        let answer = client.request("HEAD", "/changes", &[("Accept", accept)], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(accept)));
        assert_eq!(client.get("/changes").json()["last"], json!(1), "no body came with it");
    }
}

#[test]
fn a_stream_holds_the_connection_until_it_ends() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    // A request behind an endless stream is never answered; one behind an
    // export is, after it.
    client.send_request("GET", "/changes", &[("Accept", "application/x-ndjson")], b"");
    client.send_request("GET", "/health", &[], b"");
    let mut stream = Stream::begun(client);
    assert!(stream.line().is_some_and(|line| line.contains("\"_id\":1")));
    assert_eq!(stream.line(), None);
}
