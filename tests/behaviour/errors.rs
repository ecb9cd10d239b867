//! Every code of the error table that one node can be made to answer, every
//! limit at its value and one above, and what every route has in common.

use std::{fs, path::Path};

use serde_json::{Value, json};

use testkit::{Bar, Client, Node, installed};

/// What a request is refused with.
struct Row {
    method: &'static str,
    target: String,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    status: u16,
    code: &'static str,
    /// A member and its value, besides the usual ones.
    member: Option<(&'static str, Value)>,
    /// A part of `detail`.
    says: &'static str,
}

fn row(method: &'static str, target: &str, body: &str, status: u16, code: &'static str) -> Row {
    let (target, body) = (target.to_owned(), body.to_owned());
    Row { method, target, headers: &[], body, status, code, member: None, says: "" }
}

impl Row {
    fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn naming(self, member: &'static str, value: impl Into<Value>) -> Self {
        Self { member: Some((member, value.into())), ..self }
    }

    fn saying(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn check(&self, client: &mut Client) {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.retain(|_| !self.headers.iter().any(|(name, _)| *name == "Content-Type"));
        headers.extend_from_slice(self.headers);
        let answer = client.request(self.method, &self.target, &headers, self.body.as_bytes());
        let what = format!("{} {} {}", self.method, self.target, self.body);
        assert_eq!(answer.status, self.status, "{what}: {answer:?}");
        let problem = answer.problem(self.status, self.code);
        if let Some((member, value)) = &self.member {
            assert_eq!(problem[member], *value, "{what}: {problem}");
        }
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(self.says), "{what}: {problem}");
    }
}

fn rows(bar: &Bar) -> Vec<Row> {
    const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];
    let (keys, key) = (bar.keys.as_str(), format!("{}/k", bar.keys));
    let other = format!(r#"{{"data":1,"tenant":"other","collection":"{}"}}"#, bar.collection);
    let gone = "0198c0de-0000-4000-8000-000000000001";
    let in_gone = format!(r#"{{"data":1,"collection":"{gone}"}}"#);
    let long = "n".repeat(129);
    vec![
        row("POST", "/changes", "{\"data\":}", 400, "invalid-json").naming("offset", 8),
        row("POST", "/tenants", "{\"name\":1}", 400, "invalid-json").naming("offset", 8),
        row("PUT", &key, "[{\"data\":1}]", 400, "invalid-json").naming("offset", 0),
        row("GET", "/changes?since=x", "", 400, "invalid-parameter").naming("parameter", "since"),
        row("GET", "/changes?limit=0", "", 400, "invalid-parameter").naming("parameter", "limit"),
        row("GET", "/tenants?prefix=a", "", 400, "invalid-parameter").naming("parameter", "prefix"),
        row("POST", "/changes", "{\"tags\":[]}", 400, "missing-member").naming("member", "data"),
        row("POST", "/changes", "{\"data\":1,\"key\":\"k\"}", 400, "missing-member")
            .naming("member", "collection"),
        row("POST", keys, "{\"data\":1}", 400, "missing-member").naming("member", "key"),
        row("POST", keys, "{\"key\":\"k\"}", 400, "missing-member").naming("member", "data"),
        row("PUT", &key, "{}", 400, "missing-member").naming("member", "data"),
        row("POST", "/tenants", "{}", 400, "missing-member").naming("member", "name"),
        row("POST", "/changes", "{\"data\":1,\"_id\":1}", 400, "unknown-member")
            .naming("member", "_id"),
        row("POST", keys, "{\"key\":\"k\",\"data\":1,\"tenant\":\"foo\"}", 400, "unknown-member")
            .naming("member", "tenant"),
        row("PUT", &key, "{\"key\":\"k\",\"data\":1}", 400, "unknown-member")
            .naming("member", "key"),
        row("POST", "/tenants", "{\"name\":\"a\",\"id\":1}", 400, "unknown-member")
            .naming("member", "id"),
        row("POST", "/tenants", "{\"name\":\"a b\"}", 400, "invalid-name").naming("member", "name"),
        row("POST", "/tenants", &format!("{{\"name\":\"{long}\"}}"), 400, "invalid-name"),
        row("POST", "/tenants", &format!("{{\"name\":\"{gone}\"}}"), 400, "invalid-name"),
        row("POST", "/changes", "{\"data\":1,\"tags\":[\"\"]}", 400, "invalid-name"),
        row("POST", "/changes", "{\"data\":1,\"collection\":\"bar\"}", 400, "invalid-name")
            .naming("member", "collection"),
        row("POST", "/changes", &other, 400, "tenant-mismatch").naming("member", "collection"),
        row(
            "POST",
            "/tenants/foo/changes",
            r#"{"data":1,"tenant":"other"}"#,
            400,
            "tenant-mismatch",
        ),
        row("GET", "/nothing", "", 404, "not-found").saying("/nothing"),
        row("GET", "/changes/1", "", 404, "not-found"),
        row("GET", "/tenants/none", "", 404, "not-found").saying("none"),
        row("DELETE", "/tenants/none", "", 404, "not-found"),
        row("POST", "/tenants/none/changes", "{\"data\":1}", 404, "not-found"),
        row("POST", "/tenants/none/changes?x=1", "{", 404, "not-found"),
        row("GET", "/tenants/foo/collections/none/keys", "", 404, "not-found").saying("none"),
        row("GET", "/collections/bar", "", 404, "not-found"),
        row("GET", &key, "", 404, "not-found"),
        row("DELETE", &key, "", 404, "not-found"),
        row("POST", "/changes", &in_gone, 404, "not-found").naming("member", "collection"),
        row("GET", "/cluster/members/9", "", 404, "not-found").saying("9"),
        row("PATCH", "/changes", "", 405, "method-not-allowed").saying("PATCH"),
        row("GET", "/tenants", "", 406, "not-acceptable").with(&[("Accept", "text/html")]),
        row("POST", "/tenants", "{\"name\":\"foo\"}", 409, "name-taken")
            .naming("tenant", bar.tenant.as_str()),
        row("POST", "/tenants/foo/collections", "{\"name\":\"bar\"}", 409, "name-taken")
            .naming("collection", bar.collection.as_str()),
        row("PUT", &key, "{\"data\":1}", 412, "precondition-failed")
            .with(&[("If-Match", "\"1\"")])
            .naming("current", Value::Null),
        row("POST", "/changes", "{\"data\":1}", 415, "unsupported-media-type")
            .with(&[("Content-Type", "text/plain")])
            .saying("text/plain"),
        row("PUT", &key, "{\"data\":1}", 415, "unsupported-media-type").with(NDJSON),
        row("POST", "/tenants", "{\"name\":\"x\"}", 415, "unsupported-media-type").with(NDJSON),
        row("POST", "/changes", "{\"data\":1}", 415, "unsupported-media-type")
            .with(&[("Content-Encoding", "gzip")]),
        row("GET", "/changes?min_id=99&block=0.01", "", 503, "behind"),
        row("GET", "/tenants?min_id=99&block=0", "", 400, "invalid-parameter"),
    ]
}

#[test]
fn every_code_is_answered_with_what_was_wrong_and_where() {
    let mut bar = Bar::start();
    bar.client.tenant("other");
    for row in rows(&bar) {
        row.check(&mut bar.client);
    }
    // Nothing of all that changed anything.
    bar.node.holds(0);
    let first = [("Idempotency-Key", "k")];
    bar.client.json_with("POST", "/changes", &first, "{\"data\":1}").id();
    let answer = bar.client.json_with("POST", "/changes", &first, "{\"data\":2}");
    answer.problem(422, "idempotency-mismatch");
    bar.node.holds(1);
}

#[test]
fn every_limit_holds_exactly() {
    let node = Node::with(&["--max-data", "1000B", "--max-batch", "10", "--max-depth", "4"]);
    let mut client = node.client();
    let data = |bytes: usize| format!("{{\"data\":\"{}\"}}", "x".repeat(bytes - 2));
    assert_eq!(client.post(data(1000)).status, 201);
    client.post(data(1001)).problem(413, "too-large");
    let batch = |count: usize| format!("[{}]", vec!["{\"data\":1}"; count].join(","));
    assert_eq!(client.post(batch(10)).status, 201);
    client.post(batch(11)).problem(413, "too-large");
    assert_eq!(client.post("{\"data\":[[[[]]]]}").status, 201);
    client.post("{\"data\":[[[[[]]]]]}").problem(400, "invalid-json");
    node.holds(12);
    let key = |bytes: usize| format!("{{\"name\":\"{}\"}}", "n".repeat(bytes));
    assert_eq!(client.json("POST", "/tenants", key(128)).status, 201);
    client.json("POST", "/tenants", key(129)).problem(400, "invalid-name");
    let tags = |count: usize| {
        let tags: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
        format!("{{\"data\":1,\"tags\":[{}]}}", tags.join(","))
    };
    assert_eq!(client.post(tags(32)).status, 201);
    client.post(tags(33)).problem(400, "invalid-name");
}

/// One path of every route.
fn paths(bar: &Bar) -> Vec<(String, &'static str)> {
    const READ: &str = "GET, HEAD, OPTIONS";
    const APPEND: &str = "GET, HEAD, POST, OPTIONS";
    const DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
    const PUT: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
    let mut paths: Vec<(String, &str)> = [
        ("/", READ),
        ("/health", READ),
        ("/ready", READ),
        ("/metrics", READ),
        ("/openapi.json", READ),
        ("/docs", READ),
        ("/cluster", READ),
        ("/cluster/members", APPEND),
        ("/cluster/members/1", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/changes", APPEND),
        ("/changes/1", READ),
        ("/tenants", APPEND),
        ("/tenant/foo", DELETE),
        ("/tenants/foo/changes", APPEND),
        ("/tenants/foo/collections", APPEND),
    ]
    .map(|(path, methods)| (path.to_owned(), methods))
    .to_vec();
    for of in [format!("/collections/{}", bar.collection), "/tenants/foo/collections/bar".into()] {
        paths.push((of.clone(), DELETE));
        paths.push((format!("{of}/changes"), READ));
        paths.push((format!("{of}/keys"), APPEND));
        paths.push((format!("{of}/keys/k"), PUT));
    }
    paths
}

#[test]
fn every_route_tells_its_methods_and_answers_head_like_get() {
    let mut bar = Bar::start();
    bar.put("k", 1);
    for (path, methods) in paths(&bar) {
        let answer = bar.client.request("OPTIONS", &path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (204, Some(methods)), "{path}");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get"] {
            if methods.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = bar.client.request(method, &path, &[], b"");
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some(methods), "{method} {path}");
        }
        let get = bar.client.get(&path);
        assert_eq!(get.status, 200, "{path}");
        let head = bar.client.request("HEAD", &path, &[], b"");
        let shown = |headers: &[(String, String)]| -> Vec<(String, String)> {
            headers.iter().filter(|(name, _)| name != "date").cloned().collect()
        };
        assert_eq!((head.status, shown(&head.headers).len()), (200, shown(&get.headers).len()));
        if path != "/metrics" {
            assert_eq!(shown(&head.headers), shown(&get.headers), "{path}");
        }
        // The next answer follows at once, so there was no body.
        assert_eq!(bar.client.get("/health").text(), "{\"status\":\"ok\"}", "{path}");
    }
    bar.node.holds(1);
}

#[test]
fn every_route_refuses_parameters_that_it_does_not_know_or_gets_twice() {
    let mut bar = Bar::start();
    bar.put("k", 1);
    for (path, methods) in paths(&bar) {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            if methods.split(", ").any(|allowed| allowed == method) {
                let answer = bar.client.json(method, &format!("{path}?unknown=1"), "{}");
                let problem = answer.problem(400, "invalid-parameter");
                assert_eq!(problem["parameter"], "unknown", "{method} {path}: {problem}");
            }
        }
    }
    let keys = bar.keys.clone();
    for (path, twice) in [
        ("/changes", &["since=1", "limit=1", "block=0", "min_id=1", "consistency=local"][..]),
        ("/tenants/foo/changes", &["since=1", "limit=1", "min_id=1"]),
        ("/tenants", &["after=a", "limit=1", "min_id=1", "consistency=strong"]),
        ("/tenants/foo/collections", &["after=a", "limit=1"]),
        (&keys, &["after=a", "last=a", "prefix=a", "limit=1"]),
        (&format!("{keys}/k"), &["since=1", "block=0", "min_id=1"]),
    ] {
        for parameter in twice {
            assert_ne!(bar.client.get(&format!("{path}?{parameter}")).status, 400, "{parameter}");
            let answer = bar.client.get(&format!("{path}?{parameter}&{parameter}"));
            answer.problem(400, "invalid-parameter");
        }
    }
    let answer = bar.client.get(&format!("{keys}?after=a&last=a"));
    answer.problem(400, "invalid-parameter");
    bar.node.holds(1);
}

