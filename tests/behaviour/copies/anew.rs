//! A cache whose origin has purged what comes next, or has another history: it begins anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use testkit::{
    Client, Node, NodeBuilder, Relay, SHORT_SEGMENTS, Stream, eventually, files, run, temporary,
};

use super::{agree, at, cache_of, shows};
use crate::caches::{newest, number, started, tried};

/// Asks a cache for its list until it is told to stop.
struct Asks {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Option<u16>>,
}

impl Asks {
    fn start(cache: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address) = (Arc::clone(&stop), cache.address());
        let (asked, answered) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // A connection may break while the process is replaced.
                let client = Client::try_connect(address, Duration::from_secs(30));
                let answer = client.and_then(|mut it| it.try_request("GET", "/changes", &[], b""));
                if let Some(answer) = answer.filter(|answer| answer.status != 200) {
                    return Some(answer.status);
                }
                let _ = asked.send(());
            }
            None
        });
        answered.recv().expect("it is asked");
        Self { stop, thread }
    }

    /// The first answer that was none, if one was.
    fn end(self) -> Option<u16> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// Fills a node until its log is purged beyond the entry `index`.
fn purges(node: &Node, index: u64) {
    let mut client = node.client();
    eventually("history is purged", || {
        for _ in 0..20 {
            client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
        }
        let answer = client.get("/cluster/log?from=0");
        answer.status == 410 && answer.json()["purged"].as_u64().unwrap() > index
    });
}

#[test]
fn a_cache_begins_with_the_checkpoint_of_an_origin_that_has_purged_history() {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let origin = NodeBuilder::new().flags(&flags).start();
    let mut client = origin.client();
    let tenant = client.tenant("t");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "c"));
    for n in 0..60 {
        client.put(&format!("{keys}/k{n}"), format!("{{\"data\":\"{}\"}}", "k".repeat(20_000)));
    }
    purges(&origin, 60);
    let cache = started(cache_of(&origin.url()).flags(&SHORT_SEGMENTS));
    let own = |node: &Node, last: u64| {
        let mut client = node.client();
        client.get(&format!("/changes?since={}&min_id={last}&block=60", last - 1));
        (client.page(&format!("{keys}?limit=10000")), client.page("/tenants"))
    };
    eventually("it is read", || cache.client().get("/changes").status == 200);
    let last = newest(&origin);
    assert_eq!(own(&origin, last), own(&cache, last));
    let applied = number(&cache.client().get("/cluster"), "changeagent-last");
    assert!(applied >= last);
    // What is purged while it is away does not stand in its way.
    let builder = cache.kill();
    let end = number(&client.get("/cluster/log?from=999999&block=0"), "changeagent-last");
    let index = client.get("/cluster").json()["applied"].as_u64().unwrap();
    purges(&origin, index);
    assert!(newest(&origin) > end);
    let cache = builder.start();
    let last = newest(&origin);
    shows(&cache, last);
    assert_eq!(own(&origin, last), own(&cache, last));
    let said = cache.stderr();
    assert!(said.contains("this copy begins anew"), "{said}");
}

/// Kills a cache as soon as it has said that.
fn killed_once_it_says(builder: NodeBuilder, words: &str) -> NodeBuilder {
    let cache = builder.launch();
    eventually("it says so", || cache.stderr().contains(words));
    cache.kill()
}

#[test]
fn a_cache_that_is_killed_while_it_begins_anew_goes_on_with_that() {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let origin = NodeBuilder::new().flags(&flags).start();
    let mut client = origin.client();
    let tenant = client.tenant("t");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "c"));
    // The checkpoint comes in several parts.
    for n in 0..120 {
        client.put(&format!("{keys}/k{n}"), format!("{{\"data\":\"{}\"}}", "k".repeat(20_000)));
    }
    purges(&origin, 120);
    let mut builder = cache_of(&origin.url()).flags(&SHORT_SEGMENTS);
    let taken_in = "the checkpoint of the origin is taken in";
    for _ in 0..3 {
        builder = killed_once_it_says(builder, taken_in);
    }
    for step in [taken_in, taken_in, "this copy begins anew", taken_in] {
        // It had caught up before.
        let cache = builder.start();
        shows(&cache, newest(&origin));
        builder = cache.kill();
        purges(&origin, client.get("/cluster").json()["applied"].as_u64().unwrap());
        builder = killed_once_it_says(builder, step);
    }
    let cache = builder.start();
    let last = newest(&origin);
    shows(&cache, last);
    let own = |node: &Node| {
        let mut client = node.client();
        client.get(&format!("/changes?since={}&min_id={last}&block=60", last - 1));
        (client.page(&format!("{keys}?limit=10000")), client.page("/tenants"))
    };
    assert_eq!(own(&origin), own(&cache));
    assert_eq!(own(&origin).0["keys"].as_array().unwrap().len(), 120);
}

