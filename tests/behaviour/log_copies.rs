//! The log itself over HTTP, for whoever keeps a copy of it: frames with their checksums, a piece
//! at a time, and the checkpoint that stands for what is purged.

use std::time::{Duration, Instant};

use crate::caches::number;
use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually, percent};

/// Bytes before the payload of a frame.
const FRAME_HEAD: usize = 32;

/// The frames of a piece, each sound: index and payload.
fn frames(mut piece: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !piece.is_empty() {
        let number = |at: usize| u64::from_le_bytes(piece[at..at + 8].try_into().unwrap());
        let payload = (number(0) >> 32) as usize;
        let (frame, rest) = piece.split_at(FRAME_HEAD + payload);
        let checksum = u32::from_le_bytes(frame[..4].try_into().unwrap());
        assert_eq!(crc32c::crc32c(&frame[4..]), checksum);
        found.push((number(16), &frame[FRAME_HEAD..]));
        piece = rest;
    }
    found
}

/// Appends changes of 20 kB.
fn fill(client: &mut Client, changes: usize) {
    for _ in 0..changes {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
}

#[test]
fn all_applied_entries_come_in_order_piece_by_piece() {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let mut client = node.client();
    fill(&mut client, 120);
    let (mut next, mut pieces, mut found) = (0, 0, Vec::new());
    let end = loop {
        let answer = client.get(&format!("/cluster/log?from={next}"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert_eq!(number(&answer, "changeagent-log-last"), 120);
        let frames = frames(&answer.body);
        let Some((last, _)) = frames.last() else {
            break number(&answer, "changeagent-log-applied");
        };
        assert!(frames.iter().map(|(index, _)| *index).eq(next..=*last));
        (next, pieces) = (last + 1, pieces + 1);
        found.extend(frames.into_iter().map(|(_, payload)| payload.len()));
    };
    assert_eq!(next, end + 1, "all that is applied was given, and no more");
    assert!(pieces > 2, "of 2.4 MB no piece is the whole");
    assert_eq!(found.iter().filter(|&&bytes| bytes > 20_000).count(), 120);
    let some = client.get(&format!("/cluster/log?from=3&to={}", end - 100));
    assert!(frames(&some.body).iter().map(|(index, _)| *index).eq(3..=end - 100));
    let problem = client.get(&format!("/cluster/log?from={}", end + 2)).problem(503, "behind");
    assert!(problem["detail"].as_str().unwrap().contains(&end.to_string()));
    client.get("/cluster/log?since=3").problem(400, "invalid-parameter");
    client.get("/cluster/checkpoint").problem(404, "not-found");
    let json = [("Accept", "application/json")];
    client.request("GET", "/cluster/log", &json, b"").problem(406, "not-acceptable");
}

#[test]
fn what_is_purged_is_410_and_the_checkpoint_stands_for_it() {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let node = NodeBuilder::new().flags(&flags).start();
    let mut client = node.client();
    let tenant = client.tenant("t");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "c"));
    // More than a part holds.
    for n in 0..60 {
        let body = format!("{{\"data\":\"{}\"}}", "k".repeat(20_000));
        assert_eq!(client.put(&format!("{keys}/{}", percent(&format!("k{n}"))), body).status, 201);
    }
    let mut index = 0;
    eventually("history with those keys is purged", || {
        fill(&mut client, 20);
        let answer = client.get("/cluster/checkpoint");
        let has =
            answer.status == 200 && number(&answer, "changeagent-checkpoint-bytes") > 1_200_000;
        index = if has { number(&answer, "changeagent-checkpoint") } else { 0 };
        has
    });
    let mut checkpoint = Vec::new();
    loop {
        let target = format!("/cluster/checkpoint?index={index}&from={}", checkpoint.len());
        let answer = client.get(&target);
        assert_eq!(answer.status, 200, "it stays as long as nothing more is purged");
        if answer.body.is_empty() {
            assert_eq!(number(&answer, "changeagent-checkpoint-bytes"), checkpoint.len() as u64);
            break;
        }
        checkpoint.extend_from_slice(&answer.body);
    }
    let end = checkpoint[..checkpoint.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
    let (content, last) = checkpoint.split_at(end + 1);
    let last: serde_json::Value = serde_json::from_slice(last).unwrap();
    assert_eq!(last["crc32c"], crc32c::crc32c(content));
    eventually("the log is purged up to it", || {
        let answer = client.get("/cluster/log?from=0");
        answer.problem(410, "purged")["purged"].as_u64().unwrap() >= index
    });
    let next = client.get(&format!("/cluster/log?from={}", index + 1));
    assert_eq!(frames(&next.body)[0].0, index + 1);
    client.get(&format!("/cluster/checkpoint?index={}", index + 1)).problem(404, "not-found");
    assert_eq!(client.get("/cluster/checkpoint?from=999999999").body.len(), 0);
}

#[test]
fn the_entry_after_the_last_is_waited_for_with_block() {
    let node = Node::start();
    let (mut client, mut waiting) = (node.client(), node.client());
    for n in 0..10 {
        let applied = number(&client.get("/cluster/log"), "changeagent-log-applied");
        let next = applied + 1;
        waiting.send_request("GET", &format!("/cluster/log?from={next}&block=300"), &[], b"");
        client.sees_parked(1);
        // Half of them are no changes.
        match n % 2 {
            0 => drop(client.tenant(&format!("t{n}"))),
            _ => drop(client.append(r#"{"data":1}"#)),
        }
        let answer = waiting.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(frames(&answer.body).first().unwrap().0, next);
        client.sees_parked(0);
    }
    let next = number(&client.get("/cluster/log"), "changeagent-log-applied") + 1;
    let start = Instant::now();
    let none = client.get(&format!("/cluster/log?from={next}&block=0.3"));
    assert_eq!((none.status, none.body.len()), (200, 0), "there was none in time");
    assert!(start.elapsed() >= Duration::from_millis(300));
    let beyond = client.get(&format!("/cluster/log?from={}&block=300", next + 1));
    beyond.problem(503, "behind");
}

#[test]
fn a_wait_for_an_entry_ends_with_its_client_and_with_the_node() {
    let node = Node::start();
    let mut client = node.client();
    let next = number(&client.get("/cluster/log"), "changeagent-log-applied") + 1;
    let target = format!("/cluster/log?from={next}&block=300");
    let mut waiting = node.client();
    waiting.send_request("GET", &target, &[], b"");
    client.sees_parked(1);
    drop(waiting);
    client.sees_parked(0);
    let mut waiting = node.client();
    waiting.send_request("GET", &target, &[], b"");
    client.sees_parked(1);
    node.signal(libc::SIGTERM);
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let (status, _) = node.ends_within(Duration::from_secs(10));
    assert!(status.success());
}

#[test]
fn a_node_that_is_new_gives_what_it_has() {
    let node = Node::start();
    let answer = node.client().get("/cluster/log");
    assert_eq!(number(&answer, "changeagent-log-last"), 0);
    let found = frames(&answer.body);
    assert!(!found.is_empty(), "who the members are stands in it");
    assert_eq!(found.last().unwrap().0, number(&answer, "changeagent-log-applied"));
}
