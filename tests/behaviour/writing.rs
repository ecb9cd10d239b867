//! `POST /changes`: single changes and batches, whole or not at all.

use serde_json::json;

use testkit::{Node, SHORT_SEGMENTS};

const NDJSON: [(&str, &str); 1] = [("Content-Type", "application/x-ndjson")];

#[test]
fn an_array_is_stored_with_consecutive_ids() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":0}"#);
    let answer = client.post(r#"[{"data":1},{"data":2,"tags":["t"]},{"data":3}]"#);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.text(), r#"{"first":2,"last":4,"count":3}"#);
    let list = client.list("");
    let data: Vec<_> = list["changes"].as_array().unwrap().iter().map(|c| &c["data"]).collect();
    assert_eq!(data, [0, 1, 2, 3]);
}

#[test]
fn an_array_of_one_is_answered_as_a_batch() {
    let node = Node::start();
    let answer = node.client().post(r#"[{"data":1}]"#);
    assert_eq!((answer.status, answer.text()), (201, r#"{"first":1,"last":1,"count":1}"#));
}

#[test]
fn lines_are_stored_with_consecutive_ids() {
    let node = Node::start();
    let mut client = node.client();
    let lines = "{\"data\":1}\n{\"data\":2}\r\n\n  \n{\"data\":3}";
    let answer = client.request("POST", "/changes", &NDJSON, lines.as_bytes());
    assert_eq!((answer.status, answer.text()), (201, r#"{"first":1,"last":3,"count":3}"#));
    assert_eq!(client.list("")["changes"][2]["data"], 3);
}

#[test]
fn one_bad_change_refuses_its_whole_batch() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":0}"#);
    for (body, code) in [
        (r#"[{"data":1},{"data":2},{"dat":3}]"#, "unknown-member"),
        (r#"[{"data":1},{}]"#, "missing-member"),
        (r#"[{"data":1},2]"#, "invalid-json"),
        (r#"[{"data":1},{"data":2}"#, "invalid-json"),
        (r#"[{"data":1},{"data":2},]"#, "invalid-json"),
        (r#"[{"data":1},{"data":2}]x"#, "invalid-json"),
        (r#"[{"data":1},{"tags":["a","a"],"data":2}]"#, "invalid-name"),
        ("[]", "invalid-json"),
    ] {
        client.post(body).problem(400, code);
    }
    for (lines, code) in [
        ("{\"data\":1}\n{\"data\":2", "invalid-json"),
        ("{\"data\":1}\n{\"data\":2} {\"data\":3}\n", "invalid-json"),
        ("{\"data\":1}\n[{\"data\":2}]\n", "invalid-json"),
        ("{\"data\":1}\n{\"key\":\"k\",\"data\":2}\n", "missing-member"),
        ("\n\n", "invalid-json"),
        ("", "invalid-json"),
    ] {
        let answer = client.request("POST", "/changes", &NDJSON, lines.as_bytes());
        answer.problem(400, code);
    }
    node.holds(1);
}

#[test]
fn a_bad_change_of_a_batch_is_named_by_its_place() {
    let node = Node::start();
    let problem = node.client().post(r#"[{"data":1},{"dat":3}]"#).problem(400, "unknown-member");
    assert_eq!(problem["index"], 1);
    assert_eq!(problem["offset"], 13);
    assert_eq!(problem["member"], "dat");
}

#[test]
fn a_batch_above_the_limit_is_too_large() {
    let node = Node::with(&["--max-batch", "10"]);
    let mut client = node.client();
    let batch = |count| format!("[{}]", vec![r#"{"data":1}"#; count].join(","));
    client.post(batch(11)).problem(413, "too-large");
    let lines = "{\"data\":1}\n".repeat(11);
    client.request("POST", "/changes", &NDJSON, lines.as_bytes()).problem(413, "too-large");
    assert_eq!(client.post(batch(10)).status, 201);
    node.holds(10);
}

#[test]
fn data_above_the_limit_is_too_large() {
    let node = Node::with(&["--max-data", "1KiB"]);
    let mut client = node.client();
    let body = |bytes: usize| format!("{{\"data\":\"{}\"}}", "x".repeat(bytes - 2));
    let problem = client.post(body(1025)).problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1024"), "{problem}");
    assert_eq!(client.append(body(1024)), 1);
    node.holds(1);
}

#[test]
fn nesting_is_taken_up_to_the_limit() {
    let node = Node::start();
    let mut client = node.client();
    let nested = |depth| format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(client.append(nested(128)), 1);
    let problem = client.post(nested(129)).problem(400, "invalid-json");
    assert_eq!(problem["offset"], 8 + 128);
    client.post(nested(100_000)).problem(400, "invalid-json");
    assert_eq!(client.get("/changes").last(), 1);
}

#[test]
fn the_limits_of_tags_hold() {
    let node = Node::start();
    let mut client = node.client();
    let tags = |count: usize| {
        let tags: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
        format!("{{\"tags\":[{}],\"data\":1}}", tags.join(","))
    };
    assert_eq!(client.append(tags(32)), 1);
    client.post(tags(33)).problem(400, "invalid-name");
    let one = |tag: &str| format!("{{\"tags\":[\"{tag}\"],\"data\":1}}");
    assert_eq!(client.append(one(&"x".repeat(128))), 2);
    assert_eq!(client.append(one(&"é".repeat(64))), 3);
    for tag in ["", &"x".repeat(129), &"é".repeat(65)] {
        client.post(one(tag)).problem(400, "invalid-name");
    }
    client.post(r#"{"tags":["a","b","a"],"data":1}"#).problem(400, "invalid-name");
    client.post(r#"{"tags":["a","\u0061"],"data":1}"#).problem(400, "invalid-name");
    client.post(r#"{"tags":"a","data":1}"#).problem(400, "invalid-json");
    client.post(r#"{"tags":[1],"data":1}"#).problem(400, "invalid-json");
    node.holds(3);
}

#[test]
fn media_types_that_are_json_are_taken() {
    let node = Node::start();
    let mut client = node.client();
    let types = [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/x-www-form-urlencoded",
    ];
    for (id, media_type) in (1..).zip(types) {
        let headers = [("Content-Type", media_type)];
        let answer = client.request("POST", "/changes", &headers, br#"{"data":1}"#);
        assert_eq!(answer.json(), json!({"_id": id}), "{media_type}");
    }
}

#[test]
fn a_write_is_read_by_the_next_request() {
    let node = Node::start();
    let (mut writer, mut reader) = (node.client(), node.client());
    for id in 1..=100 {
        assert_eq!(writer.append(format!("{{\"data\":{id}}}")), id);
        assert_eq!(reader.list(&format!("?since={}", id - 1))["changes"][0]["data"], id);
    }
}

#[test]
fn concurrent_writes_get_ids_of_their_own() {
    const CLIENTS: u64 = 8;
    const WRITES: u64 = 50;
    let node = Node::start();
    let address = node.address();
    let writers: Vec<_> = (0..CLIENTS)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = testkit::Client::connect(address);
                let write =
                    |n| (client.append(format!("{{\"data\":[{writer},{n}]}}")), [writer, n]);
                (0..WRITES).map(write).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut written: Vec<_> =
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    written.sort_unstable();
    assert!(written.iter().map(|(id, _)| *id).eq(1..=CLIENTS * WRITES));
    let list = node.client().list("?limit=10000");
    for (change, (id, data)) in list["changes"].as_array().unwrap().iter().zip(&written) {
        assert_eq!((&change["_id"], &change["data"]), (&json!(id), &json!(data)));
    }
}

#[test]
fn writes_that_together_exceed_a_segment_are_all_taken() {
    const CLIENTS: usize = 24;
    const WRITES: usize = 5;
    let node = Node::with(&SHORT_SEGMENTS);
    let address = node.address();
    let writers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = testkit::Client::connect(address);
                for _ in 0..WRITES {
                    client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(60_000)));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(node.client().get("/health").last(), (CLIENTS * WRITES) as u64);
}
