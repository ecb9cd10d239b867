//! `GET /changes` and `GET /changes/<id>`: parameters, pages, filters.

use serde_json::{Value, json};

use testkit::{Client, Node};

fn ids(list: &Value) -> Vec<u64> {
    let changes = list["changes"].as_array().expect("changes");
    changes.iter().map(|change| change["_id"].as_u64().unwrap()).collect()
}

/// Appends `count` changes in one batch.
fn append_many(client: &mut Client, count: usize) {
    let lines = "{\"data\":1}\n".repeat(count);
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = client.request("POST", "/changes", &headers, lines.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn an_empty_list_is_at_its_start_and_its_end() {
    let node = Node::start();
    let answer = node.client().get("/changes");
    assert_eq!(answer.text(), r#"{"changes":[],"atStart":true,"atEnd":true,"last":0}"#);
    assert_eq!(answer.last(), 0);
}

#[test]
fn the_limit_is_100_unless_given() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 150);
    let list = client.list("");
    assert!(ids(&list).into_iter().eq(1..=100));
    assert_eq!(
        (&list["atStart"], &list["atEnd"], &list["last"]),
        (&json!(true), &json!(false), &json!(100))
    );
    let list = client.list("?limit=1");
    assert_eq!(ids(&list), [1]);
}

#[test]
fn a_limit_above_10000_is_cut_to_it() {
    let node = Node::with(&["--max-batch", "20000", "--segment-size", "8MiB"]);
    let mut client = node.client();
    append_many(&mut client, 10_050);
    for query in ["?limit=10000", "?limit=10001", "?limit=99999999999999999999999"] {
        let list = client.list(query);
        assert_eq!(ids(&list).len(), 10_000, "{query}");
        assert_eq!(list["atEnd"], false);
        assert_eq!(list["last"], 10_000);
    }
    let rest = client.list("?limit=10000&since=10000");
    assert!(ids(&rest).into_iter().eq(10_001..=10_050));
    assert_eq!(rest["atEnd"], true);
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 10);
    let mut since = 0;
    let mut pages = Vec::new();
    loop {
        let list = client.list(&format!("?limit=3&since={since}"));
        assert_eq!(list["atStart"], since == 0, "{list}");
        since = list["last"].as_u64().unwrap();
        pages.push(ids(&list));
        if list["atEnd"] == true {
            break;
        }
    }
    assert_eq!(pages, [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10]]);
    let list = client.list("?limit=5&since=5");
    assert_eq!(list["atEnd"], true, "a full page may be the last one: {list}");
}

#[test]
fn an_answer_is_cut_at_8_mib_of_changes() {
    const DATA: usize = 1_000_000;
    let node = Node::with(&["--max-body", "2MiB", "--segment-size", "4MiB"]);
    let mut client = node.client();
    for _ in 0..10 {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(DATA)));
    }
    let answer = client.get("/changes");
    let list = answer.json();
    assert_eq!(ids(&list), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(answer.body.len() <= (8 << 20) + 100);
    assert_eq!(list["atEnd"], false);
    assert_eq!(list["last"], 8);
    let rest = client.list("?since=8");
    assert_eq!(ids(&rest), [9, 10]);
    assert_eq!(rest["atEnd"], true);
}

#[test]
fn since_now_is_the_newest_id() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 5);
    let list = client.list("?since=now");
    assert_eq!(list, json!({"changes": [], "atStart": false, "atEnd": true, "last": 5}));
}

#[test]
fn since_beyond_the_newest_id_is_an_empty_list() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 5);
    for since in ["5", "6", "1000000", "9223372036854775806", "9223372036854775807"] {
        let list = client.list(&format!("?since={since}"));
        assert_eq!(ids(&list), [0; 0], "{since}");
        assert_eq!(list["atEnd"], true, "{since}");
        assert_eq!(list["last"].to_string(), since);
    }
    node.holds(5);
}

