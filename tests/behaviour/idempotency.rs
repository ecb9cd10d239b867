//! `Idempotency-Key`: a repeat gets the first answer and writes nothing.

use serde_json::{Value, json};

use testkit::{Answer, Bar, Client, Node};

/// A write: method, target, further header, body.
type Write<'a> = (&'a str, &'a str, Option<(&'a str, &'a str)>, &'a str);

fn write(client: &mut Client, key: &str, write: Write<'_>) -> Answer {
    let (method, target, header, body) = write;
    let mut headers = vec![("Idempotency-Key", key)];
    headers.extend(header);
    client.json_with(method, target, &headers, body)
}

fn first(client: &mut Client, key: &str, it: Write<'_>, status: u16) -> Answer {
    let answer = write(client, key, it);
    assert_eq!(answer.status, status, "{it:?} {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("idempotency-replayed"), None, "{it:?}");
    answer
}

/// Checks that a repeat gets `answer` again.
fn repeats(client: &mut Client, key: &str, it: Write<'_>, answer: &Answer) {
    let again = write(client, key, it);
    assert_eq!(again.status, answer.status, "{it:?} {again:?}");
    assert_eq!(
        String::from_utf8_lossy(&again.body),
        String::from_utf8_lossy(&answer.body),
        "{it:?}"
    );
    for name in ["location", "etag", "content-type"] {
        assert_eq!(again.header(name), answer.header(name), "{it:?} {name}");
    }
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{it:?}");
}

/// One write of every kind, in an order in which each can be done, with the
/// status that it gets. `$` stands for the path of `bar`'s keys, `@` for `bar`.
const EVERY_KIND: [(Write<'static>, u16); 22] = [
    (("POST", "/changes", None, r#"{"data":1}"#), 201),
    (("POST", "/changes", None, r#"[{"data":1},{"data":2}]"#), 201),
    (("POST", "/tenants/foo/changes", None, r#"{"data":1,"tags":["t"]}"#), 201),
    (("POST", "$", None, r#"{"key":"k","data":1}"#), 201),
    (("POST", "$", None, r#"{"key":"k","data":2}"#), 200),
    (("POST", "$", None, r#"[{"key":"k","data":3},{"key":"l","data":4}]"#), 201),
    (("PUT", "$/m", None, r#"{"data":5}"#), 201),
    (("PUT", "$/m", None, r#"{"data":6}"#), 200),
    (("PUT", "$/n", Some(("If-None-Match", "*")), r#"{"data":7}"#), 201),
    (("PUT", "$/n", Some(("If-None-Match", "*")), r#"{"data":8}"#), 412),
    (("PUT", "$/n", Some(("If-Match", "\"11\"")), r#"{"data":9}"#), 200),
    (("DELETE", "$/n", Some(("If-Match", "\"10\"")), ""), 412),
    (("DELETE", "$/n", None, ""), 200),
    (("DELETE", "$/n", None, ""), 404),
    (("POST", "/tenants", None, r#"{"name":"new"}"#), 201),
    (("POST", "/tenants", None, r#"{"name":"foo"}"#), 409),
    (("POST", "/tenants/new/collections", None, r#"{"name":"c"}"#), 201),
    (("POST", "/tenants/foo/collections", None, r#"{"name":"bar"}"#), 409),
    (("DELETE", "/tenants/new/collections/c", None, ""), 200),
    (("DELETE", "/tenants/new", None, ""), 200),
    (("DELETE", "/collections/@", None, ""), 200),
    (("DELETE", "/tenants/foo", None, ""), 200),
];

#[test]
fn every_kind_of_write_is_done_once_and_answered_alike_even_after_a_crash() {
    let mut bar = Bar::on(Node::with(&["--cores", "2"]));
    let target =
        |target: &str| target.replace('$', &bar.keys).replace('@', &bar.collection.to_uppercase());
    let mut done: Vec<(String, String, Write<'static>, Answer)> = Vec::new();
    for (n, (it, status)) in EVERY_KIND.into_iter().enumerate() {
        let (key, target) = (format!("key-{n}"), target(it.1));
        let this = (it.0, target.as_str(), it.2, it.3);
        let answer = first(&mut bar.client, &key, this, status);
        repeats(&mut bar.client, &key, this, &answer);
        done.push((key, target, it, answer));
    }
    let all = bar.client.get("/changes?limit=1000");
    let newest = all.last();
    let mut node = bar.node;
    for end in [None, Some(Node::kill as fn(Node) -> _), Some(Node::stop)] {
        if let Some(end) = end {
            node = end(node).start();
        }
        let mut client = node.client();
        // Also what was made or named by a write and is gone by now.
        for (key, target, it, answer) in done.iter().rev() {
            repeats(&mut client, key, (it.0, target, it.2, it.3), answer);
        }
        let now = client.get("/changes?limit=1000");
        assert_eq!((now.last(), &now.body), (newest, &all.body), "repeats write nothing");
        client.get("/tenants/foo").problem(404, "not-found");
    }
}

#[test]
fn lines_are_repeated_like_any_batch() {
    let node = Node::start();
    let mut client = node.client();
    let headers = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "k")];
    let lines = b"{\"data\":1}\n{\"data\":2}\n";
    let answers = [(); 3].map(|()| client.request("POST", "/changes", &headers, lines));
    for answer in &answers {
        assert_eq!((answer.status, answer.text()), (201, r#"{"first":1,"last":2,"count":2}"#));
    }
    assert_eq!(answers[2].header("idempotency-replayed"), Some("true"));
    node.holds(2);
}

#[test]
fn a_made_tenant_keeps_its_uuid_in_a_repeat() {
    let node = Node::start();
    let mut client = node.client();
    let it = ("POST", "/tenants", None, r#"{"name":"foo"}"#);
    let answer = first(&mut client, "k", it, 201);
    let uuid = answer.json()["tenant"].as_str().unwrap().to_owned();
    repeats(&mut client, "k", it, &answer);
    assert_eq!(client.page("/tenants")["tenants"], json!([{"tenant": uuid, "name": "foo"}]));
    // Under another key it is another write, for which the name is taken.
    assert_eq!(write(&mut client, "l", it).problem(409, "name-taken")["tenant"], uuid);
}

#[test]
fn a_key_used_with_another_request_is_a_mismatch() {
    let mut bar = Bar::start();
    let (k, l) = (bar.key("k"), bar.key("l"));
    let data = r#"{"data":1}"#;
    let put = ("PUT", k.as_str(), Some(("If-None-Match", "*")), data);
    let answer = first(&mut bar.client, "one", put, 201);
    for other in [
        ("PUT", k.as_str(), Some(("If-None-Match", "*")), r#"{"data":2}"#),
        ("PUT", &k, Some(("If-None-Match", "*")), r#"{"data":1,"tags":["t"]}"#),
        ("PUT", &l, Some(("If-None-Match", "*")), data),
        ("PUT", &k, None, data),
        ("PUT", &k, Some(("If-None-Match", "\"7\"")), data),
        ("PUT", &k, Some(("If-Match", "*")), data),
        ("DELETE", &k, None, ""),
        ("POST", "/changes", None, r#"{"data":1,"tenant":"foo"}"#),
        ("POST", &bar.keys, None, r#"{"key":"k","data":1}"#),
        ("POST", "/tenants/foo/collections", None, r#"{"name":"other"}"#),
        ("DELETE", "/tenants/foo", None, ""),
    ] {
        let answer = write(&mut bar.client, "one", other);
        let problem = answer.problem(422, "idempotency-mismatch");
        assert_eq!(answer.header("idempotency-replayed"), None);
        assert!(problem["detail"].as_str().unwrap().contains("Idempotency-Key"), "{problem}");
    }
    repeats(&mut bar.client, "one", put, &answer);
    bar.node.holds(1);
    let tenants = bar.client.page("/tenants");
    assert_eq!(tenants["tenants"], json!([{"tenant": bar.tenant, "name": "foo"}]));
}

#[test]
fn each_tenant_has_keys_of_its_own_and_so_have_writes_without_one() {
    let node = Node::start();
    let mut client = node.client();
    for name in ["a", "b"] {
        client.json("POST", "/tenants", json!({"name": name}).to_string());
    }
    let writes = [
        ("POST", "/changes", None, r#"{"data":0}"#),
        ("POST", "/tenants/a/changes", None, r#"{"data":1}"#),
        ("POST", "/tenants/b/changes", None, r#"{"data":2}"#),
    ];
    let done = writes.map(|it| first(&mut client, "order-17", it, 201));
    for (it, answer) in writes.into_iter().zip(&done) {
        repeats(&mut client, "order-17", it, answer);
    }
    // However the tenant is named.
    let uuid = client.get("/tenants/a").json()["tenant"].as_str().unwrap().to_owned();
    for (target, tenant) in [("/changes", "a"), ("/changes", &uuid), ("/tenants/a/changes", "a")] {
        let body = json!({"data": 3, "tenant": tenant}).to_string();
        let it = ("POST", target, None, body.as_str());
        write(&mut client, "order-17", it).problem(422, "idempotency-mismatch");
    }
    node.holds(3);
}

#[test]
fn a_name_that_was_given_anew_does_not_repeat_what_was_done_to_the_old_one() {
    let node = Node::start();
    let mut client = node.client();
    let create = r#"{"name":"foo"}"#;
    client.json("POST", "/tenants", create);
    let removal = ("DELETE", "/tenants/foo", None, "");
    let answer = first(&mut client, "k", removal, 200);
    client.json("POST", "/tenants", create);
    repeats(&mut client, "k", removal, &answer);
    assert_eq!(client.get("/tenants/foo").status, 200);
    // What was refused because it was not there may be asked again.
    let early = ("POST", "/tenants/bar/changes", None, r#"{"data":1}"#);
    write(&mut client, "l", early).problem(404, "not-found");
    client.json("POST", "/tenants", r#"{"name":"bar"}"#);
    first(&mut client, "l", early, 201);
}

#[test]
fn keys_differ_by_every_character() {
    let node = Node::start();
    let mut client = node.client();
    let every: String = ('!'..='~').collect();
    let longest = "k".repeat(255);
    let near = "k".repeat(254);
    let it = ("POST", "/changes", None, r#"{"data":1}"#);
    let keys = ["k", "K", "kk", "\"k\"", "k,k", &every, &longest, &near, "0"];
    for (id, key) in (1..).zip(keys) {
        assert_eq!(first(&mut client, key, it, 201).id(), id, "{key}");
    }
    for (id, key) in (1..).zip(keys) {
        assert_eq!(write(&mut client, key, it).id(), id, "{key}");
    }
    node.holds(keys.len() as u64);
}

#[test]
fn a_key_that_cannot_be_one_is_refused() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    for key in ["", "a b", "é", "a\u{7f}", "a\tb", &"k".repeat(256), &"k".repeat(5000)] {
        for it in [
            ("POST", "/changes", None, r#"{"data":1}"#),
            ("POST", "/tenants", None, r#"{"name":"bar"}"#),
            ("DELETE", "/tenants/foo", None, ""),
        ] {
            let answer = write(&mut client, key, it);
            if key == "a\u{7f}" && answer.json()["code"] == "bad-request" {
                // HTTP itself knows no such header; the connection is closed.
                client = node.client();
                continue;
            }
            let problem = answer.problem(400, "invalid-parameter");
            assert_eq!(problem["parameter"], "Idempotency-Key", "{key:?}: {problem}");
        }
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let answer = client.request("POST", "/changes", &twice, br#"{"data":1}"#);
    answer.problem(400, "invalid-parameter");
    assert_eq!(client.page("/tenants/foo")["name"], "foo");
    node.holds(0);
}

#[test]
fn what_was_refused_before_it_was_ordered_is_not_remembered() {
    let mut bar = Bar::start();
    let taken = r#"{"data":1}"#;
    for (n, (target, body, status)) in [
        ("/changes", r#"{"dat":1}"#, 400),
        ("/changes", r#"{"data":1"#, 400),
        ("/changes?x=1", taken, 400),
        ("/changes", r#"{"data":1,"tenant":"later"}"#, 404),
        ("/tenants/later/changes", taken, 404),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("refused-{n}");
        for _ in 0..2 {
            first(&mut bar.client, &key, ("POST", target, None, body), status);
        }
        first(&mut bar.client, &key, ("POST", "/changes", None, taken), 201);
    }
    let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", "media")];
    let answer = bar.client.request("POST", "/changes", &headers, taken.as_bytes());
    answer.problem(415, "unsupported-media-type");
    first(&mut bar.client, "media", ("POST", "/changes", None, taken), 201);
    // A name that comes to be does not stay unknown under the same key.
    let it = ("POST", "/tenants/later/changes", None, taken);
    first(&mut bar.client, "later", it, 404);
    bar.client.tenant("later");
    let answer = first(&mut bar.client, "later", it, 201);
    repeats(&mut bar.client, "later", it, &answer);
    bar.node.holds(7);
}

#[test]
fn an_answer_decided_when_the_write_was_ordered_is_remembered() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    let created = bar.put("k", 1);
    let refused = ("PUT", path.as_str(), Some(("If-None-Match", "*")), r#"{"data":2}"#);
    let answer = first(&mut bar.client, "condition", refused, 412);
    assert_eq!(answer.problem(412, "precondition-failed")["current"], created);
    let gone = bar.client.delete(&path).id();
    let absent = ("DELETE", path.as_str(), None, "");
    let not_found = first(&mut bar.client, "absent", absent, 404);
    // What would be taken now is still answered as it was.
    repeats(&mut bar.client, "condition", refused, &answer);
    let newest = bar.put("k", 3);
    assert_eq!(newest, gone + 1);
    repeats(&mut bar.client, "absent", absent, &not_found);
    assert_eq!(bar.client.page(&path)["_id"], newest);
    bar.node.holds(newest);
}

#[test]
fn concurrent_writes_with_one_key_make_one_change() {
    const CLIENTS: usize = 8;
    let mut bar = Bar::on(Node::with(&["--cores", "3"]));
    let path = bar.key("k");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| bar.node.client()).collect();
    for round in 0..30_u64 {
        let key = format!("round-{round}");
        let body = format!("{{\"data\":{round}}}");
        let headers = [("Idempotency-Key", key.as_str())];
        let (method, target) =
            if round % 2 == 0 { ("POST", "/changes") } else { ("PUT", path.as_str()) };
        for client in &mut clients {
            client.send_request(method, target, &headers, body.as_bytes());
        }
        let answers: Vec<_> = clients.iter_mut().map(Client::answer).collect();
        for answer in &answers {
            let seen = (answer.status, answer.header("location"), answer.id());
            let status = if round > 1 && round % 2 == 1 { 200 } else { 201 };
            let location = format!("/changes/{}", round + 1);
            assert_eq!(seen, (status, Some(location.as_str()), round + 1));
        }
        let replayed =
            answers.iter().filter(|a| a.header("idempotency-replayed") == Some("true")).count();
        assert_eq!(replayed, CLIENTS - 1, "round {round}");
    }
    let page = bar.client.list("");
    let data: Vec<_> = page["changes"].as_array().unwrap().iter().map(|c| &c["data"]).collect();
    assert!(data.into_iter().eq(&(0..30).map(Value::from).collect::<Vec<_>>()));
    bar.node.holds(30);
}

#[test]
fn repeats_that_are_pipelined_make_one_change() {
    let node = Node::start();
    let mut client = node.client();
    for _ in 0..20 {
        client.send_request("POST", "/changes", &[("Idempotency-Key", "k")], br#"{"data":1}"#);
    }
    for n in 0..20 {
        let answer = client.answer();
        assert_eq!((answer.status, answer.id()), (201, 1));
        assert_eq!(answer.header("idempotency-replayed").is_some(), n > 0);
    }
    node.holds(1);
}

#[test]
fn many_keys_are_remembered_over_restarts() {
    const KEYS: usize = 3000;
    let mut node = Node::start();
    let mut clients: Vec<_> = (0..30).map(|_| node.client()).collect();
    let send = |client: &mut Client, n: usize| {
        let (key, body) = (format!("key-{n}"), format!("{{\"data\":{n}}}"));
        client.send_request("POST", "/changes", &[("Idempotency-Key", &key)], body.as_bytes());
    };
    let mut answers: Vec<u64> = Vec::new();
    for start in (0..KEYS).step_by(clients.len()) {
        for (n, client) in clients.iter_mut().enumerate() {
            send(client, start + n);
        }
        answers.extend(clients.iter_mut().map(|client| client.answer().id()));
    }
    for end in [Node::kill as fn(Node) -> _, Node::stop] {
        node = end(node).start();
        let mut client = node.client();
        for n in (0..KEYS).step_by(7) {
            send(&mut client, n);
        }
        for n in (0..KEYS).step_by(7) {
            let answer = client.answer();
            assert_eq!((answer.status, answer.id()), (201, answers[n]), "key {n}");
        }
        node.holds(KEYS as u64);
    }
}
