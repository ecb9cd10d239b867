//! What problem documents say: what was wrong and where, in words and in members
//! that programs read; and what comes first when more than one thing is wrong.

use serde_json::{Value, json};

use testkit::{Bar, Node, eventually};

/// A request and the problem that answers it.
struct Case {
    request: (&'static str, String, &'static [(&'static str, &'static str)], String),
    status: u16,
    code: &'static str,
    /// What the detail says.
    words: Vec<String>,
    /// Members besides the standard ones.
    members: Value,
}

fn case(
    method: &'static str,
    target: impl Into<String>,
    body: impl Into<String>,
    status: u16,
    code: &'static str,
) -> Case {
    Case {
        request: (method, target.into(), &[], body.into()),
        status,
        code,
        words: Vec::new(),
        members: json!({}),
    }
}

impl Case {
    fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.request.2 = headers;
        self
    }

    fn says(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(ToString::to_string));
        self
    }

    fn has(mut self, members: Value) -> Self {
        self.members = members;
        self
    }
}

/// Every code that a plain request gets, on a node with change 1 under key `k`.
fn table(bar: &Bar) -> Vec<Case> {
    const NOBODY: &str = "0d4f6c1e-6a7b-4c8d-9e0f-112233445566";
    let (keys, key, collection) = (bar.keys.as_str(), bar.key("k"), bar.collection.as_str());
    let data = r#"{"data":1}"#;
    let mismatch = format!("{{\"data\":1,\"collection\":\"{collection}\"}}");
    vec![
        case("POST", "/changes", "{\"data\":tru}", 400, "invalid-json")
            .says(&["byte 11"])
            .has(json!({"offset": 11})),
        case(
            "POST",
            keys,
            "[{\"key\":\"a\",\"data\":1},\n{\"key\":\"b\",\"data\":}]",
            400,
            "invalid-json",
        )
        .says(&["byte 41", "change 1"])
        .has(json!({"offset": 41, "index": 1})),
        case("PUT", &key, "{\"data\":1,\"data\":2}", 400, "invalid-json")
            .says(&["data", "byte 10"])
            .has(json!({"offset": 10, "member": "data"})),
        case("POST", "/tenants", "{\"name\":12}", 400, "invalid-json")
            .says(&["name", "byte 8"])
            .has(json!({"offset": 8, "member": "name"})),
        case("GET", "/changes?limit=0", "", 400, "invalid-parameter")
            .says(&["limit", "0"])
            .has(json!({"parameter": "limit"})),
        case("GET", format!("{keys}?prefix=a&prefix=b"), "", 400, "invalid-parameter")
            .says(&["prefix"])
            .has(json!({"parameter": "prefix"})),
        case("PUT", &key, data, 400, "invalid-parameter")
            .with(&[("If-Match", "1")])
            .says(&["If-Match"])
            .has(json!({"parameter": "If-Match"})),
        case("POST", "/changes", data, 400, "invalid-parameter")
            .with(&[("Idempotency-Key", "a b")])
            .says(&["Idempotency-Key"])
            .has(json!({"parameter": "Idempotency-Key"})),
        case("POST", "/changes", "{\"tags\":[]}", 400, "missing-member")
            .says(&["data"])
            .has(json!({"member": "data"})),
        case("POST", "/changes", "{\"key\":\"k\",\"data\":1}", 400, "missing-member")
            .says(&["collection"])
            .has(json!({"member": "collection"})),
        case("POST", keys, data, 400, "missing-member")
            .says(&["key"])
            .has(json!({"member": "key"})),
        case("POST", "/tenants", "{}", 400, "missing-member")
            .says(&["name"])
            .has(json!({"member": "name"})),
        case(
            "POST",
            "/tenants/foo/changes",
            "[{\"data\":1},{\"data\":1,\"Tag\":1}]",
            400,
            "unknown-member",
        )
        .says(&["Tag", "byte 22", "change 1"])
        .has(json!({"member": "Tag", "offset": 22, "index": 1})),
        case("PUT", &key, "{\"data\":1,\"key\":\"k\"}", 400, "unknown-member")
            .says(&["key", "byte 10"])
            .has(json!({"member": "key", "offset": 10})),
        case(
            "POST",
            "/tenants/foo/collections",
            "{\"name\":\"x\",\"tenant\":\"foo\"}",
            400,
            "unknown-member",
        )
        .says(&["tenant", "byte 12"])
        .has(json!({"member": "tenant", "offset": 12})),
        case("POST", "/tenants", "{\"name\":\"a b\"}", 400, "invalid-name")
            .says(&["name", "byte 8"])
            .has(json!({"member": "name", "offset": 8})),
        case("POST", keys, "{\"key\":\"\",\"data\":1}", 400, "invalid-name")
            .says(&["key", "1024", "byte 7"])
            .has(json!({"member": "key", "offset": 7})),
        case("POST", "/changes", "{\"data\":1,\"tags\":[\"a\",\"a\"]}", 400, "invalid-name")
            .says(&["a", "twice"])
            .has(json!({"member": "tags"})),
        case("GET", format!("{keys}/"), "", 400, "invalid-name").says(&["key", "1024"]),
        case("POST", "/tenants/other/changes", mismatch, 400, "tenant-mismatch").says(&["tenant"]),
        case("GET", "/nothing", "", 404, "not-found").says(&["/nothing"]),
        case("POST", "/changes/", data, 404, "not-found")
            .says(&["\"/changes/\"", "without the slash at its end, \"/changes\", there is"]),
        case("GET", "/tenants/?prefix=a", "", 404, "not-found").says(&["\"/tenants\", there is"]),
        case("GET", "/changes/2", "", 404, "not-found").says(&["2"]),
        case("GET", "/tenants/nobody", "", 404, "not-found").says(&["tenant", "nobody"]),
        case("GET", format!("/collections/{NOBODY}"), "", 404, "not-found")
            .says(&["collection", NOBODY]),
        case("GET", "/tenants/foo/collections/none/keys", "", 404, "not-found")
            .says(&["collection", "none"]),
        case("GET", format!("{keys}/none"), "", 404, "not-found").says(&["key", "none"]),
        case("DELETE", format!("{keys}/none"), "", 404, "not-found").says(&["key"]),
        case("POST", "/changes", "{\"data\":1,\"tenant\":\"nobody\"}", 404, "not-found")
            .says(&["tenant", "nobody", "byte 19"])
            .has(json!({"member": "tenant", "offset": 19})),
        case("PATCH", &key, data, 405, "method-not-allowed").says(&["PATCH"]),
        case("GET", &key, "", 406, "not-acceptable")
            .with(&[("Accept", "text/html")])
            .says(&["application/json"]),
        case("POST", "/tenants", "{\"name\":\"foo\"}", 409, "name-taken")
            .says(&["foo"])
            .has(json!({"tenant": bar.tenant})),
        case("POST", "/tenants/foo/collections", "{\"name\":\"bar\"}", 409, "name-taken")
            .says(&["bar"])
            .has(json!({"collection": collection})),
        case("GET", format!("/changes?since=1&cluster={NOBODY}"), "", 409, "other-history")
            .says(&[NOBODY]),
        case("PUT", &key, data, 412, "precondition-failed")
            .with(&[("If-None-Match", "*")])
            .has(json!({"current": 1})),
        case("PUT", format!("{keys}/none"), data, 412, "precondition-failed")
            .with(&[("If-Match", "*")])
            .has(json!({"current": null})),
        case("POST", keys, " ".repeat((1 << 20) + 1), 413, "too-large").says(&["body"]),
        case("POST", "/changes", data, 415, "unsupported-media-type")
            .with(&[("Content-Type", "text/plain")])
            .says(&["text/plain"]),
        case("POST", "/tenants/foo/changes", data, 422, "idempotency-mismatch")
            .with(&[("Idempotency-Key", "used")])
            .says(&["used"]),
        case("GET", format!("{key}?min_id=99&block=0"), "", 503, "behind").says(&["99", "1"]),
        case("GET", "/tenants/foo/changes?min_id=99&block=0", "", 503, "behind").says(&["99"]),
    ]
}

