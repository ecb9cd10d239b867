//! `If-Match` and `If-None-Match`: on reads, and on writes that race.

use serde_json::{Value, json};

use testkit::{Answer, Bar, Client, Node};

const MATCH: &str = "If-Match";
const NONE: &str = "If-None-Match";

fn put(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    client.json_with("PUT", path, headers, r#"{"data":"put"}"#)
}

/// Checks that a write was refused since the key is at version `current`.
fn refused(answer: &Answer, current: &Value) {
    let problem = answer.problem(412, "precondition-failed");
    assert_eq!(problem.get("current"), Some(current), "{problem}");
}

#[test]
fn a_replacement_keeps_to_its_conditions() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    // The key is brought to version 3 of several, and to a new one by each
    // write that is taken.
    for n in 0..3 {
        bar.put("k", n);
    }
    let mut current = 3;
    for (headers, taken) in [
        (&[(MATCH, "\"$\"")][..], true),
        (&[(MATCH, "*")], true),
        (&[(MATCH, "\"1\", \"$\", \"2\"")], true),
        (&[(MATCH, "\"1\",\"$\"")], true),
        (&[(MATCH, "\"1\"")], false),
        (&[(MATCH, "\"1\", \"2\"")], false),
        (&[(MATCH, "\"999999\"")], false),
        (&[(MATCH, "W/\"$\"")], false),
        (&[(MATCH, "\"\"")], false),
        (&[(MATCH, "\"abc\"")], false),
        (&[(MATCH, "\"0$\"")], false),
        (&[(NONE, "*")], false),
        (&[(NONE, "\"$\"")], false),
        (&[(NONE, "\"1\", \"$\"")], false),
        (&[(NONE, "W/\"$\"")], false),
        (&[(NONE, "\"1\"")], true),
        (&[(NONE, "\"1\", \"2\"")], true),
        (&[(MATCH, "\"$\""), (NONE, "\"1\"")], true),
        (&[(MATCH, "\"$\""), (NONE, "\"$\"")], false),
        (&[(MATCH, "\"1\""), (NONE, "\"2\"")], false),
    ] {
        for method in ["PUT", "POST"] {
            let values: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.replace('$', &current.to_string())))
                .collect();
            let headers: Vec<_> =
                values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = match method {
                "PUT" => put(&mut bar.client, &path, &headers),
                _ => {
                    let body = r#"{"key":"k","data":"posted"}"#;
                    bar.client.json_with("POST", &bar.keys, &headers, body)
                }
            };
            if taken {
                assert_eq!((answer.status, answer.id()), (200, current + 1), "{headers:?}");
                current += 1;
            } else {
                refused(&answer, &json!(current));
            }
            assert_eq!(bar.client.page(&path)["_id"], current, "{method} {headers:?}");
        }
    }
    bar.node.holds(current);
}

#[test]
fn a_write_to_an_absent_key_keeps_to_its_conditions() {
    let mut bar = Bar::start();
    bar.put("deleted", 0);
    bar.client.delete(&bar.key("deleted")).id();
    let mut newest = 2;
    for key in ["absent", "deleted"] {
        let path = bar.key(key);
        for value in ["*", "\"1\"", "\"2\"", "\"1\", \"2\""] {
            refused(&put(&mut bar.client, &path, &[(MATCH, value)]), &Value::Null);
            let answer = bar.client.request("DELETE", &path, &[(MATCH, value)], b"");
            refused(&answer, &Value::Null);
        }
        for value in ["*", "\"1\"", "\"1\", \"2\""] {
            let answer = put(&mut bar.client, &path, &[(NONE, value)]);
            newest += 1;
            assert_eq!((answer.status, answer.id()), (201, newest), "{value}");
            refused(&put(&mut bar.client, &path, &[(NONE, "*")]), &json!(newest));
            newest += 1;
            assert_eq!(bar.client.delete(&path).id(), newest);
        }
        bar.client.request("DELETE", &path, &[(NONE, "\"1\"")], b"").problem(404, "not-found");
    }
    bar.node.holds(newest);
}

