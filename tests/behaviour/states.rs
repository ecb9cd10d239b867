//! `GET /collections/C/state` and `GET /tenants/T/state`: the current change of each live key,
//! then the changes that follow.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use testkit::{Bar, Client, Node, NodeBuilder, SHORT_SEGMENTS, Stream, eventually, ids, percent};

const LINES: &str = "application/x-ndjson";

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// A whole state: its head, its changes, its end.
fn state(client: Client, target: &str) -> (Value, Vec<Value>, Value) {
    let lines = Stream::open(client, target, LINES).changes();
    let mut lines: Vec<Value> = lines.iter().map(|line| parse(line)).collect();
    let end = lines.pop().expect("it has an end");
    let head = lines.remove(0);
    (head, lines, end)
}

#[test]
fn it_begins_with_where_it_stands_and_ends_with_that() {
    let mut bar = Bar::start();
    let cluster = bar.client.get("/changes").header("changeagent-cluster").unwrap().to_owned();
    let target = format!("/collections/{}/state", bar.collection);
    let (head, keys, end) = state(bar.node.client(), &target);
    assert_eq!((head, keys), (json!({"cluster": cluster, "since": 0}), vec![]));
    assert_eq!(end, json!({"end": true, "since": 0}));
    for (n, key) in ["b", "a/b", "é", "gone", "a/b"].into_iter().enumerate() {
        bar.put(key, n);
    }
    let gone = bar.key("gone");
    bar.client.delete(&gone).id();
    bar.client.append(r#"{"data":1}"#);
    let listed = bar.client.page(&bar.keys.clone());
    for target in [
        target.clone(),
        "/tenants/foo/collections/bar/state".into(),
        format!("/tenant/{}/state", bar.tenant),
    ] {
        let (head, keys, end) = state(bar.node.client(), &target);
        assert_eq!(head, json!({"cluster": cluster, "since": 7}), "{target}");
        assert_eq!(json!(keys), listed["keys"], "{target}");
        assert_eq!(end, json!({"end": true, "since": 7}), "{target}");
    }
    let after = format!("{target}?after={}/{}", bar.collection, percent("a/b"));
    let (_, keys, _) = state(bar.node.client(), &after);
    assert_eq!(json!(keys), json!(listed["keys"].as_array().unwrap()[1..]));
}

#[test]
fn what_cannot_be_had_is_refused() {
    let mut bar = Bar::start();
    let target = format!("/collections/{}/state", bar.collection);
    let uuid = "00000000-0000-4000-8000-000000000000";
    for missing in [format!("/collections/{uuid}/state"), "/tenants/nobody/state".into()] {
        bar.client.get(&missing).problem(404, "not-found");
    }
    for (query, parameter) in [
        ("after=k", "after"),
        ("after=bar/k", "after"),
        ("follow=yes", "follow"),
        ("since=1", "since"),
        ("limit=1", "limit"),
    ] {
        let problem =
            bar.client.get(&format!("{target}?{query}")).problem(400, "invalid-parameter");
        assert_eq!(problem["parameter"], parameter, "{query}");
    }
    bar.client.get(&format!("{target}?cluster={uuid}")).problem(409, "other-history");
    bar.client.get(&format!("{target}?min_id=9")).problem(503, "behind");
    let headers = [("Accept", "application/json")];
    bar.client.request("GET", &target, &headers, b"").problem(406, "not-acceptable");
    bar.client.json("POST", &target, "{}").problem(405, "method-not-allowed");
    let answer = bar.client.request("HEAD", &target, &[], b"");
    assert_eq!(answer.header("content-type"), Some(LINES));
}

/// What a receiver holds: of each key the newest change that it was given.
#[derive(Default)]
struct Copy(BTreeMap<(String, String), Value>);

impl Copy {
    fn take(&mut self, change: Value) {
        let text = |member: &str| change[member].as_str().map(str::to_owned);
        let (Some(collection), Some(key)) = (text("collection"), text("key")) else { return };
        let id = |change: &Value| change["_id"].as_u64().unwrap();
        let held = self.0.get(&(collection.clone(), key.clone())).map_or(0, id);
        if id(&change) > held {
            self.0.insert((collection, key), change);
        }
    }

    fn live(&self) -> Vec<&Value> {
        self.0.values().filter(|change| change["deleted"].is_null()).collect()
    }
}

/// The live keys of all collections, as their lists tell.
fn listed(client: &mut Client, collections: &[String]) -> Vec<Value> {
    let mut sorted = collections.to_vec();
    sorted.sort_unstable();
    let keys = |collection: &String| {
        let page = client.page(&format!("/collections/{collection}/keys?limit=10000"));
        page["keys"].as_array().unwrap().clone()
    };
    sorted.iter().flat_map(keys).collect()
}

#[test]
fn whoever_follows_holds_exactly_the_state_whatever_is_written_meanwhile() {
    let node = Node::with(&["--cores", "2"]);
    let mut client = node.client();
    client.tenant("foo");
    let collections: Vec<String> =
        (0..3).map(|n| client.collection("foo", &format!("c{n}"))).collect();
    let write = &|client: &mut Client, n: usize| {
        let target = format!("/collections/{}/keys/k{}", collections[n % 3], n * 7 % 500);
        match n % 5 {
            4 => assert!([200, 404].contains(&client.delete(&target).status)),
            _ => {
                let data = json!({"data": format!("{n}{}", "x".repeat(400))});
                assert!([200, 201].contains(&client.put(&target, data.to_string()).status));
            }
        }
    };
    (0..1500).for_each(|n| write(&mut client, n));
    let stop = AtomicBool::new(false);
    let (stopped, mut writing) = (&stop, node.client());
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut n = 1500;
            while !stopped.load(Ordering::Relaxed) {
                write(&mut writing, n);
                n += 1;
            }
            n
        });
        let target = "/tenants/foo/state?follow=true&cursors=true";
        let mut stream = Stream::open(node.client(), target, LINES);
        let since = parse(&stream.change().unwrap())["since"].as_u64().unwrap();
        let (mut copy, mut before) = (Copy::default(), None);
        loop {
            let line = parse(&stream.change().expect("it goes on"));
            if line["end"] == true {
                assert_eq!(line["since"], since);
                break;
            }
            let place = ["collection", "key"].map(|name| line[name].as_str().unwrap().to_owned());
            assert!(before.is_none_or(|before| before < place), "by collection and key");
            before = Some(place);
            copy.take(line);
        }
        let mut last = since;
        for n in 0.. {
            if n == 200 {
                stop.store(true, Ordering::Relaxed);
            }
            if n >= 200 && writer.is_finished() {
                break;
            }
            follow(&mut stream, &mut copy, &mut last);
        }
        let written = writer.join().unwrap();
        assert!(written > 1700, "it was written to meanwhile");
        let newest = client.list("?since=now")["last"].as_u64().unwrap();
        while last < newest {
            follow(&mut stream, &mut copy, &mut last);
        }
        let wanted = listed(&mut client, &collections);
        assert!(copy.live().into_iter().eq(&wanted), "the copy is the state");
    });
}