#[test]
fn since_beyond_the_newest_id_waits_for_ids_beyond_it() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 5);
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?since=7&block=60", &[], b"");
    for _ in 0..3 {
        client.append(r#"{"data":2}"#);
    }
    let list = waiting.answer().json();
    assert_eq!(ids(&list), [8]);
}

#[test]
fn a_tag_filter_lists_changes_that_bear_any_of_the_tags() {
    let node = Node::start();
    let mut client = node.client();
    for tags in [r#"["a"]"#, r#"["b"]"#, r#"["a","b"]"#, r#"["c"]"#, r#"[]"#, r#"["ä/ö ü&x"]"#] {
        client.append(format!("{{\"tags\":{tags},\"data\":1}}"));
    }
    client.append(r#"{"data":1}"#);
    for (query, want) in [
        ("?tag=a", &[1, 3][..]),
        ("?tag=b", &[2, 3]),
        ("?tag=a&tag=b", &[1, 2, 3]),
        ("?tag=c&tag=none", &[4]),
        ("?tag=A", &[]),
        ("?tag=%C3%A4%2F%C3%B6+%C3%BC%26x", &[6]),
        ("?tag=%C3%A4%2F%C3%B6%20%C3%BC%26x", &[6]),
        ("?tag=a&since=1", &[3]),
        ("?tag=a&limit=1", &[1]),
    ] {
        assert_eq!(ids(&client.list(query)), want, "{query}");
    }
}

#[test]
fn under_a_filter_last_is_the_last_id_examined() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"tags":["a"],"data":1}"#);
    append_many(&mut client, 9);
    let list = client.list("?tag=a");
    assert_eq!((ids(&list), &list["last"], &list["atEnd"]), (vec![1], &json!(10), &json!(true)));
    let list = client.list("?tag=a&limit=1");
    assert_eq!(ids(&list), [1]);
    assert_eq!((&list["last"], &list["atEnd"]), (&json!(10), &json!(true)), "nothing follows");
    client.append(r#"{"tags":["a"],"data":1}"#);
    let list = client.list("?tag=a&limit=1");
    assert_eq!((&list["last"], &list["atEnd"]), (&json!(1), &json!(false)));
}

#[test]
fn tags_are_returned_as_they_were_given() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"tags":["z","a","\u00e9"],"data":1}"#);
    client.append(r#"{"tags":[],"data":1}"#);
    let list = client.list("");
    assert_eq!(list["changes"][0]["tags"], json!(["z", "a", "é"]));
    assert_eq!(list["changes"][1].get("tags"), None);
}

#[test]
fn min_id_that_is_held_changes_nothing() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 3);
    assert_eq!(ids(&client.list("?min_id=3")), [1, 2, 3]);
    assert_eq!(ids(&client.list("?min_id=0")), [1, 2, 3]);
}

#[test]
fn min_id_waits_until_it_is_held() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 3);
    let mut waiting = node.client();
    waiting.send_request("GET", "/changes?since=2&min_id=5", &[], b"");
    client.append(r#"{"data":4}"#);
    client.append(r#"{"data":5}"#);
    assert_eq!(ids(&waiting.answer().json()), [3, 4, 5]);
}

#[test]
fn min_id_that_is_not_reached_in_time_is_behind() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 3);
    client.get("/changes?min_id=4&block=0").problem(503, "behind");
    let start = std::time::Instant::now();
    client.get("/changes?min_id=9223372036854775807&block=0.2").problem(503, "behind");
    assert!(start.elapsed().as_millis() >= 200);
    node.holds(3);
}

#[test]
fn both_consistencies_list_the_same_on_one_node() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 3);
    for query in ["?consistency=local", "?consistency=strong"] {
        assert_eq!(ids(&client.list(query)), [1, 2, 3], "{query}");
    }
}