/// What the detail of a refusal says of weak tags.
const WEAK: &str = "a weak tag (W/) in If-Match never matches";

#[test]
fn a_refusal_says_that_a_weak_tag_never_matches() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    let id = bar.put("k", 1);
    let (weak, strong) = (format!("W/\"{id}\""), "\"99\"");
    let both = format!("{strong}, {weak}");
    for (value, says) in [(weak.as_str(), true), (&both, true), (strong, false)] {
        let headers = [(MATCH, value)];
        let posted = r#"{"key":"k","data":2}"#;
        for answer in [
            put(&mut bar.client, &path, &headers),
            bar.client.json_with("POST", &bar.keys, &headers, posted),
            bar.client.request("DELETE", &path, &headers, b""),
        ] {
            let problem = answer.problem(412, "precondition-failed");
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(detail.contains(WEAK), says, "{value}: {detail}");
            refused(&answer, &json!(id));
        }
    }
    // What refuses besides is not the tag.
    let answer = put(&mut bar.client, &path, &[(NONE, &format!("W/\"{id}\""))]);
    let problem = answer.problem(412, "precondition-failed");
    assert!(!problem["detail"].as_str().unwrap().contains(WEAK), "{problem}");
    bar.node.holds(id);
}

#[test]
fn a_repeat_is_refused_for_its_weak_tag_in_the_same_words() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    let id = bar.put("k", 1);
    let weak = format!("W/\"{id}\"");
    let headers = [(MATCH, weak.as_str()), ("Idempotency-Key", "once")];
    let first = put(&mut bar.client, &path, &headers);
    let again = put(&mut bar.client, &path, &headers);
    refused(&again, &json!(id));
    assert!(first.text().contains(WEAK), "{}", first.text());
    assert_eq!(again.text(), first.text());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}

#[test]
fn a_deletion_keeps_to_its_conditions() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    for (header, value, taken) in [
        (MATCH, "\"$\"", true),
        (MATCH, "*", true),
        (MATCH, "\"999999\", \"$\"", true),
        (MATCH, "\"999999\"", false),
        (MATCH, "W/\"$\"", false),
        (NONE, "*", false),
        (NONE, "\"$\"", false),
        (NONE, "\"999999\"", true),
    ] {
        let id = bar.put("k", 1);
        let value = value.replace('$', &id.to_string());
        let answer = bar.client.request("DELETE", &path, &[(header, &value)], b"");
        if taken {
            assert_eq!((answer.status, answer.id()), (200, id + 1), "{header}: {value}");
            bar.client.get(&path).problem(404, "not-found");
        } else {
            refused(&answer, &json!(id));
            assert_eq!(bar.client.page(&path)["_id"], id);
        }
    }
}

