//! `changeagent cache`: a read-only copy of a history that needs nothing but HTTP to its origin.

mod anew;
mod cut;
mod damaged;
mod several;
mod stale;

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::caches::{newest, number, started, tried};
use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, Stream, eventually};

/// A cache of these origins, on a fresh directory.
fn cache_of(origins: &str) -> NodeBuilder {
    NodeBuilder::new().command("cache").flags(&["--of", origins])
}

/// The node that starts again where this one is.
fn at(builder: NodeBuilder, address: &str) -> NodeBuilder {
    builder.flags(&["--listen", address])
}

/// Waits until a cache shows the change `last`, whatever it does meanwhile.
fn shows(cache: &Node, last: u64) {
    eventually("it shows that", || {
        let answer = tried(cache, "/changes?limit=1");
        answer.is_some_and(|it| it.status == 200 && number(&it, "changeagent-last") >= last)
    });
}

/// Everything that can be read of a node, once it holds the change `last`.
fn everything(node: &Node, last: u64) -> Vec<String> {
    let mut client = node.client();
    let mut found = Vec::new();
    let mut collections = Vec::new();
    let page = |client: &mut Client, target: &str| client.get(target).text().to_owned();
    found
        .push(page(&mut client, &format!("/changes?limit=10000&min_id={last}&consistency=strong")));
    found.push(page(&mut client, "/changes?tag=odd&limit=10000"));
    let tenants = client.page("/tenants?limit=10000");
    for tenant in tenants["tenants"].as_array().unwrap() {
        let tenant = tenant["tenant"].as_str().unwrap();
        found.push(page(&mut client, &format!("/tenants/{tenant}/changes?limit=10000")));
        let all = client.page(&format!("/tenants/{tenant}/collections"));
        let all = all["collections"].as_array().unwrap().iter();
        collections.extend(all.map(|it| it["collection"].as_str().unwrap().to_owned()));
    }
    for collection in collections {
        found.push(page(&mut client, &format!("/collections/{collection}/keys?limit=10000")));
    }
    found.push(tenants.to_string());
    let stream = Stream::open(node.client(), "/changes", "application/x-ndjson");
    found.extend(stream.changes());
    found
}

/// That a cache shows what its origin has.
fn agree(origin: &Node, cache: &Node) {
    let last = newest(origin);
    assert_eq!(everything(origin, last), everything(cache, last));
    let (own, other) = (cache.client().get("/changes"), origin.client().get("/changes"));
    assert_eq!(own.header("changeagent-cluster"), other.header("changeagent-cluster"));
    assert!(number(&own, "changeagent-age") < 60);
}

