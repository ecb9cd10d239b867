//! `before=`: the newest changes below an id, still in ascending order.

use serde_json::{Value, json};

use testkit::{Bar, Client, Node, NodeBuilder, eventually, ids};

/// Appends `count` changes in one batch.
fn append_many(client: &mut Client, count: usize) {
    assert_eq!(client.post_lines("/changes", &"{\"data\":1}\n".repeat(count)).status, 201);
}

fn ends(page: &Value) -> (bool, bool, u64, u64) {
    let is = |name: &str| page[name].as_bool().unwrap();
    let at = |name: &str| page[name].as_u64().unwrap();
    (is("atStart"), is("atEnd"), at("last"), at("before"))
}

#[test]
fn an_empty_list_has_nothing_before_anything() {
    let node = Node::start();
    let mut client = node.client();
    for before in ["now", "0", "1", "77"] {
        let page = client.list(&format!("?before={before}"));
        assert_eq!(ids(&page), [0; 0], "{before}");
        let (at_start, at_end, last, _) = ends(&page);
        assert_eq!((at_start, at_end, last), (true, true, 0), "{before}");
    }
}

#[test]
fn the_newest_changes_come_in_ascending_order_and_pages_lead_back_to_the_start() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 7);
    for _ in 0..3 {
        client.append(r#"{"data":2}"#);
    }
    let page = client.list("?before=now&limit=3");
    assert_eq!((ids(&page), ends(&page)), (vec![8, 9, 10], (false, true, 10, 8)));
    let page = client.list("?before=9999&limit=3");
    assert_eq!((ids(&page), ends(&page)), (vec![8, 9, 10], (false, true, 10, 8)));
    let page = client.list("?before=8&limit=3");
    assert_eq!((ids(&page), ends(&page)), (vec![5, 6, 7], (false, false, 7, 5)));
    let page = client.list("?before=5");
    assert_eq!((ids(&page), ends(&page)), (vec![1, 2, 3, 4], (true, false, 4, 1)));
    let page = client.list("?before=1");
    assert_eq!((ids(&page), ends(&page)), (vec![], (true, false, 0, 1)));
    // Each is what the list has, byte for byte.
    let old = client.get("/changes?before=now&limit=10").json();
    assert_eq!(old["changes"], client.list("?limit=10")["changes"]);
}

#[test]
fn a_page_that_goes_backwards_is_cut_at_8_mib_too_and_keeps_the_newest() {
    const DATA: usize = 1_000_000;
    let node = Node::with(&["--max-body", "2MiB", "--segment-size", "4MiB"]);
    let mut client = node.client();
    for _ in 0..10 {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(DATA)));
    }
    let answer = client.get("/changes?before=now");
    assert!(answer.body.len() <= (8 << 20) + 200);
    let page = answer.json();
    assert_eq!((ids(&page), ends(&page)), ((3..=10).collect(), (false, true, 10, 3)));
    let page = client.list("?before=3");
    assert_eq!((ids(&page), ends(&page)), (vec![1, 2], (true, false, 2, 1)));
}

#[test]
fn lists_of_a_part_and_with_tags_go_backwards_over_far_places() {
    let mut bar = Bar::start();
    let client = &mut bar.client;
    for n in 0..3 {
        client.append(format!("{{\"tenant\":\"foo\",\"tags\":[\"t{n}\"],\"data\":{n}}}"));
        (0..3).for_each(|_| append_many(client, 1000));
    }
    let page = client.page("/tenants/foo/changes?before=now&limit=2");
    assert_eq!((ids(&page), ends(&page)), (vec![3002, 6003], (false, true, 9003, 3002)));
    let page = client.page("/tenants/foo/changes?before=3002&limit=2");
    assert_eq!((ids(&page), ends(&page)), (vec![1], (true, false, 3001, 1)));
    let page = client.page("/tenants/foo/changes?before=now&tag=t1&tag=t0");
    assert_eq!((ids(&page), ends(&page)), (vec![1, 3002], (true, true, 9003, 1)));
    let page = client.page("/changes?before=3002&tag=t1&tag=t0");
    assert_eq!((ids(&page), ends(&page)), (vec![1], (true, false, 3001, 1)));
    let page = client.page("/changes?before=now&tag=none");
    assert_eq!((ids(&page), ends(&page)), (vec![], (true, true, 9003, 1)));
}

#[test]
fn it_stands_in_the_place_of_since_and_neither_waits_nor_streams() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 3);
    for query in ["before=2&since=1", "since=1&before=2", "before=2&since_ts=1", "before=2&block=5"]
    {
        let answer = client.get(&format!("/changes?{query}"));
        let problem = answer.problem(400, "invalid-parameter");
        assert!(problem["detail"].as_str().unwrap().contains("before"), "{query}: {problem}");
    }
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let answer = client.request("GET", "/changes?before=2", &[("Accept", accept)], b"");
        assert_eq!(answer.problem(400, "invalid-parameter")["parameter"], "before");
    }
    let page = client.list("?before=2&block=0&min_id=3");
    assert_eq!(ids(&page), [1]);
    client.get("/changes?before=2&block=0&min_id=4").problem(503, "behind");
}

#[test]
fn what_is_purged_is_told_and_what_is_held_begins_where_it_says() {
    let node = NodeBuilder::new().flags(&["--retain-min-changes", "1000"]).start();
    let mut client = node.client();
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
    (0..16).for_each(|_| assert_eq!(client.post_lines("/changes", &batch).status, 201));
    let mut first = 1;
    eventually("history is purged", || {
        first = ids(&client.list("?limit=1"))[0];
        first > 4000
    });
    let page = client.list(&format!("?before={}&limit=9", first + 5));
    assert_eq!(ids(&page), (first..first + 5).collect::<Vec<_>>());
    assert_eq!(page["atStart"], true, "nothing older is held");
    for before in [first, first - 1, 2] {
        let problem = client.get(&format!("/changes?before={before}")).problem(410, "purged");
        assert_eq!(problem["first"], first);
    }
    for before in [0, 1] {
        assert_eq!(ids(&client.list(&format!("?before={before}"))), [0; 0]);
    }
}

#[test]
fn a_redacted_change_is_shown_as_one_and_is_found_by_no_tag() {
    let node = Node::start();
    let mut client = node.client();
    for n in 0..4 {
        client.append(format!("{{\"tags\":[\"a\"],\"data\":{n}}}"));
    }
    assert_eq!(client.request("POST", "/changes/3/redact", &[], b"").status, 200);
    let page = client.list("?before=now&limit=2");
    assert_eq!(ids(&page), [3, 4]);
    assert_eq!(page["changes"][0]["redacted"], json!(true));
    let page = client.list("?before=now&limit=2&tag=a");
    assert_eq!(ids(&page), [2, 4], "as many as are asked for, although one bears it no more");
}