#[test]
fn a_cache_goes_over_to_the_new_history_of_an_origin_that_was_restored() {
    let directory = temporary();
    let (out, data) = (directory.path().join("backup"), directory.path().join("restored"));
    let origin = Node::start();
    let address = origin.address().to_string();
    let mut client = origin.client();
    for id in 1..=5 {
        client.append(format!("{{\"data\":{id}}}"));
    }
    run(&origin.url(), &["backup", "--out", out.to_str().unwrap()]).ok();
    // So the log of the new history is shorter than what the cache has.
    for _ in 0..30 {
        client.append(r#"{"data":"lost"}"#);
    }
    let cache = started(cache_of(&origin.url()));
    agree(&origin, &cache);
    let before = client.get("/health").header("changeagent-cluster").unwrap().to_owned();
    let mut events = Stream::open(cache.client(), "/changes", "text/event-stream");
    let mut lines = Stream::open(cache.client(), "/changes?block=300", "application/x-ndjson");
    assert!(lines.change().is_some());
    drop(origin.kill());
    let words = ["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run("http://127.0.0.1:1", &words).ok();
    let asks = Asks::start(&cache);
    let origin = at(NodeBuilder::bare(&directory, &data), &address).start();
    eventually("it is ready", || origin.client().get("/ready").status == 200);
    eventually("it has the new history", || {
        let answer = tried(&cache, "/changes");
        answer.is_some_and(|it| {
            it.status == 200 && it.header("changeagent-cluster") != Some(&*before)
        })
    });
    let refused = asks.end();
    assert_eq!(refused, None, "it serves what it had, then what there is now");
    let mut said = Vec::new();
    while let Some(line) = events.line() {
        said.push(line);
    }
    let reset = said.iter().position(|line| line == "event: reset").expect("it is told");
    let problem: Value = serde_json::from_str(&said[reset + 1]["data: ".len()..]).unwrap();
    assert_eq!(problem["code"], "other-history");
    let broken =
        std::iter::from_fn(|| Some(lines.try_line())).find(|it| !matches!(it, Ok(Some(_))));
    assert!(broken.unwrap().is_err(), "lines of another history are not taken for the end");
    origin.client().append(r#"{"data":"new"}"#);
    agree(&origin, &cache);
    cache.client().get(&format!("/changes?cluster={before}")).problem(409, "other-history");
}

#[test]
fn a_cache_serves_what_it_had_while_it_takes_in_another_history_also_when_it_is_killed_then() {
    let directory = temporary();
    let (out, data) = (directory.path().join("backup"), directory.path().join("restored"));
    let origin = Node::with(&SHORT_SEGMENTS);
    let mut client = origin.client();
    for id in 1..=80 {
        client.append(format!("{{\"data\":\"{id}{}\"}}", "k".repeat(20_000)));
    }
    run(&origin.url(), &["backup", "--out", out.to_str().unwrap()]).ok();
    client.append(r#"{"data":"lost"}"#);
    let relay = Relay::start(origin.address());
    let cache = started(cache_of(&relay.url()).flags(&SHORT_SEGMENTS));
    agree(&origin, &cache);
    drop(origin.kill());
    let words = ["restore", "--from", out.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run("http://127.0.0.1:1", &words).ok();
    let origin = NodeBuilder::bare(&directory, &data).flags(&SHORT_SEGMENTS).start();
    eventually("it is ready", || origin.client().get("/ready").status == 200);
    origin.client().append(r#"{"data":"new"}"#);
    // It is looked what there is, a mebibyte of it, and then all is taken in, the same length first.
    relay.go_on(origin.address());
    relay.hold_after(2_300_000);
    relay.holds();
    let staged = || {
        let names = files(&cache.data());
        names.into_keys().filter(|name| name.extension().is_some_and(|it| it == "staged")).count()
    };
    assert!(staged() > 1, "some of it is there");
    assert_eq!(cache.client().list("?since=80")["changes"][0]["data"], "lost");
    let cache = cache.kill().start();
    assert_eq!(cache.client().list("?since=80")["changes"][0]["data"], "lost", "at once");
    relay.go_on(origin.address());
    eventually("it has the new history", || {
        let answer = tried(&cache, "/changes?since=80");
        answer.is_some_and(|it| it.status == 200 && it.json()["changes"][0]["data"] == "new")
    });
    agree(&origin, &cache);
}
