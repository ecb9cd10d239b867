//! The lists as `application/x-ndjson`: exports that end, and readers that are
//! slow.

use std::time::{Duration, Instant};

use testkit::{Client, Node, Stream};

const LINES: &str = "application/x-ndjson";

fn lines(node: &Node, target: &str) -> Stream {
    Stream::open(node.client(), target, LINES)
}

/// The ids of lines.
fn ids_of(lines: &[String]) -> Vec<u64> {
    lines.iter().map(|line| id_of(line)).collect()
}

fn id_of(line: &str) -> u64 {
    let rest = line.strip_prefix("{\"_id\":").unwrap_or_else(|| panic!("no change: {line}"));
    rest.split(',').next().expect("an id").parse().expect("an id")
}

fn append_many(client: &mut Client, count: usize) {
    let answer = client.post_lines("/changes", &"{\"data\":1}\n".repeat(count));
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn an_export_ends_at_the_newest_change_and_each_line_is_the_change() {
    let node = Node::start();
    let mut client = node.client();
    assert_eq!(lines(&node, "/changes").changes(), [""; 0]);
    client.append(r#"{"tags":["a"],"data":{"n":1E400,"text":"\n\u2028"}}"#);
    client.append("{\"data\":\"\u{2028}é🎉\"}");
    append_many(&mut client, 500);
    let all = lines(&node, "/changes").changes();
    assert!(ids_of(&all).into_iter().eq(1..=502));
    for id in [1, 2, 3, 250, 502] {
        assert_eq!(all[id - 1], client.get(&format!("/changes/{id}")).text());
    }
    assert_eq!(ids_of(&lines(&node, "/changes?since=498").changes()), [499, 500, 501, 502]);
    assert_eq!(ids_of(&lines(&node, "/changes?since=now").changes()), [0; 0]);
    assert_eq!(ids_of(&lines(&node, "/changes?since=502").changes()), [0; 0]);
    assert_eq!(ids_of(&lines(&node, "/changes?tag=a").changes()), [1]);
}

#[test]
fn an_export_may_be_read_in_again() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 100);
    let export = lines(&node, "/changes").changes();
    let data: Vec<_> = export
        .iter()
        .map(|line| {
            let (_, data) = line.split_once(",\"data\":").expect("data");
            format!("{{\"data\":{data}")
        })
        .collect();
    let other = Node::start();
    let answer = other.client().post_lines("/changes", &data.join("\n"));
    assert_eq!(answer.text(), r#"{"first":1,"last":100,"count":100}"#);
}

#[test]
fn a_limit_ends_an_export() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 200);
    for (query, wanted) in [
        ("?limit=1", 1..=1),
        ("?limit=150", 1..=150),
        ("?limit=150&since=100", 101..=200),
        ("?limit=3&block=60", 1..=3),
        ("?limit=3&since=197&block=60", 198..=200),
    ] {
        let all = lines(&node, &format!("/changes{query}")).changes();
        assert!(ids_of(&all).into_iter().eq(wanted), "{query}");
    }
    let mut stream = lines(&node, "/changes?limit=2&since=199&block=60");
    assert_eq!(stream.change().as_deref().map(id_of), Some(200));
    append_many(&mut client, 5);
    assert_eq!(ids_of(&stream.changes()), [201], "a limit counts what comes later too");
}

#[test]
fn cursors_say_how_far_an_export_has_come() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"tags":["a"],"data":1}"#);
    append_many(&mut client, 4);
    for (query, ids, last) in [
        ("", &[1, 2, 3, 4, 5][..], 5),
        ("&since=3", &[4, 5], 5),
        ("&limit=2", &[1, 2], 2),
        ("&tag=a", &[1], 5),
        ("&tag=b", &[], 5),
        ("&since=5", &[], 5),
        ("&since=3&block=0.1", &[4, 5], 5),
    ] {
        let mut all = lines(&node, &format!("/changes?cursors=true{query}")).changes();
        assert_eq!(all.pop(), Some(format!("{{\"last\":{last}}}")), "{query}");
        assert_eq!(ids_of(&all), ids, "{query}");
    }
    assert_eq!(lines(&node, "/changes?cursors=false&since=4").changes().len(), 1);
    // A page always says it.
    assert_eq!(client.list("?cursors=true")["last"], 5);
}

/// The list is larger than what sockets hold, so that the deletion comes midway.
#[test]
fn an_export_whose_list_is_deleted_midway_does_not_look_complete() {
    let node = Node::start();
    let mut client = node.client();
    for delete_tenant in [false, true] {
        client.tenant("a");
        let c = client.collection("a", "c");
        let line = format!("{{\"collection\":\"{c}\",\"data\":\"{}\"}}\n", "x".repeat(1800));
        for _ in 0..40 {
            assert_eq!(client.post_lines("/changes", &line.repeat(500)).status, 201);
        }
        let tenant_list = "/tenants/a/changes?cursors=true".to_owned();
        for target in [format!("/collections/{c}/changes?cursors=true"), tenant_list] {
            let mut whole = lines(&node, &target);
            let count = std::iter::from_fn(|| whole.change()).count();
            assert!(count > 20_000, "{count} lines of {target}");
        }
        let list = if delete_tenant { "/tenants/a" } else { &*format!("/collections/{c}") };
        let mut export = lines(&node, &format!("{list}/changes"));
        assert!(export.change().is_some());
        client.delete(list).id();
        let mut count = 1;
        let end = loop {
            match export.try_line() {
                Ok(Some(_)) => count += 1,
                end => break end,
            }
        };
        assert!(end.is_err(), "it ends after {count} lines as if they were all");
        assert!(count < 20_000, "{count} lines");
        if !delete_tenant {
            client.delete("/tenants/a").id();
        }
    }
}

