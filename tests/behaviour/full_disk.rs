//! A disk that fills up: writes are refused in time, reads go on, and nothing
//! needs a restart once there is room again.

use std::path::Path;

use testkit::{Client, Node, NodeBuilder, SmallDisk, eventually};

/// All of one length, so that where one has no room the next has none either.
fn content(n: usize) -> String {
    format!("\"{n:06}{}\"", "x".repeat(50_000))
}

/// Writes until the node refuses; the contents that it acknowledged.
fn write_until_refused(client: &mut Client, acknowledged: &mut Vec<String>) {
    loop {
        let content = content(acknowledged.len());
        let answer = client.post(format!("{{\"data\":{content}}}"));
        if answer.status != 201 {
            let problem = answer.problem(503, "storage");
            assert!(problem["detail"].as_str().unwrap().contains("full"), "{problem}");
            return;
        }
        acknowledged.push(content);
        assert!(acknowledged.len() < 1000, "the disk does not fill up");
    }
}

/// A node that fills its disk, and the contents that it acknowledged.
fn filled(disk: &SmallDisk) -> (Node, Vec<String>) {
    let node = disk.node().start();
    let mut acknowledged = Vec::new();
    disk.fill();
    write_until_refused(&mut node.client(), &mut acknowledged);
    (node, acknowledged)
}

/// Waits until a write is taken, of `content`.
fn takes_again(client: &mut Client, content: String, acknowledged: &mut Vec<String>) {
    eventually("writes are taken again", || {
        client.post(format!("{{\"data\":{content}}}")).status == 201
    });
    acknowledged.push(content);
}