#[test]
fn a_problem_says_what_was_wrong_and_where() {
    let mut bar = Bar::start();
    bar.client.tenant("other");
    let put = bar.key("k");
    let used = [("Idempotency-Key", "used")];
    assert_eq!(bar.client.json_with("PUT", &put, &used, r#"{"data":1}"#).id(), 1);
    for case in table(&bar) {
        let (method, target, headers, body) = &case.request;
        let has_type = headers.iter().any(|(name, _)| *name == "Content-Type");
        // A connection of its own, since some close it.
        let mut client = bar.node.client();
        let answer = if has_type || body.is_empty() {
            client.request(method, target, headers, body.as_bytes())
        } else {
            client.json_with(method, target, headers, body)
        };
        let problem = answer.problem(case.status, case.code);
        let detail = problem["detail"].as_str().unwrap();
        for word in &case.words {
            assert!(detail.contains(word.as_str()), "{word:?} is not in {detail:?}");
        }
        for (member, value) in case.members.as_object().unwrap() {
            assert_eq!(problem.get(member), Some(value), "{member}: {problem}");
        }
        assert!(detail.len() < 1000, "{detail}");
        assert_eq!(answer.last(), 1);
    }
    bar.node.holds(1);
}

#[test]
fn a_long_name_is_cut_where_it_is_told() {
    let mut bar = Bar::start();
    let long = "x".repeat(3000);
    for problem in [
        bar.client.get(&format!("/tenants/{long}")).problem(404, "not-found"),
        bar.client.get(&format!("/changes?{long}=1")).problem(400, "invalid-parameter"),
        bar.client
            .json("POST", "/tenants", format!("{{\"{long}\":1}}"))
            .problem(400, "unknown-member"),
        bar.client
            .json("POST", "/tenants", format!("{{\"name\":\"{long}\"}}"))
            .problem(400, "invalid-name"),
        bar.client
            .post(format!("{{\"data\":1,\"tenant\":\"{}\"}}", "y".repeat(3000)))
            .problem(400, "invalid-name"),
    ] {
        assert!(problem.to_string().len() < 1500, "{problem}");
    }
}

#[test]
fn what_is_told_is_json_whatever_was_sent() {
    let mut bar = Bar::start();
    let odd = "\"\\\u{1}\u{7f}\u{2028}é🎉</script>";
    let path = testkit::percent(odd);
    bar.client.get(&format!("/tenants/{path}")).problem(404, "not-found");
    bar.client.get(&bar.key(odd)).problem(404, "not-found");
    bar.client.get(&format!("/changes?{path}={path}")).problem(400, "invalid-parameter");
    let body = json!({odd: 1, "data": 1}).to_string();
    let problem = bar.client.post(body).problem(400, "unknown-member");
    assert_eq!(problem["member"], odd, "{problem}");
    let body = json!({"name": odd}).to_string();
    bar.client.json("POST", "/tenants", body).problem(400, "invalid-name");
}

#[test]
fn the_path_and_the_query_are_judged_before_the_body() {
    let mut bar = Bar::start();
    let text = ("Content-Type", "text/plain");
    let bad = b"no JSON";
    for (target, headers, status, code) in [
        ("/tenants/nobody/changes", &[text][..], 404, "not-found"),
        ("/tenants/foo/changes?x=1", &[text], 400, "invalid-parameter"),
        ("/tenants/foo/changes", &[text], 415, "unsupported-media-type"),
        ("/tenants/foo/changes", &[], 400, "invalid-json"),
    ] {
        bar.client.request("POST", target, headers, bad).problem(status, code);
    }
    // Names in the body come last: what is wrong with its form is told first.
    let body = r#"[{"data":1,"tenant":"nobody"},{"data":1,"Tag":2}]"#;
    bar.client.post(body).problem(400, "unknown-member");
    let body = format!(
        "[{{\"data\":1,\"tenant\":\"nobody\"}},{{\"data\":1,\"tenant\":\"foo\",\"collection\":\"{}\"}}]",
        bar.collection
    );
    assert_eq!(bar.client.post(body).problem(404, "not-found")["index"], 0);
    bar.node.holds(0);
}

#[test]
fn a_refusal_wakes_nobody_and_takes_no_id() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    let mut waiting = bar.node.client();
    waiting.send_request("GET", &format!("/changes?since={id}&block=60"), &[], b"");
    let path = bar.key("k");
    for n in 0..10 {
        bar.client.json("POST", "/tenants", r#"{"name":"foo"}"#).problem(409, "name-taken");
        bar.client
            .json_with("PUT", &path, &[("If-None-Match", "*")], r#"{"data":1}"#)
            .problem(412, "precondition-failed");
        bar.client.delete(&bar.key("none")).problem(404, "not-found");
        bar.client.tenant(&format!("t{n}"));
    }
    assert!(!waiting.hears_within(std::time::Duration::from_millis(50)));
    assert_eq!(bar.put("k", 2), id + 1);
    assert_eq!(waiting.answer().json()["changes"][0]["_id"], id + 1);
}

#[test]
fn a_node_that_is_full_of_connections_tells_writers_of_keys() {
    let mut bar = Bar::on(Node::with(&["--max-connections", "1"]));
    let path = bar.key("k");
    let id = bar.put("k", 1);
    // The only connection is in use, so that it does not make room.
    bar.client.send_request("GET", &format!("{path}?since={id}&block=1"), &[], b"");
    eventually("a second connection is refused", || {
        let mut client = bar.node.client();
        let sent = client.try_send_request("PUT", &path, &[], br#"{"data":2}"#);
        let Some(answer) = sent.then(|| client.try_answer()).flatten() else { return false };
        answer.problem(503, "overloaded");
        true
    });
    // It waited for nothing: the key is what it was.
    assert_eq!(bar.client.answer().json()["data"], 1);
    assert_eq!(bar.client.page(&path)["data"], 1);
}
