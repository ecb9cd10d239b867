//! `loadgen wait` and `loadgen stream`.

use testkit::{Every, Node, NodeBuilder, eventually};

use super::{loadgen, newest, preload, server};

/// Checks that so many waited in each of three rounds, and that nothing went missing.
fn arrives(run: &super::Run, waiting: u64) {
    assert_eq!(run.count("rounds"), 3);
    assert_eq!(run.count("waiting_min"), waiting, "{}", run.results());
    assert_eq!(run.count("missing"), 0);
    assert_eq!(run.of("arrival", "/latency/count"), 3 * waiting);
    assert_eq!(run.of("append", "/latency/count"), 3);
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
    assert_eq!(run.of("last arrival", "/latency/count"), 3);
}

#[test]
fn parked_polls_are_all_answered_by_one_append() {
    let fake = server(Every::default());
    preload(&fake, 1);
    let line =
        format!("wait --url {} --connections 40 --threads 2 --rounds 3 --settle 100ms", fake.url());
    let run = loadgen("wait", &line).passes();
    arrives(&run, 40);
    assert_eq!(newest(&fake), 4);
}

#[test]
fn polls_and_streams_stand_evenly_at_several_servers() {
    let node = Node::start();
    let cache = NodeBuilder::new().command("cache").flags(&["--of", &node.url()]).start();
    eventually("the cache has caught up", || cache.client().get("/ready").status == 200);
    let urls = format!("--url {} --url {} --append-url {}", cache.url(), node.url(), node.url());
    for command in ["wait", "stream", "stream --format ndjson"] {
        let line = format!(
            "{command} {urls} --connections 31 --threads 2 --rounds 3 --settle 1ms --verify"
        );
        let run = loadgen("several", &line).passes();
        arrives(&run, 31);
        for (url, waiting) in [(cache.url(), 16), (node.url(), 15)] {
            assert_eq!(run.count(&format!("waiting_min at {url}")), waiting);
            assert_eq!(run.of(&format!("arrival at {url}"), "/latency/count"), 3 * waiting);
            assert_eq!(run.of(&format!("last arrival at {url}"), "/latency/count"), 3);
        }
        assert_eq!(run.number("/verification/found"), 3);
        assert_eq!(run.operation("arrival")["errors"], serde_json::json!({}));
    }
    // Three rounds of three commands.
    cache.holds(9);
}