#[test]
fn a_read_with_if_none_match_is_answered_304_while_it_matches() {
    let mut bar = Bar::start();
    bar.put("k", 0);
    let id = bar.put("k", 1);
    let path = bar.key("k");
    let etag = format!("\"{id}\"");
    for (value, status) in [
        ("\"2\"", 304),
        ("*", 304),
        ("W/\"2\"", 304),
        ("\"1\", \"2\"", 304),
        ("\"1\"", 200),
        ("W/\"1\", \"3\"", 200),
        ("\"22\"", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = bar.client.request(method, &path, &[(NONE, value)], b"");
            assert_eq!(answer.status, status, "{method} {value}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert_eq!(answer.body.is_empty(), status == 304 || method == "HEAD");
        }
    }
    bar.put("k", 2);
    let answer = bar.client.request("GET", &path, &[(NONE, &etag)], b"");
    assert_eq!((answer.status, answer.json()["data"].as_u64()), (200, Some(2)));
    bar.client.delete(&path).id();
    bar.client.request("GET", &path, &[(NONE, "*")], b"").problem(404, "not-found");
}

#[test]
fn a_read_with_if_match_is_of_that_version_only() {
    let mut bar = Bar::start();
    bar.put("k", 0);
    let id = bar.put("k", 1);
    let path = bar.key("k");
    for (value, status) in [
        ("\"2\"", 200),
        ("*", 200),
        ("\"1\", \"2\"", 200),
        ("\"1\"", 412),
        ("W/\"2\"", 412),
        ("\"22\"", 412),
    ] {
        let answer = bar.client.request("GET", &path, &[(MATCH, value)], b"");
        match status {
            200 => assert_eq!((answer.status, &answer.json()["_id"]), (200, &json!(id)), "{value}"),
            _ => refused(&answer, &json!(id)),
        }
        let answer = bar.client.request("HEAD", &path, &[(MATCH, value)], b"");
        assert_eq!(answer.status, status, "{value}");
    }
    // It goes before `If-None-Match`, and is told before a wait, not after it.
    let both = [(MATCH, "\"1\""), (NONE, "\"2\"")];
    refused(&bar.client.request("GET", &path, &both, b""), &json!(id));
    let target = format!("{path}?since={id}&block=300");
    refused(&bar.client.request("GET", &target, &both[..1], b""), &json!(id));
    let answer = bar.client.request("GET", &path, &[(MATCH, "5")], b"");
    assert_eq!(answer.problem(400, "invalid-parameter")["parameter"], MATCH);
    bar.client.delete(&path).id();
    bar.client.request("GET", &path, &[(MATCH, "*")], b"").problem(404, "not-found");
}

#[test]
fn a_condition_that_is_malformed_is_named() {
    let mut bar = Bar::start();
    bar.put("5", 1);
    let path = bar.key("5");
    for value in ["1", "\"1", "1\"", "\"1\" \"2\"", "*, \"1\"", "\"1\", 2", "w/\"1\"", "W/1"] {
        for name in [MATCH, NONE] {
            let problem = put(&mut bar.client, &path, &[(name, value)]);
            let problem = problem.problem(400, "invalid-parameter");
            assert_eq!(problem["parameter"], name, "{value}: {problem}");
            let answer = bar.client.request("DELETE", &path, &[(name, value)], b"");
            answer.problem(400, "invalid-parameter");
        }
    }
    bar.node.holds(1);
}

#[test]
fn conditions_on_other_writes_are_refused() {
    let mut bar = Bar::start();
    let one = r#"{"data":1}"#;
    let many = r#"[{"key":"a","data":1}]"#;
    let collection = format!("/collections/{}", bar.collection);
    for (method, target, body) in [
        ("POST", "/changes", one),
        ("POST", "/tenants/foo/changes", one),
        ("POST", "/tenants", r#"{"name":"other"}"#),
        ("POST", "/tenants/foo/collections", r#"{"name":"other"}"#),
        ("POST", &bar.keys, many),
        ("DELETE", &collection, ""),
        ("DELETE", "/tenants/foo/collections/bar", ""),
        ("DELETE", "/tenants/foo", ""),
    ] {
        for (name, value) in [(MATCH, "\"1\""), (MATCH, "*"), (NONE, "*"), (NONE, "\"1\"")] {
            let answer = bar.client.json_with(method, target, &[(name, value)], body);
            let problem = answer.problem(400, "invalid-parameter");
            assert_eq!(problem["parameter"], name, "{method} {target}: {problem}");
        }
    }
    assert_eq!(bar.client.page("/tenants/foo/collections/bar")["name"], "bar");
    assert_eq!(bar.live(), []);
    bar.node.holds(0);
}

#[test]
fn a_chain_of_replacements_by_etag_never_misses() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    let mut etag = put(&mut bar.client, &path, &[(NONE, "*")]).header("etag").unwrap().to_owned();
    for _ in 0..50 {
        let old = etag.clone();
        let answer = put(&mut bar.client, &path, &[(MATCH, &etag)]);
        assert_eq!(answer.status, 200);
        etag = answer.header("etag").unwrap().to_owned();
        assert_ne!(etag, old);
        assert_eq!(bar.client.get(&path).header("etag"), Some(etag.as_str()));
        assert_eq!(put(&mut bar.client, &path, &[(MATCH, &old)]).status, 412);
    }
    bar.node.holds(51);
}

/// Sends the same request on every connection before any answer is taken.
fn race(clients: &mut [Client], requests: &[(&str, &str, (&str, &str))]) -> Vec<Answer> {
    for (client, (method, path, header)) in clients.iter_mut().zip(requests) {
        let body = if *method == "PUT" { r#"{"data":1}"# } else { "" };
        client.send_request(method, path, &[*header], body.as_bytes());
    }
    clients.iter_mut().map(Client::answer).collect()
}

/// Checks that exactly one was taken, and that the others were told `current`.
fn one_wins(answers: &[Answer], current: impl Fn(u64) -> Value) -> u64 {
    let (taken, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status != 412);
    assert_eq!(taken.len(), 1, "{answers:?}");
    let id = taken[0].id();
    for answer in others {
        refused(answer, &current(id));
    }
    id
}

const RACERS: usize = 8;
const ROUNDS: u64 = 40;

#[test]
fn of_racing_replacements_of_one_version_exactly_one_wins() {
    let mut bar = Bar::on(Node::with(&["--cores", "3"]));
    let mut clients: Vec<_> = (0..RACERS).map(|_| bar.node.client()).collect();
    let mut id = bar.put("k", 0);
    let path = bar.key("k");
    for round in 1..=ROUNDS {
        let etag = format!("\"{id}\"");
        let requests = [("PUT", path.as_str(), (MATCH, etag.as_str())); RACERS];
        let winner = one_wins(&race(&mut clients, &requests), |id| json!(id));
        assert_eq!(winner, id + 1, "round {round}: what is refused takes no id");
        id = winner;
        assert_eq!(bar.client.page(&path)["_id"], id);
    }
    bar.node.holds(1 + ROUNDS);
}

#[test]
fn of_racing_creators_exactly_one_wins() {
    let bar = Bar::on(Node::with(&["--cores", "3"]));
    let mut clients: Vec<_> = (0..RACERS).map(|_| bar.node.client()).collect();
    for round in 1..=ROUNDS {
        let path = bar.key(&format!("k{round}"));
        let requests = [("PUT", path.as_str(), (NONE, "*")); RACERS];
        let answers = race(&mut clients, &requests);
        assert_eq!(one_wins(&answers, |id| json!(id)), round);
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    }
    bar.node.holds(ROUNDS);
}

#[test]
fn of_a_deletion_and_replacements_of_one_version_exactly_one_wins() {
    let mut bar = Bar::on(Node::with(&["--cores", "3"]));
    let mut clients: Vec<_> = (0..RACERS).map(|_| bar.node.client()).collect();
    let path = bar.key("k");
    let mut written = 0;
    for round in 0..ROUNDS {
        let id = bar.put("k", round);
        assert_eq!(id, written + 1);
        let etag = format!("\"{id}\"");
        let header = (MATCH, etag.as_str());
        let mut requests = [("PUT", path.as_str(), header); RACERS];
        // The deletion is sent first, last or in between.
        requests[round as usize % RACERS].0 = "DELETE";
        let answers = race(&mut clients, &requests);
        let deleted = bar.client.get(&path).status == 404;
        let winner = one_wins(&answers, |id| if deleted { Value::Null } else { json!(id) });
        assert_eq!(winner, id + 1);
        let change = bar.client.page(&format!("/changes/{winner}"));
        assert_eq!(change.get("deleted") == Some(&json!(true)), deleted, "{change}");
        written = winner;
    }
    bar.node.holds(written);
}

#[test]
fn conditions_that_are_pipelined_hold_one_after_the_other() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    let body = r#"{"data":1}"#;
    let request = |header: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests =
        ["If-None-Match: *", "If-None-Match: *", "If-Match: \"1\"", "If-Match: \"1\"", "X: 1"];
    bar.client.send(requests.map(request).concat());
    let statuses: Vec<_> = requests.iter().map(|_| bar.client.answer().status).collect();
    assert_eq!(statuses, [201, 412, 200, 412, 200]);
    bar.node.holds(3);
}
