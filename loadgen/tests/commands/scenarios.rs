//! Commands that do several things at once, against real nodes.

use std::process::{Command, Stdio};

use testkit::{Node, eventually, strings};

use super::loadgen;

#[test]
fn each_change_reaches_those_who_wait_at_its_list() {
    let node = Node::start();
    let line = format!(
        "tenants --url {} --tenants 20 --waiters 2 --rate 200 --connections 4 --duration 500ms \
         --warmup 100ms --verify",
        node.url()
    );
    let run = loadgen("tenants", &line).passes();
    let measured = run.of("append", "/latency/count") + run.of("append", "/never_sent");
    assert_eq!(measured, 100, "{}", run.results());
    // Two wait at each list.
    assert_eq!(run.of("arrival", "/latency/count"), 2 * run.of("append", "/latency/count"));
    assert_eq!(run.count("missing"), 0);
    let acknowledged = run.number("/verification/acknowledged");
    // Those of the warm-up are among them.
    assert!(acknowledged >= run.of("append", "/latency/count"), "{}", run.results());
    node.holds(acknowledged);
    // The lists have the changes in turn.
    let tenants = node.client().get("/tenants?limit=1000").json();
    let tenants = strings(&tenants["tenants"], "tenant");
    assert_eq!(tenants.len(), 20);
    let lists = tenants.iter().map(|tenant| {
        let path = format!("/tenants/{tenant}/changes?limit=1000");
        node.client().get(&path).json()["changes"].as_array().map_or(0, Vec::len) as u64
    });
    assert!(lists.into_iter().all(|count| count.abs_diff(acknowledged / 20) <= 1));
}

#[test]
fn a_closed_loop_appends_to_the_lists_as_fast_as_it_is_answered() {
    let node = Node::start();
    let line = format!(
        "tenants --url {} --tenants 8 --connections 4 --closed --duration 200ms --warmup 0s --verify",
        node.url()
    );
    let run = loadgen("tenants-closed", &line).passes();
    assert_eq!(run.of("append", "/never_sent"), 0);
    assert_eq!(run.number("/generator/lateness/count"), 0);
    assert_eq!(run.count("missing"), 0);
    node.holds(run.number("/verification/acknowledged"));
}

#[test]
fn the_highest_rate_of_a_mix_is_searched_for() {
    let node = Node::start();
    let line = format!(
        "keys --url {} --connections 1 --keys 4 --rate 1000000 --find-rate --p99 1ns \
         --duration 20ms --warmup 0s --verify --quiet",
        node.url()
    );
    // Nothing is answered within a nanosecond, however low the rate.
    let run = loadgen("keys-find-rate", &line);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.results());
    assert_eq!(run.results()["counts"]["rate_max"], serde_json::Value::Null);
    let steps = run.results()["steps"].as_array().map_or(0, Vec::len);
    assert!(steps > 3, "{}", run.results());
    assert_eq!(run.results()["verification"]["passed"], true);
}

#[test]
fn every_key_holds_what_was_acknowledged_last() {
    let node = Node::start();
    let line = format!(
        "keys --url {} --connections 4 --threads 2 --keys 50 --duration 500ms --warmup 0s --verify",
        node.url()
    );
    let run = loadgen("keys", &line).passes();
    for kind in ["put", "put-if", "get", "delete"] {
        assert!(run.of(kind, "/latency/count") > 0, "{kind}: {}", run.results());
        assert_eq!(run.operation(kind)["errors"], serde_json::json!({}));
    }
    let puts = run.number("/verification/acknowledged");
    assert_eq!(run.number("/verification/found"), puts);
    let deletes = run.number("/verification/foreign");
    // An answer that comes after the end does not count as measured.
    assert!(deletes >= run.of("delete", "/requests"), "{}", run.results());
    node.holds(puts + deletes);
}

#[test]
fn a_key_that_another_writer_deletes_is_found_out() {
    let node = Node::start();
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["keys", "--url", &node.url(), "--connections", "2", "--keys", "4"])
        .args(["--duration", "1h", "--warmup", "0s", "--mix", "put-if=1,get=1", "--verify"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut client = node.client();
    let mut tenant = String::new();
    eventually("a tenant is created", || {
        let tenants = client.get("/tenants").json();
        tenant = strings(&tenants["tenants"], "name").first().map_or("", |name| name).to_owned();
        !tenant.is_empty()
    });
    // Without another put of it, nothing but this deletes a key.
    let path = format!("/tenants/{tenant}/collections/keys/keys/key-00000003");
    eventually("the key is deleted", || client.request("DELETE", &path, &[], b"").status == 200);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("the program ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("WrongKey"), "{text}");
}

#[test]
fn a_soak_does_everything_at_once_and_watches_the_server() {
    let node = Node::start();
    let line = format!(
        "soak --url {} --connections 4 --rate 200 --readers 2 --read-rate 50 --tenants 10 \
         --tenants-rate 100 --keys 40 --keys-rate 100 --duration 600ms --warmup 100ms \
         --sample-every 100ms",
        node.url()
    );
    let run = loadgen("soak", &line).passes();
    for kind in ["append", "read", "tenant append", "tenant arrival", "put", "get"] {
        assert!(run.of(kind, "/requests") > 0, "{kind}: {}", run.results());
        assert_eq!(run.operation(kind)["errors"], serde_json::json!({}));
    }
    assert_eq!(run.count("missing"), 0);
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
    let samples = run.results()["samples"].as_array().expect("samples");
    assert!(samples.len() >= 3, "{samples:?}");
    for sample in samples {
        assert!(sample["resident_mb"].as_f64() > Some(1.0), "{sample}");
        // At least the connections that write.
        assert!(sample["open_files"].as_u64() > Some(4), "{sample}");
    }
}
