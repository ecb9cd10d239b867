//! The limits as they are when nothing is set: what keeps to one is taken, one
//! more is refused.

use serde_json::json;

use testkit::{Bar, Client, Node, NodeBuilder, temporary};

/// A node with nothing set.
fn plain() -> Node {
    let directory = temporary();
    let data = directory.path().join("data");
    NodeBuilder::bare(&directory, &data).start()
}

/// A request whose head has so many bytes.
fn head(bytes: usize) -> String {
    let start = "GET /health HTTP/1.1\r\nHost: a\r\nX: ";
    format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
}

#[test]
fn a_head_has_at_most_16_kib() {
    let node = plain();
    let mut client = node.client();
    client.send(head(16 << 10));
    assert_eq!(client.answer().status, 200);
    client.send(head((16 << 10) + 1));
    let problem = client.answer().problem(431, "headers-too-large");
    assert!(problem["detail"].as_str().unwrap().contains("headers"), "{problem}");
    assert!(client.is_closed());
}

#[test]
fn a_body_has_at_most_16_mib() {
    const LIMIT: usize = 16 << 20;
    let node = plain();
    let mut client = node.client();
    let body = format!("{{\"data\":1}}{}", " ".repeat(LIMIT - 10));
    assert_eq!(body.len(), LIMIT);
    assert_eq!(client.append(&body), 1);
    let problem = client.post(body + " ").problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("body"), "{problem}");
    node.holds(1);
}

/// Data of so many bytes.
fn data(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

#[test]
fn data_has_at_most_1_mib_on_every_route_that_writes_it() {
    const LIMIT: usize = 1 << 20;
    let mut bar = Bar::on(plain());
    let (fits, above) = (data(LIMIT), data(LIMIT + 1));
    let put = bar.key("put");
    let mut id = 0;
    for (method, target, body) in [
        ("POST", "/changes", "{\"data\":$}"),
        ("POST", "/changes", "{\"data\": [ $ ]}"),
        ("POST", "/tenants/foo/changes", "{\"data\":$,\"tags\":[\"t\"]}"),
        ("POST", &bar.keys.clone(), "{\"key\":\"k\",\"data\":$}"),
        ("PUT", &put, "{\"data\":$}"),
    ] {
        // Brackets around it count, white space does not.
        let (fits, above) = if body.contains('[') && !body.contains("tags") {
            (data(LIMIT - 2), data(LIMIT - 1))
        } else {
            (fits.clone(), above.clone())
        };
        id += 1;
        let answer = bar.client.json(method, target, body.replace('$', &fits));
        assert_eq!(answer.id(), id, "{method} {target}");
        let answer = bar.client.json(method, target, body.replace('$', &above));
        let problem = answer.problem(413, "too-large");
        assert_eq!(problem["member"], "data", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("1048576"), "{problem}");
    }
    let body = format!("[{{\"data\":1}},{{\"data\":{above}}}]");
    assert_eq!(bar.client.post(body).problem(413, "too-large")["index"], 1);
    assert_eq!(bar.client.get("/health").last(), id);
}

#[test]
fn a_batch_has_at_most_10000_changes_on_every_route_that_takes_one() {
    const LIMIT: usize = 10_000;
    let mut bar = Bar::on(plain());
    let one = "{\"data\":1}".to_owned();
    let key = "{\"key\":\"k\",\"data\":1}".to_owned();
    let mut first = 1;
    for (target, change) in [("/changes", &one), ("/tenants/foo/changes", &one), (&bar.keys, &key)]
    {
        let send = |client: &mut Client, count: usize, lines: bool| {
            if lines {
                client.post_lines(target, &format!("{change}\n").repeat(count))
            } else {
                client.json("POST", target, format!("[{}]", vec![&**change; count].join(",")))
            }
        };
        for lines in [false, true] {
            let answer = send(&mut bar.client, LIMIT, lines);
            let last = first + LIMIT - 1;
            assert_eq!(answer.json(), json!({"first": first, "last": last, "count": LIMIT}));
            first += LIMIT;
            let problem = send(&mut bar.client, LIMIT + 1, lines).problem(413, "too-large");
            assert!(problem["detail"].as_str().unwrap().contains("10000"), "{problem}");
        }
    }
    assert_eq!(bar.client.get("/health").last() + 1, first as u64);
}

#[test]
fn json_is_nested_at_most_128_deep_on_every_route_that_writes_it() {
    let mut bar = Bar::on(plain());
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let put = bar.key("put");
    let mut id = 0;
    for (method, target, before) in [
        ("POST", "/changes", "{\"data\":"),
        ("POST", "/tenants/foo/changes", "{\"data\":"),
        ("POST", &bar.keys.clone(), "{\"key\":\"k\",\"data\":"),
        ("PUT", &put, "{\"data\":"),
    ] {
        id += 1;
        let answer = bar.client.json(method, target, format!("{before}{}}}", nested(128)));
        assert_eq!(answer.id(), id);
        let answer = bar.client.json(method, target, format!("{before}{}}}", nested(129)));
        let problem = answer.problem(400, "invalid-json");
        assert_eq!(problem["offset"], before.len() + 128, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("128"), "{problem}");
    }
    assert_eq!(bar.client.get("/health").last(), id);
}

#[test]
fn tags_keep_their_limits_on_every_route_that_writes_them() {
    let mut bar = Bar::start();
    let put = bar.key("put");
    let many = |count: usize| {
        let tags: Vec<_> = (0..count).map(|n| format!("\"{n}\"")).collect();
        tags.join(",")
    };
    let quoted = |tag: &str| format!("\"{tag}\"");
    let mut id = 0;
    for (method, target, start) in [
        ("POST", "/changes", "{"),
        ("POST", "/tenants/foo/changes", "{"),
        ("POST", &bar.keys.clone(), "{\"key\":\"k\","),
        ("PUT", &put, "{"),
    ] {
        for (tags, taken) in [
            (many(32), true),
            (many(33), false),
            (quoted(&"é".repeat(64)), true),
            (quoted(&("x".to_owned() + &"é".repeat(64))), false),
            (quoted(""), false),
            ("\"a\",\"\\u0061\"".into(), false),
        ] {
            let body = format!("{start}\"tags\":[{tags}],\"data\":1}}");
            let answer = bar.client.json(method, target, body);
            if taken {
                id += 1;
                assert_eq!(answer.id(), id, "{method} {target} {tags}");
            } else {
                let problem = answer.problem(400, "invalid-name");
                assert_eq!(problem["member"], "tags", "{tags}: {problem}");
            }
        }
    }
    bar.node.holds(id);
}

#[test]
fn what_can_be_set_is_kept_to_by_keys_too() {
    let flags = ["--max-data", "1KiB", "--max-batch", "3", "--max-depth", "2"];
    let mut bar = Bar::on(Node::with(&flags));
    let put = bar.key("k");
    bar.client.put(&put, format!("{{\"data\":{}}}", data(1025))).problem(413, "too-large");
    bar.client.put(&put, r#"{"data":[[[]]]}"#).problem(400, "invalid-json");
    let batch = |count| format!("[{}]", vec![r#"{"key":"k","data":1}"#; count].join(","));
    bar.client.json("POST", &bar.keys, batch(4)).problem(413, "too-large");
    bar.node.holds(0);
    assert_eq!(bar.client.put(&put, format!("{{\"data\":{}}}", data(1024))).id(), 1);
    assert_eq!(bar.client.put(&put, r#"{"data":[[]]}"#).id(), 2);
    assert_eq!(bar.client.json("POST", &bar.keys, batch(3)).json()["last"], 5);
}
