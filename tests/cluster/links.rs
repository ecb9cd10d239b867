//! Networks that are slow, break every connection early, or change what they carry: a node behind one
//! gets all entries, as long as anything passes.

use serde_json::json;

use testkit::{Client, Wrong, cluster::Cluster, eventually};

/// One request with so many changes of so many bytes each: one entry.
fn write(client: &mut Client, changes: usize, bytes: usize) {
    let change = json!({ "data": "x".repeat(bytes) });
    let body = json!(vec![change; changes]).to_string();
    let answer = client.json("POST", "/changes", body);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// How often a node has said something.
fn said(cluster: &Cluster, node: usize, text: &str) -> usize {
    cluster.node(node).stderr().matches(text).count()
}

const BREAK: &str = "connections to the node break";
const DAMAGED: &str = "entries arrive damaged at the node";
const TOO_LONG: &str = "a single entry is longer than what passes to the node";
const TAKEN_AGAIN: &str = "the node takes entries again";

#[test]
fn an_entry_arrives_that_takes_longer_on_its_way_than_a_node_may_say_nothing() {
    let mut cluster = Cluster::with(1, &[]);
    // More than five seconds of it, twice.
    let (node, _link) = cluster.grow_behind_link("learner", Wrong::Slow(75_000));
    let mut client = cluster.client(0);
    write(&mut client, 1, 900_000);
    write(&mut client, 1, 100);
    cluster.catches_up(node);
    assert_eq!(said(&cluster, 0, BREAK), 0, "one connection is enough");
}

#[test]
fn entries_arrive_where_every_connection_breaks_before_a_mebibyte_has_passed() {
    let mut cluster = Cluster::with(1, &[]);
    let mut client = cluster.client(0);
    for _ in 0..40 {
        write(&mut client, 1, 50_000);
    }
    let (node, link) = cluster.grow_behind_link("learner", Wrong::Cut(150_000));
    link.was_wrong(3);
    cluster.catches_up(node);
}

#[test]
fn entries_that_are_changed_on_their_way_are_not_taken_and_arrive_once_they_are_not() {
    let mut cluster = Cluster::with(1, &[]);
    let (node, link) = cluster.grow_behind_link("learner", Wrong::Nothing);
    cluster.catches_up(node);
    let mut client = cluster.client(0);
    link.set(Wrong::Flip);
    write(&mut client, 1, 12_000);
    link.was_wrong(6);
    eventually("it is told", || said(&cluster, 0, DAMAGED) > 0);
    let held = cluster.client(node).page("/changes?since=now")["last"].as_u64().unwrap();
    assert_eq!(held, 0, "what was changed is not taken");
    link.set(Wrong::Nothing);
    cluster.catches_up(node);
    assert_eq!((said(&cluster, 0, DAMAGED), said(&cluster, 0, TAKEN_AGAIN)), (1, 1));
}

#[test]
fn an_entry_that_is_longer_than_what_passes_before_each_break_is_told_with_its_length() {
    let mut cluster = Cluster::with(1, &[]);
    let (node, link) = cluster.grow_behind_link("learner", Wrong::Nothing);
    cluster.catches_up(node);
    link.set(Wrong::Cut(300_000));
    let mut client = cluster.client(0);
    // What comes before it arrives, and less than what passes.
    write(&mut client, 1, 200_000);
    cluster.catches_up(node);
    assert_eq!(said(&cluster, 0, TOO_LONG), 0);
    write(&mut client, 1, 900_000);
    write(&mut client, 1, 100);
    eventually("it is told", || said(&cluster, 0, TOO_LONG) == 1);
    let told = cluster.node(0).stderr();
    let line = told.lines().find(|line| line.contains(TOO_LONG)).unwrap();
    assert!(line.contains("bytes=900") && line.contains("--max-body"), "{line}");
    let last = |number: usize| cluster.client(number).page("/changes?since=now")["last"].as_u64();
    assert_eq!(last(0), last(node).map(|last| last + 2), "nothing passes it");
    link.set(Wrong::Nothing);
    cluster.catches_up(node);
    assert_eq!((said(&cluster, 0, TOO_LONG), said(&cluster, 0, TAKEN_AGAIN)), (1, 1));
}