#[test]
fn bodies_of_curl_are_taken_by_every_write() {
    let mut bar = Bar::start();
    let keys = bar.keys.clone();
    for headers in [&[][..], &[("Content-Type", "application/x-www-form-urlencoded")]] {
        let n = headers.len();
        for (method, target, body) in [
            ("POST", "/changes", "{\"data\":1}".to_owned()),
            ("POST", "/tenants/foo/changes", "{\"data\":1}".to_owned()),
            ("POST", "/tenants", format!("{{\"name\":\"t{n}\"}}")),
            ("POST", "/tenants/foo/collections", format!("{{\"name\":\"c{n}\"}}")),
            ("POST", &keys, format!("{{\"key\":\"k{n}\",\"data\":1}}")),
            ("PUT", &format!("{keys}/p{n}"), "{\"data\":1}".to_owned()),
        ] {
            let answer = bar.client.request(method, target, headers, body.as_bytes());
            assert_eq!(answer.status, 201, "{method} {target}");
        }
    }
}

#[test]
fn the_node_tells_of_itself() {
    let mut bar = Bar::start();
    bar.put("k", 1);
    let text = bar.client.get("/metrics");
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "changeagent_last_change 1",
        "changeagent_tenants 1",
        "changeagent_collections 1",
        "changeagent_ready 1",
        "changeagent_raft_leader 1",
        "changeagent_write_seconds_count 3",
        "changeagent_requests_total{method=\"PUT\",code=\"201\"} 1",
        concat!("changeagent_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "changeagent_refused_connections 0",
    ] {
        assert!(text.text().lines().any(|other| other == line), "{line}\n{}", text.text());
    }
    let cluster = bar.client.page("/cluster");
    let address = bar.node.address().to_string();
    assert_eq!(cluster["cluster"], bar.client.get("/").header("changeagent-cluster").unwrap());
    let told = ["node", "leader", "state", "last"].map(|member| cluster[member].clone());
    assert_eq!(told, [json!(1), json!(1), json!("leader"), json!(1)]);
    assert!(cluster["term"].as_u64() > Some(0));
    let member = &cluster["members"][0];
    assert_eq!(*member, bar.client.page("/cluster/members/1"));
    assert_eq!(member["address"], address);
    assert_eq!((&member["role"], &member["state"]), (&json!("voter"), &json!("leader")));
    assert_eq!(bar.client.page("/cluster/members")["members"], cluster["members"]);
    let document = bar.client.page("/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn writes_of_the_log_are_timed() {
    let mut bar = Bar::start();
    let name = |part: &str| format!("changeagent_log_write_seconds_{part}");
    let (count, sum, all) = (name("count"), name("sum"), name("bucket{le=\"+Inf\"}"));
    let mut before = (counted(&mut bar.client, &count), counted(&mut bar.client, &sum));
    assert!(before.0 >= 1.0, "the names were written");
    for n in 0..3 {
        bar.put(&format!("k{n}"), n);
        let text = bar.client.get("/metrics").text().to_owned();
        let now = (value_of(&text, &count), value_of(&text, &sum));
        assert!(now.0 > before.0 && now.1 > before.1, "{now:?} after {before:?}");
        assert_eq!(value_of(&text, &all), now.0, "every write is in a bucket");
        before = now;
    }
}

/// The value of a line of `/metrics`; 0 without it.
fn counted(client: &mut Client, name: &str) -> f64 {
    value_of(client.get("/metrics").text(), name)
}

fn value_of(text: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}

#[test]
fn what_is_refused_is_counted() {
    let node = Node::with(&["--max-data", "1KiB", "--max-head", "2KiB"]);
    let mut client = node.client();
    let long = "x".repeat(3000);
    for (name, request) in [
        ("changeagent_http_refusals_total{code=\"400\",reason=\"bad-request\"}", "GET /".into()),
        (
            "changeagent_limit_refusals_total{limit=\"max-head\"}",
            format!("GET /changes HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        ),
        (
            "changeagent_limit_refusals_total{limit=\"max-body\"}",
            "POST /changes HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".into(),
        ),
    ] {
        assert_eq!(counted(&mut client, name), 0.0, "{name}");
        let mut stranger = node.client();
        stranger.send(request + "\r\n\r\n");
        assert!(stranger.answer().status >= 400);
        assert_eq!(counted(&mut client, name), 1.0, "{name}");
    }
    client.post(format!("{{\"data\":\"{long}\"}}")).problem(413, "too-large");
    assert_eq!(counted(&mut client, "changeagent_limit_refusals_total{limit=\"max-data\"}"), 1.0);
    assert_eq!(client.get("/changes?block=0.05").status, 200);
    assert_eq!(counted(&mut client, "changeagent_wait_seconds_count"), 1.0);
    assert!(counted(&mut client, "changeagent_read_seconds_count") > 3.0);
    assert!(counted(&mut client, "process_resident_memory_bytes") > 1e6);
    assert!(counted(&mut client, "process_open_fds") > 3.0);
}

#[test]
fn the_tools_of_prometheus_take_the_metrics() {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let mut bar = Bar::start();
    bar.put("k", 1);
    let Some(promtool) = installed("promtool") else { return };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().unwrap();
    let text = bar.client.get("/metrics");
    promtool.stdin.take().unwrap().write_all(&text.body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_alerts_of_prometheus_come_when_they_should() {
    let Some(promtool) = installed("promtool") else { return };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = std::process::Command::new(&promtool);
        let output = command.args(arguments).current_dir(&rules).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
    // Each alert is among those that are tried.
    let read = |file| fs::read_to_string(rules.join(file)).unwrap();
    let (alerts, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let names: Vec<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "alerts.yml was not understood");
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} is not tried");
    }
}