/// Writes of all kinds until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Load {
    fn start(node: &Node) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, mut client) = (Arc::clone(&stop), Arc::clone(&written), node.client());
        let thread = thread::spawn(move || {
            let tenant = client.tenant("load");
            let keys = format!("/collections/{}/keys", client.collection(&tenant, "c"));
            for n in 0.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                match n % 4 {
                    0 => drop(client.append(format!("{{\"data\":{n},\"tags\":[\"odd\"]}}"))),
                    1 => drop(
                        client.put(&format!("{keys}/k{}", n % 37), format!("{{\"data\":{n}}}")),
                    ),
                    2 => drop(client.delete(&format!("{keys}/k{}", n % 41))),
                    _ => drop(client.tenant(&format!("t{n}"))),
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, written, thread }
    }

    /// Waits until so many more are written.
    fn goes_on(&self, writes: u64) {
        let goal = self.written.load(Ordering::SeqCst) + writes;
        eventually("more is written", || self.written.load(Ordering::SeqCst) >= goal);
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

#[test]
fn a_cache_that_is_killed_again_and_again_shows_what_its_origin_has() {
    let origin = Node::with(&SHORT_SEGMENTS);
    let load = Load::start(&origin);
    load.goes_on(100);
    let mut cache = started(cache_of(&origin.url()).flags(&SHORT_SEGMENTS));
    let mut shown = 0;
    for _ in 0..6 {
        eventually("the cache shows more", || newest(&cache) > shown);
        // Whatever it has is a part of what the origin has, from the beginning on.
        eventually("it is read", || cache.client().get("/changes").status == 200);
        let list = cache.client().get("/changes?limit=10000").json();
        let last = list["last"].as_u64().unwrap();
        assert!(last >= shown, "it shows less than before: {last}, {shown}");
        let same = origin.client().get(&format!("/changes?limit={}", last.max(1))).json();
        assert_eq!(list["changes"], same["changes"]);
        shown = last;
        load.goes_on(50);
        cache = cache.kill().start();
        // At once, whatever the origin does.
        let again = cache.client().get("/changes?limit=1");
        assert_eq!(again.status, 200);
        assert!(number(&again, "changeagent-last") >= shown);
    }
    load.end();
    agree(&origin, &cache);
}

#[test]
fn waits_and_streams_at_a_cache_hear_of_what_is_written_at_its_origin() {
    let origin = Node::start();
    let mut writer = origin.client();
    let tenant = writer.tenant("t");
    let collection = writer.collection(&tenant, "c");
    writer.append(r#"{"data":1}"#);
    let cache = started(cache_of(&origin.url()));
    let mut client = cache.client();
    assert_eq!(client.list("?min_id=1")["last"], 1);
    let mut stream = Stream::open(cache.client(), "/changes?block=60", "application/x-ndjson");
    assert!(stream.change().is_some());
    for n in 2..20 {
        let (mut list, mut key) = (cache.client(), cache.client());
        list.send_request("GET", &format!("/changes?since={}&block=60", n - 1), &[], b"");
        let target = format!("/collections/{collection}/keys/k?since={}&block=60", n - 1);
        let waits = n > 2;
        if waits {
            key.send_request("GET", &target, &[], b"");
        }
        client.sees_parked(2 + usize::from(waits));
        let body = format!("{{\"data\":{n}}}");
        let written = writer.put(&format!("/collections/{collection}/keys/k"), body).json();
        assert_eq!(written["_id"], n);
        assert_eq!(list.answer().json()["changes"][0]["data"], n);
        if waits {
            assert_eq!(key.answer().json()["data"], n);
        }
        let change: Value = serde_json::from_str(&stream.change().unwrap()).unwrap();
        assert_eq!(change["_id"], n);
    }
}

#[test]
fn a_cache_serves_on_without_its_origin_until_it_is_too_old() {
    let origin = Node::start();
    let address = origin.address().to_string();
    origin.client().append(r#"{"data":1}"#);
    let patient = started(cache_of(&origin.url()));
    let hasty = started(cache_of(&origin.url()).flags(&["--max-stale", "4s"]));
    agree(&origin, &patient);
    agree(&origin, &hasty);
    let origin = origin.kill();
    // Restarted with nobody there, it serves at once.
    let patient = patient.kill().start();
    let answer = patient.client().get("/changes");
    assert_eq!((answer.status, answer.json()["last"].as_u64()), (200, Some(1)));
    assert_eq!(patient.client().get("/ready").status, 200);
    patient.client().post(r#"{"data":2}"#).problem(503, "no-leader");
    patient.client().get("/changes?consistency=strong").problem(503, "no-leader");
    patient.client().get("/changes?min_id=2&block=0.1").problem(503, "behind");
    eventually("it gets old", || number(&patient.client().get("/changes"), "changeagent-age") >= 5);
    eventually("it is too old", || hasty.client().get("/changes").status == 503);
    hasty.client().get("/changes").problem(503, "behind");
    hasty.client().get("/ready").problem(503, "behind");
    assert_eq!(hasty.client().get("/health").status, 200);
    let origin = at(origin, &address).start();
    origin.client().append(r#"{"data":2}"#);
    for cache in [&patient, &hasty] {
        eventually("it follows again", || newest(cache) == 2);
        eventually("it is young again", || cache.client().get("/ready").status == 200);
        agree(&origin, cache);
    }
    let said = patient.stderr();
    assert_eq!(said.matches("the origin is not followed").count(), 1, "{said}");
}

#[test]
fn writes_at_a_cache_are_its_origins_and_can_be_read_at_once() {
    let origin = Node::start();
    let cache = started(cache_of(&origin.url()));
    let mut client = cache.client();
    for id in 1..=20 {
        let answer = client.post(format!("{{\"data\":{id}}}"));
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("location"), Some(&*format!("/changes/{id}")));
        assert_eq!(client.get(&format!("/changes/{id}")).json()["data"], id);
    }
    let tenant = client.tenant("t");
    let collection = client.collection(&tenant, "c");
    let key = format!("/collections/{collection}/keys/k");
    assert_eq!(client.put(&key, r#"{"data":1}"#).status, 201);
    let read = client.get(&key);
    assert_eq!(read.header("etag"), Some("\"21\""));
    let refused = client.json_with("PUT", &key, &[("If-Match", "\"3\"")], r#"{"data":2}"#);
    assert_eq!(refused.problem(412, "precondition-failed")["current"], 21);
    let again = [("Idempotency-Key", "once")];
    let first = client.json_with("POST", "/changes", &again, r#"{"data":"o"}"#);
    let second = client.json_with("POST", "/changes", &again, r#"{"data":"o"}"#);
    assert_eq!((first.json(), second.status), (second.json(), 201));
    client
        .json_with("POST", "/changes", &again, r#"{"data":"p"}"#)
        .problem(422, "idempotency-mismatch");
    client.post("{").problem(400, "invalid-json");
    assert_eq!(client.delete(&key).status, 200);
    assert_eq!(client.get(&key).status, 404);
    client.request("PATCH", "/changes", &[], b"").problem(405, "method-not-allowed");
    agree(&origin, &cache);
}

#[test]
fn strong_reads_at_a_cache_see_what_was_written_at_its_origin_before() {
    let origin = Node::start();
    let middle = started(cache_of(&origin.url()));
    let outer = started(cache_of(&middle.url()));
    let mut writer = origin.client();
    let (mut near, mut far) = (middle.client(), outer.client());
    for id in 1..=50 {
        writer.append(format!("{{\"data\":{id}}}"));
        let reader = if id % 2 == 0 { &mut near } else { &mut far };
        let list = reader.list(&format!("?since={}&consistency=strong", id - 1));
        assert_eq!(list["last"], id);
    }
}

#[test]
fn a_write_that_was_sent_and_not_answered_is_told_as_unknown_and_not_sent_again() {
    let origin = Node::start();
    origin.client().append(r#"{"data":1}"#);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let (posts, counted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&posts);
    let all = Arc::clone(&counted);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            let ends: [&[u8]; 2] = [b"\r\n\r\n", b"}"];
            while !ends.iter().any(|end| request.ends_with(end)) || request.ends_with(b"POST") {
                match stream.read(&mut part) {
                    Ok(read @ 1..) => request.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            all.fetch_add(1, Ordering::SeqCst);
            if request.starts_with(b"POST") {
                count.fetch_add(1, Ordering::SeqCst);
            }
            // A head that never ends.
            let _ = stream.write_all(b"HTTP/1.1 2");
        }
    });
    let cache = started(cache_of(&format!("{silent},{}", origin.url())));
    agree(&origin, &cache);
    assert!(counted.load(Ordering::SeqCst) > 0, "the other was asked first");
    cache.client().post(r#"{"data":2}"#).problem(504, "unknown-outcome");
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    assert_eq!(newest(&origin), 1);
}

#[test]
fn origins_that_lead_back_to_the_cache_are_found() {
    let origin = Node::start();
    let first = started(cache_of(&origin.url()));
    agree(&origin, &first);
    let second = started(cache_of(&first.url()));
    agree(&origin, &second);
    let address = first.address().to_string();
    let first = at(first.stop().flags(&["--of", &second.url()]), &address).start();
    let problem = first.client().post(r#"{"data":1}"#).problem(503, "no-leader");
    assert!(problem["detail"].as_str().unwrap().contains("lead back"), "{problem}");
}

/// An address that nobody has.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn caches_that_lean_on_each_other_go_back_to_their_origin() {
    let origin = Node::start();
    assert_eq!(origin.client().append(r#"{"data":1}"#), 1);
    let (one, other) = (free_address(), free_address());
    let of = |neighbour: &str| format!("{},http://{neighbour}", origin.url());
    let first = started(at(cache_of(&of(&other)), &one));
    let second = started(at(cache_of(&of(&one)), &other));
    let address = origin.address().to_string();
    let origin = origin.kill();
    for (cache, neighbour) in [(&first, &other), (&second, &one)] {
        eventually("it asks its neighbour", || {
            let said = cache.stderr();
            said.contains("the origin is followed") && said.contains(neighbour)
        });
    }
    let origin = at(origin, &address).start();
    assert_eq!(origin.client().append(r#"{"data":2}"#), 2);
    shows(&first, 2);
    shows(&second, 2);
}

#[test]
fn what_a_cache_has_purged_is_read_from_its_origin() {
    let origin = Node::with(&SHORT_SEGMENTS);
    let mut client = origin.client();
    for n in 0..60 {
        client.append(format!("{{\"data\":\"{n}{}\"}}", "k".repeat(20_000)));
    }
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let cache = started(cache_of(&origin.url()).flags(&flags));
    eventually("it has purged history", || cache.client().get("/cluster/log?from=0").status == 410);
    let mut reader = cache.client();
    let first = reader.list("?limit=1")["changes"][0]["_id"].as_u64().unwrap();
    assert!(first > 3, "it begins with {first}");
    for target in ["/changes?since=1&limit=2", "/changes/1", "/changes?before=4&limit=2"] {
        let (own, other) = (reader.get(target), client.get(target));
        assert_eq!((own.status, own.text()), (200, other.text()), "{target}");
    }
    drop(origin.kill());
    reader.get("/changes?since=1").problem(503, "behind");
    assert_eq!(reader.get(&format!("/changes/{first}")).status, 200);
}

#[test]
fn what_neither_a_cache_nor_its_origin_has_is_told_with_what_the_cache_has() {
    let keeps = |changes| [&SHORT_SEGMENTS[..], &["--retain-min-changes", changes]].concat();
    let origin = Node::with(&keeps("60"));
    let mut client = origin.client();
    for n in 0..120 {
        client.append(format!("{{\"data\":\"{n}{}\"}}", "k".repeat(20_000)));
    }
    let cache = started(cache_of(&origin.url()).flags(&keeps("5")));
    let begins = |node: &Node| {
        let list = node.client().list("?limit=1");
        assert_eq!(list["atStart"], true);
        list["changes"][0]["_id"].as_u64().unwrap()
    };
    eventually("both have purged history", || begins(&origin) > 3 && begins(&cache) > 70);
    let (other, own) = (begins(&origin), begins(&cache));
    let mut reader = cache.client();
    assert_eq!(reader.list(&format!("?since={}&limit=1", other - 1))["changes"][0]["_id"], other);
    for (accept, target) in [
        ("application/json", "/changes?since=1"),
        ("application/json", "/changes/1"),
        ("application/x-ndjson", "/changes?since=1"),
    ] {
        let answer = reader.request("GET", target, &[("Accept", accept)], b"");
        assert_eq!(answer.problem(410, "purged")["first"], own, "{target} {accept}");
    }
    let mut events = Stream::open(cache.client(), "/changes?since=1", "text/event-stream");
    let told = events.message().unwrap();
    assert_eq!((&*told.name, &told.json()["first"]), ("reset", &own.into()));
    assert!(events.message().is_none(), "it has ended");
}

#[test]
fn wrong_usage_of_a_cache_ends_with_code_2_and_says_what_is_wrong() {
    let own = free_address();
    let url = format!("http://{own}");
    for (flags, words) in [
        (&[][..], "--of URL is missing"),
        (
            &["--of", "http://127.0.0.1:1", "--join", "127.0.0.1:1"],
            "belongs to no cluster: no join",
        ),
        (&["--of", "http://127.0.0.1:1", "--max-stale", "1s"], "max-stale is 1s"),
        (&["--of", &url, "--listen", &own], "which is this cache itself"),
        (&["--of", "nowhere"], "is not of the form http://HOST:PORT"),
    ] {
        let builder = NodeBuilder::new().command("cache").without("--listen").flags(flags);
        let data = builder.directory().path().join("data");
        let failed = builder.fails();
        assert_eq!(failed.status.code(), Some(2), "{flags:?}: {failed:?}");
        assert!(failed.stderr.contains(words), "{flags:?}: {}", failed.stderr);
        assert!(!data.exists());
    }
}

#[test]
fn the_directories_of_nodes_and_of_caches_are_told_apart() {
    let origin = Node::start();
    let cache = started(cache_of(&origin.url()));
    let (of, builder) = (origin.url(), cache.stop());
    let serve = builder.without("--of").command("serve").launch();
    let stderr = serve.stderr.clone();
    let (status, _kept) = serve.ends_within(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(stderr).unwrap();
    assert!(said.contains("is the directory of a cache"), "{said}");
    let node = Node::start().stop().command("cache").flags(&["--of", &of]).launch();
    let stderr = node.stderr.clone();
    let (status, _kept) = node.ends_within(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(stderr).unwrap();
    assert!(said.contains("is the directory of a node"), "{said}");
}
