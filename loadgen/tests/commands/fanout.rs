//! `loadgen wait` and `loadgen stream`.

use testkit::{Every, Node, NodeBuilder, eventually};

use super::{loadgen, newest, preload, server};

/// Checks that so many waited in each of three rounds, and that nothing went missing.
fn arrives(run: &super::Run, waiting: u64) {
    assert_eq!(run.count("/rounds"), 3);
    assert_eq!(run.count("/waiting_min"), waiting, "{}", run.results());
    assert_eq!(run.count("/missing"), 0);
    assert_eq!(run.count("/append_to_arrival/count"), 3 * waiting);
    assert_eq!(run.count("/append_to_last_arrival/count"), 3);
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
        let line = format!("{command} {urls} --connections 31 --threads 2 --rounds 3 --settle 1ms");
        let run = loadgen("several", &line).passes();
        arrives(&run, 31);
        for (at, waiting) in [(0, 16), (1, 15)] {
            let target = format!("/targets/{at}");
            assert_eq!(run.count(&format!("{target}/waiting_min")), waiting);
            assert_eq!(run.count(&format!("{target}/append_to_arrival/count")), 3 * waiting);
        }
        assert_eq!(run.results()["errors"], serde_json::json!({}));
    }
    // Three rounds of three commands.
    cache.holds(9);
}
