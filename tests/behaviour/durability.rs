//! What was acknowledged is there after any death of the process, and nothing
//! was visible that is not there afterwards.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually};

const WRITERS: usize = 4;

/// A round goes through several segments.
fn builder() -> NodeBuilder {
    NodeBuilder::new().flags(&SHORT_SEGMENTS)
}

/// Changes by id, as they were acknowledged: the content that the writer sent.
type Acknowledged = Vec<(u64, String)>;

/// Writes until the connection breaks; what was acknowledged counts.
fn write(address: SocketAddr, name: String, acknowledged: &AtomicUsize) -> Acknowledged {
    let mut client = Client::connect(address);
    let mut list = Vec::new();
    for n in 0.. {
        let content = |part: usize| format!("\"{name}-{n}-{part}-{}\"", "x".repeat(n * 37 % 3000));
        let count = if n % 5 == 4 { 1 + n % 7 } else { 1 };
        let contents: Vec<String> = (0..count).map(content).collect();
        let changes: Vec<_> = contents.iter().map(|data| format!("{{\"data\":{data}}}")).collect();
        let body = if n % 5 == 4 { format!("[{}]", changes.join(",")) } else { changes.concat() };
        if !client.try_send_request("POST", "/changes", &[], body.as_bytes()) {
            break;
        }
        let Some(answer) = client.try_answer() else { break };
        if answer.status != 201 {
            // A node that stops may refuse, and then has certainly not written.
            assert_eq!(answer.status, 503, "{answer:?}");
            break;
        }
        let answer = answer.json();
        let first = answer.get("_id").or(answer.get("first")).and_then(Value::as_u64).unwrap();
        list.extend((first..).zip(contents));
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    list
}

/// Follows the list from `since` until the connection breaks; everything that
/// was seen counts.
fn follow(address: SocketAddr, mut since: u64, following: &AtomicBool) -> BTreeMap<u64, String> {
    let mut client = Client::connect(address);
    let mut seen = BTreeMap::new();
    loop {
        let target = format!("/changes?since={since}&block=60&limit=1000");
        if !client.try_send_request("GET", &target, &[], b"") {
            return seen;
        }
        let Some(answer) = client.try_answer() else { return seen };
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json();
        for change in list["changes"].as_array().unwrap() {
            let id = change["_id"].as_u64().unwrap();
            assert_eq!(id, since + 1, "a follower sees every change in turn");
            seen.insert(id, change.to_string());
            since = id;
            following.store(true, Ordering::Relaxed);
        }
        assert_eq!(list["last"], since);
        if answer.header("connection") == Some("close") {
            return seen;
        }
    }
}

/// Everything that the node holds, as it renders it, with what must always hold
/// checked.
fn read_all(node: &Node) -> BTreeMap<u64, String> {
    let mut client = node.client();
    let mut all = BTreeMap::new();
    let mut contents = HashSet::new();
    let (mut since, mut newest) = (0, 0);
    loop {
        let list = client.list(&format!("?since={since}&limit=10000"));
        for change in list["changes"].as_array().unwrap() {
            let id = change["_id"].as_u64().unwrap();
            assert_eq!(id, since + 1, "ids are dense");
            let at = change["_ts"].as_u64().unwrap();
            assert!(at >= newest, "times never decrease: {newest} before {at}");
            assert!(contents.insert(change["data"].to_string()), "{change} is there twice");
            all.insert(id, change.to_string());
            (since, newest) = (id, at);
        }
        if list["atEnd"] == true {
            return all;
        }
    }
}

/// One load by several writers and a follower, ended by `end` once so many
/// writes were acknowledged.
fn load(
    node: Node,
    round: usize,
    enough: usize,
    since: u64,
    end: impl FnOnce(Node) -> NodeBuilder,
) -> (NodeBuilder, Acknowledged, BTreeMap<u64, String>) {
    let address = node.address();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let following = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let acknowledged = Arc::clone(&acknowledged);
            let name = format!("{round}-{writer}");
            thread::spawn(move || write(address, name, &acknowledged))
        })
        .collect();
    let follower = {
        let following = Arc::clone(&following);
        thread::spawn(move || follow(address, since, &following))
    };
    eventually("enough is written and followed", || {
        acknowledged.load(Ordering::Relaxed) >= enough && following.load(Ordering::Relaxed)
    });
    let builder = end(node);
    let written = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    (builder, written, follower.join().unwrap())
}

/// Checks that all that was acknowledged and all that was seen is in `all`.
fn check(all: &BTreeMap<u64, String>, acknowledged: &Acknowledged, seen: &BTreeMap<u64, String>) {
    for (id, content) in acknowledged {
        let change: Value =
            serde_json::from_str(all.get(id).expect("acknowledged, so it is there")).unwrap();
        assert_eq!(change["data"].to_string(), *content, "change {id}");
    }
    for (id, change) in seen {
        assert_eq!(all.get(id), Some(change), "what was visible stays as it was");
    }
}

