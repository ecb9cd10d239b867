//! What packaging/ brings for those who watch a cluster speaks of metrics that its nodes have.

use std::{collections::BTreeSet, fs, path::Path};

use testkit::{cluster::Cluster, eventually};

/// The names of metrics in a text: words that begin as such do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("changeagent_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let cluster = Cluster::with(2, &["--metrics-tenants", "5"]);
    let leader = cluster.leader();
    // What was never counted is not shown.
    let mut stranger = cluster.client(leader);
    stranger.send("GET /\r\n\r\n");
    assert_eq!(stranger.answer().status, 400);
    let mut shown = BTreeSet::new();
    eventually("the leader knows how far the other member is", || {
        shown = names(cluster.client(leader).get("/metrics").text());
        shown.contains("changeagent_raft_lag")
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for (file, at_least) in [("prometheus/alerts.yml", 15), ("grafana/changeagent.json", 30)] {
        let asked = names(&fs::read_to_string(root.join(file)).unwrap());
        assert!(asked.len() >= at_least, "{file} was not understood");
        let missing: Vec<_> = asked.difference(&shown).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
}