#[test]
fn block_goes_on_until_so_many_seconds_pass_without_a_change() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 2);
    let start = Instant::now();
    let mut stream = lines(&node, "/changes?block=0.6");
    for id in 1..=2 {
        assert_eq!(stream.change().as_deref().map(id_of), Some(id));
    }
    // Changes that come keep it open for longer than it would wait for one.
    let mut id = 2;
    while start.elapsed() < Duration::from_millis(1500) {
        id = client.append(r#"{"data":1}"#);
        assert_eq!(stream.change().as_deref().map(id_of), Some(id));
    }
    let quiet = Instant::now();
    assert_eq!(stream.change(), None);
    assert!(quiet.elapsed() >= Duration::from_millis(500), "{:?}", quiet.elapsed());
    assert_eq!(client.append(r#"{"data":1}"#), id + 1);
}

#[test]
fn changes_of_others_do_not_keep_a_scoped_stream_open() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("a");
    client.append(r#"{"tenant":"a","data":1}"#);
    let start = Instant::now();
    let mut stream = lines(&node, "/tenants/a/changes?block=1");
    assert_eq!(stream.change().as_deref().map(id_of), Some(1));
    while start.elapsed() < Duration::from_millis(700) {
        client.append(r#"{"data":"of nobody"}"#);
    }
    assert_eq!(stream.change(), None);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn exports_of_a_scope_hold_what_their_lists_hold() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("a");
    let c = client.collection("a", "c");
    for n in 0..60 {
        let scope = match n % 4 {
            0 => format!("\"collection\":\"{c}\","),
            1 => "\"tenant\":\"a\",".into(),
            2 => format!("\"collection\":\"{c}\",\"key\":\"k{n}\",\"tags\":[\"t\"],"),
            _ => String::new(),
        };
        client.append(format!("{{{scope}\"data\":{n}}}"));
    }
    for list in ["/tenants/a/changes", &format!("/collections/{c}/changes"), "/changes"] {
        for query in ["?limit=1000", "?limit=1000&tag=t", "?limit=7&since=20"] {
            let target = format!("{list}{query}");
            let export = lines(&node, &target).changes();
            let text = client.get(&target).text().to_owned();
            let wanted = format!("{{\"changes\":[{}],\"atStart\"", export.join(","));
            assert!(text.starts_with(&wanted), "{target}");
            assert!(!export.is_empty());
        }
    }
}

#[test]
fn a_stream_for_http_1_0_ends_with_its_connection() {
    let node = Node::start();
    append_many(&mut node.client(), 300);
    for keep in ["", "Connection: keep-alive\r\n"] {
        let mut client = node.client();
        client.send(format!("GET /changes HTTP/1.0\r\nAccept: {LINES}\r\n{keep}\r\n"));
        let stream = Stream::begun(client);
        assert_eq!(stream.head.header("transfer-encoding"), None);
        assert_eq!(stream.head.header("connection"), Some("close"));
        assert!(ids_of(&stream.changes()).into_iter().eq(1..=300));
    }
}

/// The export is larger than what sockets hold, and a reader that takes nothing
/// of it makes the node wait, not collect.
#[test]
fn a_reader_that_takes_nothing_costs_neither_memory_nor_others() {
    const CHANGES: usize = 200_000;
    const BATCH: usize = 5000;
    const GROWTH: usize = 8 << 20;
    let node = Node::with(&[
        "--max-batch",
        "5000",
        "--max-body",
        "4MiB",
        "--segment-size",
        "8MiB",
        "--write-timeout",
        "10m",
    ]);
    let mut client = node.client();
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(200)).repeat(BATCH);
    for _ in 0..CHANGES / BATCH {
        assert_eq!(client.post_lines("/changes", &batch).status, 201);
    }
    let whole = |node: &Node| {
        let mut stream = lines(node, "/changes");
        let (mut count, mut bytes) = (0, 0);
        while let Some(line) = stream.change() {
            (count, bytes) = (count + 1, bytes + line.len());
        }
        assert_eq!(count, CHANGES);
        bytes
    };
    // One export, so that what it needs has been taken up before it is measured.
    assert!(whole(&node) > 5 * GROWTH);
    let before = node.memory();
    let mut slow: Vec<_> = (0..3).map(|_| lines(&node, "/changes")).collect();
    for stream in &mut slow {
        assert_eq!(stream.change().as_deref().map(id_of), Some(1));
    }
    // Whatever the node would collect for them, it has when others are through.
    whole(&node);
    for id in 1..=20 {
        assert_eq!(client.append(r#"{"data":1}"#), (CHANGES + id) as u64);
    }
    let grown = node.memory().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes for readers that take nothing");
    let last = slow.pop().expect("one of them").changes();
    assert!(ids_of(&last).into_iter().eq(2..=CHANGES as u64), "it goes on where it was");
}