#[test]
fn nothing_acknowledged_or_seen_is_lost_by_kills_under_load() {
    const ROUNDS: usize = 15;
    let mut node = builder().start();
    let cluster = node.client().get("/health").header("changeagent-cluster").map(str::to_owned);
    let (mut acknowledged, mut seen) = (Acknowledged::new(), BTreeMap::new());
    let mut all = BTreeMap::new();
    for round in 0..ROUNDS {
        let since = all.len() as u64;
        let (builder, written, followed) = load(node, round, 20 + round * 7, since, Node::kill);
        assert!(!written.is_empty() && !followed.is_empty());
        acknowledged.extend(written);
        seen.extend(followed);
        let cores = if round % 3 == 0 { "2" } else { "1" };
        node = builder.flags(&["--cores", cores]).start();
        let now = read_all(&node);
        assert!(all.iter().all(|(id, change)| now.get(id) == Some(change)), "history changed");
        all = now;
        check(&all, &acknowledged, &seen);
    }
    let answer = node.client().get("/health");
    assert_eq!(answer.header("changeagent-cluster").map(str::to_owned), cluster);
    assert_eq!(node.client().append(r#"{"data":1}"#), all.len() as u64 + 1);
}

#[test]
fn a_graceful_stop_under_load_loses_nothing() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (builder, acknowledged, seen) = load(builder().start(), 0, 100, 0, |node| {
            node.signal(signal);
            let (status, builder) = node.ends_within(std::time::Duration::from_secs(10));
            assert_eq!(status.code(), Some(0));
            builder
        });
        let node = builder.start();
        check(&read_all(&node), &acknowledged, &seen);
    }
}

#[test]
fn a_restart_keeps_everything() {
    let node = builder().start();
    let mut client = node.client();
    for n in 0..200 {
        client.append(format!(
            "{{\"tags\":[\"t{}\"],\"data\":\"{n}{}\"}}",
            n % 3,
            "x".repeat(5000)
        ));
    }
    let before = client.get("/changes?limit=1000");
    let filtered = client.get("/changes?tag=t1&limit=1000");
    let one = client.get("/changes/77");
    let segments = std::fs::read_dir(node.data()).unwrap().count();
    assert!(segments > 4, "the test goes through several segments, not {segments}");
    let mut node = node;
    for end in [Node::stop, Node::kill, Node::stop] {
        node = end(node).start();
        let mut client = node.client();
        assert_eq!(client.get("/changes?limit=1000").body, before.body);
        assert_eq!(client.get("/changes?tag=t1&limit=1000").body, filtered.body);
        let again = client.get("/changes/77");
        assert_eq!(again.body, one.body);
        assert_eq!(again.last(), 200);
        assert_eq!(again.header("changeagent-cluster"), one.header("changeagent-cluster"));
    }
    assert_eq!(node.client().append(r#"{"data":1}"#), 201);
}

#[test]
fn an_empty_node_keeps_its_cluster_over_restarts() {
    let node = Node::start();
    let cluster = node.client().get("/").header("changeagent-cluster").map(str::to_owned);
    let node = node.kill().start();
    assert_eq!(node.client().get("/").header("changeagent-cluster").map(str::to_owned), cluster);
    node.holds(0);
}

#[test]
fn segments_of_another_size_are_read_after_the_setting_changed() {
    let node = builder().start();
    let mut client = node.client();
    for n in 0..100 {
        client.append(format!("{{\"data\":\"{n}{}\"}}", "x".repeat(5000)));
    }
    let body = client.get("/changes").body;
    let node = node.stop().flags(&["--segment-size", "1MiB"]).start();
    let mut client = node.client();
    assert_eq!(client.get("/changes").body, body);
    for n in 0..100 {
        client.append(format!("{{\"data\":\"{n}{}\"}}", "x".repeat(5000)));
    }
    let node = node.kill().flags(&["--segment-size", "256KiB"]).start();
    node.holds(200);
}

#[test]
fn a_node_that_was_killed_starts_again_on_its_port_at_once() {
    for cores in ["1", "2"] {
        let mut node = Node::with(&["--cores", cores]);
        let address = node.address().to_string();
        let mut last = 0;
        for _ in 0..3 {
            let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
            for client in &mut clients {
                last = client.append(r#"{"data":1}"#);
            }
            node = node.kill().flags(&["--listen", &address]).start();
            assert_eq!(node.address().to_string(), address);
            node.holds(last);
        }
    }
}