fn check(client: &mut Client, acknowledged: &[String]) {
    let mut since = 0;
    while since < acknowledged.len() {
        let list = client.list(&format!("?since={since}"));
        for change in list["changes"].as_array().unwrap() {
            assert_eq!(change["_id"], since + 1);
            assert_eq!(change["data"].to_string(), acknowledged[since]);
            since += 1;
        }
    }
    assert_eq!(client.list(&format!("?since={since}"))["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let node = disk.node().start();
    let mut client = node.client();
    let mut acknowledged = Vec::new();
    for _ in 0..2 {
        disk.fill();
        write_until_refused(&mut client, &mut acknowledged);
        check(&mut client, &acknowledged);
        assert_eq!(client.get("/health").status, 200);
        // Marks that wait to be written take room for a moment: one as large may fit after them.
        let larger = "x".repeat(100_000);
        client.post(format!("{{\"data\":\"{larger}\"}}")).problem(503, "storage");
        let mut parked = node.client();
        let since = acknowledged.len();
        parked.send_request("GET", &format!("/changes?since={since}&block=60"), &[], b"");
        disk.free();
        // Less would fit before there is a spare segment, and the next round begin too early.
        let room = content(acknowledged.len());
        takes_again(&mut client, room, &mut acknowledged);
        assert_eq!(parked.answer().json()["last"], acknowledged.len());
    }
    check(&mut client, &acknowledged);
    let node = node.kill().start();
    check(&mut node.client(), &acknowledged);
}

#[test]
fn a_node_on_a_full_disk_restarts_and_serves() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let (node, mut acknowledged) = filled(&disk);
    let node = node.kill().start();
    let mut client = node.client();
    eventually("it has applied what its log holds", || client.get("/changes").status == 200);
    check(&mut client, &acknowledged);
    client.post(format!("{{\"data\":\"{}\"}}", "x".repeat(900_000))).problem(503, "storage");
    disk.free();
    takes_again(&mut client, "\"room\"".into(), &mut acknowledged);
    check(&mut client, &acknowledged);
}

#[test]
fn a_node_starts_at_once_and_serves_when_not_even_a_small_write_fits() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let (mut node, mut acknowledged) = filled(&disk);
    let mut client = node.client();
    let before = acknowledged.len();
    while client.post(r#"{"data":1}"#).status == 201 {
        acknowledged.push("1".into());
        assert!(acknowledged.len() < before + 1000, "the log does not fill up");
    }
    for _ in 0..3 {
        node = node.kill().start();
        let mut client = node.client();
        check(&mut client, &acknowledged);
        eventually("it says that it takes no writes", || client.get("/ready").status == 503);
        let ready = client.get("/ready").problem(503, "storage");
        assert!(ready["detail"].as_str().unwrap().contains("full"), "{ready}");
        client.post(r#"{"data":1}"#).problem(503, "storage");
        let said = node.stderr();
        assert_eq!(said.matches("no spare log segment").count(), 1, "{said}");
    }
    disk.free();
    let mut client = node.client();
    takes_again(&mut client, "\"room\"".into(), &mut acknowledged);
    eventually("it is ready", || client.get("/ready").status == 200);
    check(&mut client, &acknowledged);
}

/// Starts a node again until its log has no room for what it begins with: each start
/// takes some of what is reserved for it.
fn restart_until_nothing_fits(mut node: Node, end: fn(Node) -> NodeBuilder) -> Node {
    for _ in 0..100 {
        node = end(node).start();
        let answer = node.client().get("/changes");
        if answer.status != 200 {
            answer.problem(503, "behind");
            return node;
        }
    }
    panic!("there is always room");
}

#[test]
fn a_node_listens_even_when_its_log_takes_nothing_more() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let (node, acknowledged) = filled(&disk);
    let node = restart_until_nothing_fits(node, Node::kill);
    let mut client = node.client();
    client.post(r#"{"data":1}"#).problem(503, "storage");
    client.get("/ready").problem(503, "storage");
    assert_eq!(client.get("/health").status, 200);
    // Nor does it keep the node from stopping in order.
    let node = restart_until_nothing_fits(node, Node::stop);
    let mut client = node.client();
    disk.free();
    eventually("it is ready", || client.get("/ready").status == 200);
    check(&mut client, &acknowledged);
    client.append(r#"{"data":1}"#);
}

#[test]
fn a_disk_that_hangs_is_told_and_waited_for() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let node = disk.node().start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    let Some(frozen) = disk.freeze() else { return };
    client.post(r#"{"data":2}"#).problem(504, "unknown-outcome");
    for _ in 0..2 {
        let problem = client.post(r#"{"data":3}"#).problem(503, "storage");
        assert!(problem["detail"].as_str().unwrap().contains("does not answer"), "{problem}");
    }
    client.get("/ready").problem(503, "storage");
    assert_eq!(client.list("")["changes"].as_array().unwrap().len(), 1);
    drop(frozen);
    eventually("it is ready", || client.get("/ready").status == 200);
    client.append(r#"{"data":4}"#);
    // What nobody knew of happened in the end; what was refused did not.
    let list = client.list("");
    let data: Vec<_> = list["changes"].as_array().unwrap().iter().map(|c| &c["data"]).collect();
    assert_eq!(data, [1, 2, 4]);
    let said = node.stderr();
    assert_eq!(said.matches("the disk does not answer").count(), 1, "{said}");
    assert_eq!(said.matches("the disk answers again").count(), 1, "{said}");
}

#[test]
fn a_node_without_descriptors_refuses_writes_until_it_has_some() {
    let node = Node::start();
    let mut client = node.client();
    let mut acknowledged = vec![content(0)];
    client.append(format!("{{\"data\":{}}}", content(0)));
    // None can be opened besides those that are.
    let before = node.limit_descriptors(1);
    let problem = loop {
        let content = content(acknowledged.len());
        let answer = client.post(format!("{{\"data\":{content}}}"));
        if answer.status != 201 {
            break answer.problem(503, "storage");
        }
        acknowledged.push(content);
        assert!(acknowledged.len() < 1000, "it takes writes without descriptors");
    };
    assert!(problem["detail"].as_str().unwrap().contains("cannot prepare"), "{problem}");
    check(&mut client, &acknowledged);
    node.limit_descriptors(before);
    takes_again(&mut client, "\"more\"".into(), &mut acknowledged);
    check(&mut client, &acknowledged);
    // A small write is taken before there is a spare segment.
    eventually("it is ready", || client.get("/ready").status == 200);
}

#[test]
fn a_start_without_room_for_a_log_says_so() {
    let Some(disk) = SmallDisk::new(160) else { return };
    disk.fill();
    let failed = disk.node().fails();
    failed.says(&[]);
    assert!(!has_segments(&disk.outside().join("data")));
    disk.free();
    disk.node().start().holds(0);
}

fn has_segments(data: &Path) -> bool {
    data.is_dir() && testkit::files(data).values().any(|bytes| bytes.starts_with(b"CAGT"))
}

#[test]
fn a_cache_whose_disk_is_full_goes_on_once_its_retention_makes_room() {
    let Some(disk) = SmallDisk::new(100) else { return };
    let origin =
        Node::with(&["--max-body", "1MiB", "--max-batch", "1000", "--segment-size", "2MiB"]);
    let mut client = origin.client();
    let cache = disk.node().command("cache").flags(&["--of", &origin.url()]).start();
    let lines = format!("{{\"data\":{}}}\n", content(0)).repeat(19);
    let newest = |node: &Node| node.client().get("/health").last();
    // More than fits beside what is to stay free.
    for _ in 0..45 {
        assert_eq!(client.post_lines("/changes", &lines).status, 201);
    }
    eventually("its disk is full", || {
        let ready = cache.client().get("/ready");
        ready.status == 503 && ready.json()["code"] == "storage"
    });
    assert!(newest(&cache) < newest(&origin));
    assert_eq!(cache.client().get("/changes?limit=1").status, 200);
    let cache = cache.stop().flags(&["--retain-min-changes", "50"]).start();
    eventually("it goes on", || newest(&cache) == newest(&origin));
    eventually("it can be sent traffic", || cache.client().get("/ready").status == 200);
}
