//! Streams and states of what a cache does not hold: it passes on what its origin sends.

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use testkit::{
    Client, Node, NodeBuilder, SHORT_SEGMENTS, Stream, eventually, file, run, temporary,
};

use crate::{
    caches::{newest, started},
    credentials::{ROOT, asked, bearer, with_token},
    tokens::Site,
};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// A cache of the tenant `one`.
fn cache_of(origin: &Node) -> NodeBuilder {
    NodeBuilder::new().command("cache").flags(&["--of", &origin.url(), "--tenant", "one"])
}

/// Two tenants, and the path of a collection of the second.
fn filled(origin: &Node) -> String {
    let mut writer = origin.client();
    writer.tenant("one");
    let two = writer.tenant("two");
    let path = format!("/collections/{}", writer.collection(&two, "c"));
    for n in 0..50 {
        writer.put(&format!("{path}/keys/k{}", n % 20), format!("{{\"data\":{n}}}"));
    }
    writer.append("{\"tenant\":\"one\",\"data\":\"own\"}");
    path
}

fn lines(node: &Node, target: &str) -> Vec<String> {
    Stream::open(node.client(), target, LINES).changes()
}

/// How many streams are under way at a node.
fn streams(node: &Node) -> u64 {
    node.client().metric("streams")
}

#[test]
fn a_cache_passes_on_states_and_streams_of_what_it_does_not_hold() {
    let origin = Node::start();
    let collection = filled(&origin);
    let middle = started(cache_of(&origin));
    let outer = started(cache_of(&middle));
    let states = ["/tenants/two/state".to_owned(), format!("{collection}/state")];
    let lists = ["/changes".to_owned(), "/changes?tenant=two&tenant=one&tag=none".to_owned()];
    for cache in [&middle, &outer] {
        for target in states.iter().chain(&lists) {
            assert_eq!(lines(cache, target), lines(&origin, target), "{target}");
            let headers = [("Accept", LINES), ("Accept-Encoding", "gzip")];
            let stream = Stream::open_with(cache.client(), target, &headers);
            assert_eq!(stream.head.header("content-encoding"), Some("gzip"));
            assert_eq!(stream.decoded(GzDecoder::new).changes(), lines(&origin, target));
            let mut clients = [cache.client(), origin.client()];
            let [own, other] = clients
                .each_mut()
                .map(|client| client.request("HEAD", target, &[("Accept", LINES)], b""));
            for name in ["content-type", "cache-control", "vary", "x-accel-buffering"] {
                assert!(own.header(name).is_some(), "{name}");
                assert_eq!(own.header(name), other.header(name), "{target} {name}");
            }
            assert_eq!((own.status, own.last() <= other.last()), (200, true));
            assert_eq!(own.header("changeagent-cluster"), other.header("changeagent-cluster"));
            assert!(own.header("changeagent-age").is_some());
            assert_eq!(clients[0].get("/health").status, 200, "the connection goes on");
        }
        cache.client().get("/tenants/nobody/state").problem(404, "not-found");
        cache.client().get("/tenants/two/state?after=x").problem(400, "invalid-parameter");
        let json = [("Accept", "application/json")];
        let refused = cache.client().request("GET", "/tenants/two/state", &json, b"");
        refused.problem(406, "not-acceptable");
    }
    assert_eq!(lines(&outer, &states[0]).len(), 22, "20 keys, a head and an end");
}

