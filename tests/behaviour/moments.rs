//! `since_ts=`: lists from a moment on.

use serde_json::Value;

use testkit::{Client, Node, NodeBuilder, Stream, eventually, ids};

fn stamps(client: &mut Client) -> Vec<u64> {
    let page = client.list("?limit=10000");
    let changes = page["changes"].as_array().unwrap();
    changes.iter().map(|change| change["_ts"].as_u64().unwrap()).collect()
}

/// The ids of changes stamped later than `at`.
fn later(stamps: &[u64], at: u64) -> Vec<u64> {
    (1..).zip(stamps).filter(|(_, stamp)| **stamp > at).map(|(id, _)| id).collect()
}

#[test]
fn a_list_starts_with_the_first_change_stamped_later() {
    let node = Node::start();
    let mut client = node.client();
    let two = "{\"data\":1}\n".repeat(2);
    for n in 0..40 {
        match n % 3 {
            0 => assert_eq!(client.post_lines("/changes", &two).status, 201),
            _ => {
                client.append(format!("{{\"tags\":[\"t{}\"],\"data\":1}}", n % 2));
            }
        }
    }
    let stamps = stamps(&mut client);
    assert!(stamps.is_sorted());
    let newest = *stamps.last().unwrap();
    for at in stamps.iter().flat_map(|at| [at - 1, *at, at + 1]).chain([0, 1]) {
        let page = client.list(&format!("?since_ts={at}&limit=10000"));
        assert_eq!(ids(&page), later(&stamps, at), "{at}");
        assert_eq!(page["atStart"], at < stamps[0], "{at}");
        let tagged = client.list(&format!("?since_ts={at}&limit=10000&tag=t1"));
        let all = ids(&client.list("?limit=10000&tag=t1"));
        let wanted: Vec<u64> =
            later(&stamps, at).into_iter().filter(|id| all.contains(id)).collect();
        assert_eq!(ids(&tagged), wanted, "{at}");
    }
    let page = client.list(&format!("?since_ts={newest}"));
    assert_eq!((ids(&page), &page["last"]), (vec![], &Value::from(stamps.len())));
}

#[test]
fn a_wait_and_streams_pass_over_what_is_not_later() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    let newest = stamps(&mut client)[0];
    let mut waiting = node.client();
    waiting.send_request("GET", &format!("/changes?since_ts={newest}&block=60"), &[], b"");
    // An hour ahead: nothing that is written now is later.
    let hour = newest + 3_600_000_000;
    let target = format!("/changes?since_ts={hour}&block=0.5");
    let mut lines = Stream::open(node.client(), &target, "application/x-ndjson");
    let target = format!("/changes?since_ts={newest}");
    let mut events = Stream::open(node.client(), &target, "text/event-stream");
    assert_eq!(events.cursor(), 1, "it says where it starts");
    client.append(r#"{"data":2}"#);
    let page = waiting.answer().json();
    assert_eq!(ids(&page), [2]);
    assert_eq!(events.event().map(|event| event.id), Some(2));
    let page = client.list(&format!("?since_ts={hour}&block=0.1"));
    assert_eq!((ids(&page), &page["last"]), (vec![], &Value::from(2)));
    assert!(lines.change().is_none(), "it ends without a change");
}

#[test]
fn a_moment_of_purged_history_is_told() {
    let node = NodeBuilder::new().flags(&["--retain-min-changes", "1000"]).start();
    let mut client = node.client();
    client.append(r#"{"data":"oldest"}"#);
    let oldest = stamps(&mut client)[0];
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
    (0..16).for_each(|_| assert_eq!(client.post_lines("/changes", &batch).status, 201));
    let mut first = 1;
    eventually("history is purged", || {
        first = ids(&client.list("?limit=1"))[0];
        first > 4000
    });
    let problem = client.get(&format!("/changes?since_ts={oldest}")).problem(410, "purged");
    assert_eq!(problem["first"], first);
    assert_eq!(ids(&client.list("?since_ts=0&limit=1")), [first], "from the oldest that is held");
    let page = client.list(&format!("?since={}&limit=1", first + 10));
    let at = page["changes"][0]["_ts"].as_u64().unwrap();
    let page = client.list(&format!("?since_ts={at}&limit=1"));
    assert!(page["changes"][0]["_ts"].as_u64().unwrap() > at);
}