/// Takes the next line of what follows a state.
fn follow(stream: &mut Stream, copy: &mut Copy, last: &mut u64) {
    let line = parse(&stream.change().expect("it goes on"));
    let id = line["_id"].as_u64().or(line["last"].as_u64()).expect("a change or a cursor");
    assert!(id >= *last, "{line} after {last}");
    *last = id;
    copy.take(line);
}

#[test]
fn keys_whose_changes_are_purged_are_in_it_and_a_broken_one_is_resumed() {
    let flags: Vec<&str> =
        SHORT_SEGMENTS.iter().copied().chain(["--retain-min-changes", "100"]).collect();
    let mut bar = Bar::on(NodeBuilder::new().flags(&flags).start());
    let data = "y".repeat(200);
    for n in 0..1500 {
        bar.put(&format!("k{n:04}"), json!(data));
    }
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(500)).repeat(80);
    for _ in 0..40 {
        assert_eq!(bar.client.post_lines("/changes", &batch).status, 201);
    }
    eventually("history is purged", || ids(&bar.client.list("?limit=1"))[0] > 1500);
    let wanted = listed(&mut bar.client, &[bar.collection.clone()]);
    let (_, keys, _) = state(bar.node.client(), "/tenants/foo/state");
    assert_eq!((keys.len(), &keys), (1500, &wanted));
    // Broken off after some keys, over a restart.
    let mut stream = Stream::open(bar.node.client(), "/tenants/foo/state", LINES);
    let head = parse(&stream.change().unwrap());
    let some: Vec<Value> = (0..700).map(|_| parse(&stream.change().unwrap())).collect();
    drop(stream);
    let bar = bar.again(Node::kill);
    let last = some.last().unwrap();
    let place = ["collection", "key"].map(|name| last[name].as_str().unwrap());
    let target = format!("/tenants/foo/state?after={}/{}", place[0], place[1]);
    let (again, rest, _) = state(bar.node.client(), &target);
    assert!(again["since"].as_u64() >= head["since"].as_u64());
    assert!(some.iter().chain(&rest).eq(&wanted), "together they are all of it");
}