#[test]
fn parameters_out_of_range_unknown_or_repeated_are_named() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 2);
    for (query, parameter) in [
        ("since=-1", "since"),
        ("since=1.5", "since"),
        ("since=", "since"),
        ("since=Now", "since"),
        ("since=9223372036854775808", "since"),
        ("limit=0", "limit"),
        ("limit=-5", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("block=-1", "block"),
        ("block=1e3", "block"),
        ("block=NaN", "block"),
        ("block=", "block"),
        ("min_id=now", "min_id"),
        ("min_id=-1", "min_id"),
        ("consistency=eventual", "consistency"),
        ("tag=", "tag"),
        (
            "tag=012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678",
            "tag",
        ),
        ("since=1&since=1", "since"),
        ("limit=1&limit=2", "limit"),
        ("block=0&block=0", "block"),
        ("min_id=1&min_id=1", "min_id"),
        ("Since=1", "Since"),
        ("offset=1", "offset"),
        ("since=1&colour=red", "colour"),
    ] {
        let problem = client.get(&format!("/changes?{query}")).problem(400, "invalid-parameter");
        assert!(problem["detail"].as_str().unwrap().contains(parameter), "{query}: {problem}");
    }
    let many = vec!["tag=a"; 33].join("&");
    client.get(&format!("/changes?{many}")).problem(400, "invalid-parameter");
    node.holds(2);
}

#[test]
fn resources_without_parameters_take_none() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 1);
    for target in ["/changes/1?since=1", "/health?x", "/ready?limit=1", "/?a=b"] {
        client.get(target).problem(400, "invalid-parameter");
    }
    let answer = client.request("POST", "/changes?limit=1", &[], br#"{"data":1}"#);
    answer.problem(400, "invalid-parameter");
    node.holds(1);
}

#[test]
fn a_change_is_read_by_its_id() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 1);
    client.append(r#"{"tags":["a"],"data":{"b":null}}"#);
    let answer = client.get("/changes/2");
    assert_eq!(answer.status, 200);
    let change = answer.json();
    assert_eq!(change, client.list("?since=1")["changes"][0]);
    assert_eq!(change["data"], json!({"b": null}));
}

#[test]
fn what_is_no_id_of_a_change_is_not_found() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 2);
    for id in [
        "3",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "+1",
        "01",
        "1.0",
        "a",
        "",
        "1/",
        "1/2",
    ] {
        client.get(&format!("/changes/{id}")).problem(404, "not-found");
    }
    node.holds(2);
}

#[test]
fn times_never_decrease_along_the_list() {
    let node = Node::start();
    let mut client = node.client();
    for n in 0..50 {
        client.append(format!("{{\"data\":{n}}}"));
    }
    let list = client.list("");
    let times: Vec<u64> =
        list["changes"].as_array().unwrap().iter().map(|c| c["_ts"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(*times.last().unwrap() < 1 << 53, "exact in a JavaScript number");
}

#[test]
fn every_answer_names_the_newest_id_and_the_cluster() {
    let node = Node::start();
    let mut client = node.client();
    let cluster = client.get("/health").header("changeagent-cluster").unwrap().to_owned();
    append_many(&mut client, 3);
    // The presence of both headers is checked with each answer.
    for target in ["/", "/health", "/ready", "/changes", "/changes/1", "/none", "/changes?x=1"] {
        let answer = client.get(target);
        assert_eq!(answer.last(), 3, "{target}");
        assert_eq!(answer.header("changeagent-cluster"), Some(cluster.as_str()), "{target}");
    }
    let answer = client.post(r#"{"data":1}"#);
    assert_eq!(answer.last(), 4, "the write itself is applied when it is answered");
    let other = Node::start();
    let answer = other.client().get("/health");
    assert_ne!(answer.header("changeagent-cluster"), Some(cluster.as_str()));
}

#[test]
fn answers_in_another_form_are_not_acceptable() {
    let node = Node::start();
    let mut client = node.client();
    append_many(&mut client, 1);
    for accept in ["text/plain", "text/html", "application/json;q=0"] {
        let answer = client.request("GET", "/changes", &[("Accept", accept)], b"");
        answer.problem(406, "not-acceptable");
    }
    for accept in ["*/*", "application/json", "application/*", "text/html, */*;q=0.1"] {
        let answer = client.request("GET", "/changes", &[("Accept", accept)], b"");
        assert_eq!(answer.status, 200, "{accept}");
    }
}