#[test]
fn a_passed_stream_goes_on_with_what_is_written_and_ends_with_its_client_or_its_origin() {
    let origin = Node::start();
    filled(&origin);
    let middle = started(cache_of(&origin));
    let outer = started(cache_of(&middle));
    let since = newest(&origin);
    let target = format!("/changes?since={since}");
    let mut events = Stream::open(outer.client(), &target, EVENTS);
    assert_eq!(events.cursor(), since);
    let follows = format!("/tenants/two/changes?since={since}&block=60");
    let mut follow = Stream::open(outer.client(), &follows, LINES);
    // Written where it is read, too.
    for (n, node) in [&origin, &middle, &outer, &origin].into_iter().enumerate() {
        let id = node.client().append(format!("{{\"tenant\":\"two\",\"data\":{n}}}"));
        assert_eq!(events.event().unwrap().id, id);
        assert!(follow.change().unwrap().contains(&format!("\"_id\":{id},")));
    }
    for node in [&origin, &middle, &outer] {
        assert_eq!(streams(node), 2);
    }
    drop(follow);
    for node in [&outer, &middle, &origin] {
        eventually("one has ended", || streams(node) == 1);
    }
    // It goes on from where it was.
    let since = newest(&origin);
    let resume = since.to_string();
    let headers = [("Accept", EVENTS), ("Last-Event-ID", resume.as_str())];
    let mut again = Stream::open_with(outer.client(), "/changes", &headers);
    assert_eq!(again.cursor(), since);
    drop(origin.kill());
    for mut stream in [events, again] {
        let end = std::iter::from_fn(|| Some(stream.try_line()))
            .find(|line| !matches!(line, Ok(Some(_))));
        assert!(matches!(end, Some(Err(_))), "it is broken off");
    }
    let mut client = outer.client();
    client.request("GET", "/tenants/two/state", &[("Accept", LINES)], b"").problem(503, "behind");
    let told = client.request("GET", "/changes", &[("Accept", EVENTS)], b"");
    assert!(told.status == 200 && told.text().contains("event: unavailable"), "{}", told.text());
    for node in [&outer, &middle] {
        eventually("all have ended", || streams(node) == 0);
    }
}

