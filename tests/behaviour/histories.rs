//! `cluster=`: ids of another history are told apart before they are taken for ids of this one.

use std::time::{Duration, Instant};

use serde_json::json;

use testkit::{Bar, Stream};

const OTHER: &str = "5a3c1f0e-9b7d-4e2a-8c6f-a1b2c3d4e5f6";

/// Every read that has ids in it, or gives some.
fn targets(bar: &Bar) -> [String; 9] {
    let collection = &bar.collection;
    [
        "/changes?".to_owned(),
        "/tenants/foo/changes?".to_owned(),
        format!("/collections/{collection}/changes?"),
        "/changes/1?".to_owned(),
        format!("/collections/{collection}/keys?"),
        format!("/collections/{collection}/keys/k?"),
        "/tenants?".to_owned(),
        "/tenants/foo/collections?".to_owned(),
        "/tenants/foo?".to_owned(),
    ]
}

#[test]
fn ids_of_this_history_are_served_and_those_of_another_refused_at_once() {
    let mut bar = Bar::start();
    let key = bar.key("k");
    assert_eq!(bar.client.put(&key, r#"{"data":1}"#).status, 201);
    let answer = bar.client.get("/changes");
    let own = answer.header("changeagent-cluster").unwrap().to_owned();
    for target in targets(&bar) {
        for own in [own.clone(), own.to_uppercase()] {
            assert_eq!(bar.client.get(&format!("{target}cluster={own}")).status, 200, "{target}");
        }
        let answer = bar.client.get(&format!("{target}cluster={OTHER}"));
        let problem = answer.problem(409, "other-history");
        assert_eq!(problem["cluster"], own, "{target}: {problem}");
    }
    let problem = bar.client.get("/changes?cluster=mine").problem(400, "invalid-parameter");
    assert_eq!(problem["parameter"], "cluster");
}

#[test]
fn a_position_of_another_history_neither_waits_nor_is_told_that_something_is_missing() {
    let mut bar = Bar::start();
    let own = bar.client.get("/changes").header("changeagent-cluster").unwrap().to_owned();
    let start = Instant::now();
    for target in [
        format!("/changes?since=1000&block=60&cluster={OTHER}"),
        format!("/changes?min_id=1000&cluster={OTHER}"),
        // What it names need not be here, and that is not what is wrong.
        format!("/tenants/nobody/changes?since=9&block=60&cluster={OTHER}"),
    ] {
        let problem = bar.client.get(&target).problem(409, "other-history");
        assert_eq!(problem["cluster"], own, "{target}");
    }
    let lines = [("Accept", "application/x-ndjson")];
    let target = format!("/changes?since=5&block=60&cluster={OTHER}");
    bar.client.request("GET", &target, &lines, b"").problem(409, "other-history");
    assert!(start.elapsed() < Duration::from_secs(30), "nothing of it waited");
}

#[test]
fn events_of_another_history_are_reset() {
    let bar = Bar::start();
    let own = bar.node.client().get("/changes").header("changeagent-cluster").unwrap().to_owned();
    let target = format!("/changes?cluster={OTHER}");
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", "77")];
    let answer = bar.node.client().request("GET", &target, &headers, b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let problem = answer.text().strip_prefix("retry: 1000\nevent: reset\ndata: ");
    let problem = problem.and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
    let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
    assert_eq!((&problem["code"], &problem["cluster"]), (&json!("other-history"), &json!(own)));

    let target = format!("/changes?cluster={own}");
    let mut stream = Stream::open(bar.node.client(), &target, "text/event-stream");
    assert_eq!(stream.cursor(), 0);
}

#[test]
fn a_write_of_another_history_does_not_happen() {
    let mut bar = Bar::start();
    let own = bar.client.get("/changes").header("changeagent-cluster").unwrap().to_owned();
    let key = bar.key("k");
    for (method, target) in [("POST", "/changes"), ("PUT", &*key), ("POST", "/tenants/foo/changes")]
    {
        let mut write = |of: &str| {
            let headers = [("ChangeAgent-Cluster", of), ("Content-Type", "application/json")];
            bar.client.request(method, target, &headers, br#"{"data":1}"#)
        };
        let problem = write(OTHER).problem(409, "other-history");
        assert_eq!(problem["cluster"], own, "{method} {target}");
        write("mine").problem(400, "invalid-parameter");
        assert_eq!(write(&own).status, 201, "{method} {target}");
    }
    assert_eq!(bar.client.get("/changes").json()["last"], 3, "the others did not happen");
}