#[test]
fn a_client_that_reads_slowly_holds_up_the_origin_and_no_memory() {
    const CHANGES: usize = 48;
    const MIB: usize = 1 << 20;
    let origin = Node::start();
    let collection = filled(&origin);
    let data = "k".repeat(MIB - 100);
    let mut writer = origin.client();
    for n in 0..CHANGES {
        writer.put(&format!("{collection}/keys/large{n:02}"), format!("{{\"data\":\"{data}\"}}"));
    }
    let cache = started(cache_of(&origin));
    let sent = |client: &mut Client| client.metric("sent_bytes_total") as usize;
    let (mut own, mut other) = (cache.client(), origin.client());
    let (own_before, before) = (sent(&mut own), sent(&mut other));
    let mut stream = Stream::open(cache.client(), &format!("{collection}/state"), LINES);
    let mut last = 0;
    eventually("the client is full", || {
        let now = own.metric("streams") as usize * (sent(&mut own) - own_before) / (MIB / 16);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    // Sockets hold some, and the cache one part.
    let given = sent(&mut other) - before;
    assert!(given < CHANGES * MIB / 2, "the origin sent {given} bytes");
    let held = own.metric("held_bytes");
    assert!(held < MIB as u64, "the cache holds {held} bytes");
    let first: Value = serde_json::from_str(&stream.change().unwrap()).unwrap();
    let all = stream.changes();
    let end: Value = serde_json::from_str(all.last().unwrap()).unwrap();
    assert_eq!((all.len(), &end), (CHANGES + 21, &json!({"end": true, "since": first["since"]})));
    assert_eq!(all.iter().filter(|line| line.len() > data.len()).count(), CHANGES);
}

#[test]
fn history_before_a_copy_begins_is_passed_on_as_a_stream() {
    let origin = Node::with(&SHORT_SEGMENTS);
    let mut writer = origin.client();
    for n in 0..60 {
        writer.append(format!("{{\"data\":\"{n}{}\"}}", "k".repeat(20_000)));
    }
    let flags = [&SHORT_SEGMENTS[..], &["--of", &origin.url(), "--retain-min-changes", "5"]];
    let cache = started(NodeBuilder::new().command("cache").flags(&flags.concat()));
    eventually("it has purged history", || cache.client().get("/cluster/log?from=0").status == 410);
    let first = cache.client().list("?limit=1")["changes"][0]["_id"].as_u64().unwrap();
    assert!(first > 3, "it begins with {first}");
    assert_eq!(lines(&cache, "/changes?since=1"), lines(&origin, "/changes?since=1"));
    let headers = [("Accept", EVENTS), ("Last-Event-ID", "1")];
    let mut events = Stream::open_with(cache.client(), "/changes", &headers);
    for id in 2..=60 {
        assert_eq!(events.event().unwrap().id, id);
    }
    let id = writer.append("{\"data\":1}");
    assert_eq!(events.event().unwrap().id, id);
    assert_eq!(streams(&origin), 1);
    // What it holds it serves itself.
    let headers = [("Accept", EVENTS), ("Last-Event-ID", "59")];
    let mut own = Stream::open_with(cache.client(), "/changes", &headers);
    assert_eq!(own.event().unwrap().id, 60);
    assert_eq!((streams(&cache), streams(&origin)), (2, 1));
}

#[test]
fn passed_streams_leave_room_for_pages_and_writes() {
    /// A quarter of what one core hands on at once.
    const MOST: usize = 64;
    let origin = Node::start();
    filled(&origin);
    let cache = started(cache_of(&origin).flags(&["--cores", "1"]));
    let mut open: Vec<Stream> =
        (0..MOST).map(|_| Stream::open(cache.client(), "/changes?since=now", EVENTS)).collect();
    let mut client = cache.client();
    let refused = client.request("GET", "/changes", &[("Accept", LINES)], b"");
    refused.problem(503, "overloaded");
    let told = client.request("GET", "/changes", &[("Accept", EVENTS)], b"");
    assert!(told.text().contains("overloaded"), "{}", told.text());
    assert_eq!(client.get("/tenants/two").status, 200);
    client.append("{\"tenant\":\"two\",\"data\":1}");
    open.pop();
    eventually("there is room again", || {
        client.request("GET", "/tenants/two/state", &[("Accept", LINES)], b"").status == 200
    });
}

#[test]
fn a_passed_stream_is_for_who_may_read_it_and_ends_with_that() {
    let site = Site::start();
    let mut client = site.node.client();
    let acme = site.token("admin", &json!({"tenant": "acme"})).token;
    let token = site.token("read", &json!({"tenant": "other"}));
    let cache = |builder: NodeBuilder| {
        let own = file(builder.directory().path(), "token", &acme);
        let (url, own) = (site.node.url(), own.to_str().unwrap().to_owned());
        let flags = ["--of", &url, "--tenant", &site.acme, "--token-file", &own];
        builder.command("cache").flags(&flags).start()
    };
    // One leaves it to its origin who may do what, the other asks for tokens itself.
    let caches = [cache(NodeBuilder::new()), cache(with_token(NodeBuilder::new(), ROOT))];
    let (path, root) = ("/tenants/other/changes", bearer(ROOT));
    let id = asked(&mut client, "POST", path, &root, "{\"data\":1}").id();
    let refused = |cache: &Node, token: &str, status: u16, code: &str| {
        let headers = [("Accept", EVENTS), ("Authorization", token)];
        let headers = if token.is_empty() { &headers[..1] } else { &headers };
        cache.client().request("GET", path, headers, b"").problem(status, code);
    };
    for cache in &caches {
        eventually("it has caught up", || newest(cache) == id);
        refused(cache, &bearer(&acme), 404, "not-found");
        refused(cache, "", 401, "unauthenticated");
    }
    let other = bearer(&token.token);
    let headers = [("Accept", EVENTS), ("Authorization", other.as_str())];
    let mut stream = Stream::open_with(caches[0].client(), path, &headers);
    assert_eq!(stream.event().unwrap().id, id);
    // Of tokens of others a cache of some tenants knows nothing.
    refused(&caches[1], &other, 401, "unauthenticated");
    let said = json!({"path": path}).to_string();
    let made = asked(&mut client, "POST", "/tickets", &root, &said).json();
    let target = format!("{path}?ticket={}", made["ticket"].as_str().unwrap());
    let mut ticketed = Stream::open(caches[1].client(), &target, EVENTS);
    assert_eq!(ticketed.event().unwrap().id, id);
    let again = caches[1].client().request("GET", &target, &[("Accept", EVENTS)], b"");
    again.problem(401, "unauthenticated");
    let revoke = format!("/tokens/{}", token.id);
    assert_eq!(asked(&mut client, "DELETE", &revoke, &root, "").status, 200);
    let told = std::iter::from_fn(|| stream.message()).find(|told| told.name != "cursor");
    assert_eq!(told.unwrap().name, "reset");
    assert!(stream.message().is_none(), "it has ended");
    refused(&caches[0], &other, 401, "unauthenticated");
}

#[test]
fn a_ticket_for_what_a_cache_passes_on_is_its_origins() {
    let site = Site::start();
    let mut client = site.node.client();
    let acme = site.token("admin", &json!({"tenant": "acme"})).token;
    let (path, root) = ("/tenants/other/changes", bearer(ROOT));
    let id = asked(&mut client, "POST", path, &root, "{\"data\":1}").id();
    for builder in [NodeBuilder::new(), with_token(NodeBuilder::new(), ROOT)] {
        let own = file(builder.directory().path(), "token", &acme);
        let (url, own) = (site.node.url(), own.to_str().unwrap().to_owned());
        let flags = ["--of", &url, "--tenant", &site.acme, "--token-file", &own];
        let cache = builder.command("cache").flags(&flags).start();
        eventually("it has caught up", || newest(&cache) == id);
        let mut reader = cache.client();
        let mut ask = |path: &str, token: &str| {
            asked(&mut reader, "POST", "/tickets", token, &json!({"path": path}).to_string())
        };
        let made = ask(path, &root).json();
        let target = format!("{path}?ticket={}", made["ticket"].as_str().unwrap());
        let mut stream = Stream::open(cache.client(), &target, EVENTS);
        assert_eq!(stream.event().unwrap().id, id);
        ask("/tenants/nobody/changes", &root).problem(404, "not-found");
        ask("/tenants/other", &root).problem(400, "invalid-parameter");
    }
}

#[test]
fn a_passed_stream_is_told_that_its_origin_has_another_history() {
    let directory = temporary();
    let (out, data) = (directory.path().join("backup"), directory.path().join("restored"));
    let origin = Node::start();
    filled(&origin);
    let address = origin.address().to_string();
    let words = [&["backup", "--out", out.to_str().unwrap()][..]].concat();
    run(&origin.url(), &words).ok();
    let middle = NodeBuilder::new().command("cache").flags(&["--of", &origin.url()]);
    let middle = started(middle);
    let outer = started(cache_of(&middle));
    let since = newest(&origin);
    eventually("all have all", || newest(&middle) == since && newest(&outer) == since);
    let mut events = Stream::open(outer.client(), &format!("/changes?since={since}"), EVENTS);
    assert_eq!(events.cursor(), since);
    let lines = format!("/tenants/two/changes?since={since}&block=300");
    let mut lines = Stream::open(outer.client(), &lines, LINES);
    assert_eq!((streams(&middle), streams(&outer)), (2, 2));
    drop(origin.kill());
    let words = ["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run("http://127.0.0.1:1", &words).ok();
    let origin = NodeBuilder::bare(&directory, &data).flags(&["--listen", &address]).start();
    let told = std::iter::from_fn(|| events.message()).find(|told| told.name != "cursor").unwrap();
    assert_eq!((&*told.name, &told.json()["code"]), ("reset", &json!("other-history")));
    assert!(events.message().is_none(), "it has ended");
    let end = std::iter::from_fn(|| Some(lines.try_line())).find(|it| !matches!(it, Ok(Some(_))));
    assert!(end.unwrap().is_err(), "lines are broken off");
    drop(origin);
}
