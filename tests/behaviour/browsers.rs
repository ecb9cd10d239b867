//! What the pages of other sites can have a visitor's browser do: nothing, unless
//! their origin is allowed.

use testkit::{Answer, Client, Node, NodeBuilder};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const CHANGE: &[u8] = br#"{"data":1}"#;
const APP: (&str, &str) = ("Origin", "https://app.example");

/// Sends a request that names `host`.
fn ask(node: &Node, host: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut client = node.client();
    let mut request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    client.send([request.as_bytes(), b"\r\n", body].concat());
    client.answer()
}

/// Refusals that must change nothing.
fn nothing_was_written(client: &mut Client) {
    assert_eq!(client.get("/changes").json()["last"], 0);
    assert_eq!(client.get("/tenants").json()["tenants"].as_array().unwrap().len(), 0);
}

#[test]
fn a_page_of_another_site_writes_nothing() {
    let node = Node::start();
    let host = node.address().to_string();
    let own = format!("http://{host}");
    let site = |value: &'static str| ("Sec-Fetch-Site", value);
    for headers in [
        vec![FORM, APP],
        vec![APP],
        vec![JSON, ("Origin", "null")],
        vec![JSON, ("Origin", "http://127.0.0.1:1")],
        vec![JSON, ("Origin", &own), APP],
        vec![FORM, site("cross-site")],
        vec![FORM, site("same-site")],
        vec![JSON, ("Origin", &own), site("cross-site")],
    ] {
        for (line, body) in [
            ("POST /changes", CHANGE),
            ("POST /tenants", br#"{"name":"x"}"#),
            ("PUT /collections/x/keys/y", CHANGE),
            ("DELETE /tenants/x", b""),
            ("PATCH /cluster/members/1", br#"{"role":"learner"}"#),
            ("POST /cluster/leader", br#"{"id":1}"#),
            ("PURGE /nothing", b""),
        ] {
            let problem = ask(&node, &host, line, &headers, body).problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("--allow-origin"), "{line} {headers:?}: {detail}");
        }
    }
    nothing_was_written(&mut node.client());
}

#[test]
fn the_node_s_own_page_and_programs_write() {
    let node = Node::start();
    let host = node.address().to_string();
    let port = node.address().port();
    let local = format!("localhost:{port}");
    for (id, (host, headers)) in (1..).zip([
        (&host, vec![JSON]),
        (
            &host,
            vec![JSON, ("Origin", &*format!("http://{host}")), ("Sec-Fetch-Site", "same-origin")],
        ),
        (&host, vec![JSON, ("Sec-Fetch-Site", "none")]),
        (&local, vec![JSON, ("Origin", &*format!("http://localhost:{port}"))]),
        // A proxy that ends TLS.
        (&"localhost".into(), vec![JSON, ("Origin", "https://localhost")]),
    ]) {
        let answer = ask(&node, host, "POST /changes", &headers, CHANGE);
        assert_eq!((answer.status, answer.json()["_id"].as_u64()), (201, Some(id)), "{headers:?}");
        assert_eq!(answer.header("vary"), None);
    }
}

#[test]
fn pages_elsewhere_read_nothing() {
    let node = Node::start();
    let host = node.address().to_string();
    let asks = [APP, ("Access-Control-Request-Method", "POST")];
    for line in ["GET /changes", "GET /health", "GET /nothing", "OPTIONS /changes"] {
        let answer = ask(&node, &host, line, &asks, b"");
        let cors =
            |(name, _): &&(String, String)| name.to_lowercase().starts_with("access-control");
        assert_eq!(answer.headers.iter().find(cors), None, "{line}");
    }
}

#[test]
fn an_allowed_origin_reads_and_writes() {
    let node = NodeBuilder::new()
        .flags(&["--allow-origin", "https://APP.example:443,http://localhost:3000"])
        .start();
    let host = node.address().to_string();
    let page = [JSON, APP, ("Sec-Fetch-Site", "cross-site")];
    let written = ask(&node, &host, "POST /changes", &page, CHANGE);
    assert_eq!(written.status, 201);
    let stream = [APP, ("Accept", "application/x-ndjson"), ("Connection", "close")];
    let wait = [APP, ("Connection", "close")];
    for answer in [
        written,
        ask(&node, &host, "GET /changes", &page, b""),
        ask(&node, &host, "GET /changes", &stream, b""),
        ask(&node, &host, "GET /changes?since=1&block=0.01", &wait, b""),
        ask(&node, &host, "GET /nothing", &page, b""),
        ask(&node, &host, "POST /changes", &page, b"no JSON"),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP.1), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["ChangeAgent-Last", "ChangeAgent-Cluster", "ETag", "Location", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert!(answer.headers.iter().any(|header| *header == ("vary".into(), "Origin".into())));
    }
    let asks = [APP, ("Access-Control-Request-Method", "PUT")];
    let answer = ask(&node, &host, "OPTIONS /collections/x/keys/y", &asks, b"");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP.1));
    let methods = answer.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("PUT") && methods.contains("DELETE"), "{methods}");
    let headers = answer.header("access-control-allow-headers").unwrap();
    let names = ["ChangeAgent-Cluster", "Content-Type", "Idempotency-Key", "If-Match"];
    for name in names.into_iter().chain(["If-None-Match", "Last-Event-ID"]) {
        assert!(headers.contains(name), "{headers}");
    }
    assert!(answer.header("access-control-max-age").is_some());

    // Another origin gets nothing, and a cache can tell.
    let other = [JSON, ("Origin", "https://other.example")];
    ask(&node, &host, "POST /changes", &other, CHANGE).problem(403, "forbidden");
    let answer = ask(&node, &host, "GET /changes", &other, b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.headers.iter().any(|header| *header == ("vary".into(), "Origin".into())));
    // Nor does one beside an allowed one.
    let both = [JSON, APP, ("Origin", "https://other.example")];
    ask(&node, &host, "POST /changes", &both, CHANGE).problem(403, "forbidden");
    assert_eq!(node.client().get("/changes").json()["last"], 1);
}

#[test]
fn a_name_that_was_made_to_lead_here_is_refused() {
    let node = NodeBuilder::new().flags(&["--advertise", "Db1.example:9000"]).start();
    let port = node.address().port();
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3", "x"] {
        let host = format!("{host}:{port}");
        for (line, body) in [("GET /changes", &b""[..]), ("POST /changes", CHANGE), ("GET /", b"")]
        {
            let problem = ask(&node, &host, line, &[JSON], body).problem(421, "misdirected");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("--allow-host"), "{detail}");
        }
    }
    for host in
        ["127.0.0.1", "[::1]:80", "10.1.2.3:4", "localhost", "LOCALHOST:1", "db1.EXAMPLE.:8"]
    {
        assert_eq!(ask(&node, host, "GET /changes", &[], b"").status, 200, "{host}");
    }
    nothing_was_written(&mut node.client());

    let node = NodeBuilder::new().flags(&["--allow-host", "feeds.example,Other.example"]).start();
    for host in ["feeds.example", "other.example:443"] {
        assert_eq!(ask(&node, host, "GET /changes", &[], b"").status, 200, "{host}");
    }
    ask(&node, "db1.example", "GET /changes", &[], b"").problem(421, "misdirected");
    // A program that names no host is no browser.
    let mut client = node.client();
    client.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn the_cluster_takes_json_that_is_declared_only() {
    let node = Node::start();
    let mut client = node.client();
    for (method, target, body) in [
        ("POST", "/cluster/members", r#"{"address":"127.0.0.1:1"}"#),
        ("PATCH", "/cluster/members/1", r#"{"role":"voter"}"#),
        ("DELETE", "/cluster/members/1", "{}"),
        ("POST", "/cluster/leader", r#"{"id":1}"#),
    ] {
        for headers in [
            &[][..],
            &[FORM],
            &[("Content-Type", "text/plain")],
            &[("Content-Type", "application/x-ndjson")],
        ] {
            let answer = client.request(method, target, headers, body.as_bytes());
            answer.problem(415, "unsupported-media-type");
        }
    }
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let answer = client.request("POST", "/cluster/leader", &headers, br#"{"id":1}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_node_without_a_cluster_address_keeps_its_members() {
    let node = Node::start();
    let mut client = node.client();
    for (method, target, body) in [
        ("POST", "/cluster/members", r#"{"address":"127.0.0.1:1"}"#),
        ("PATCH", "/cluster/members/1", r#"{"address":"127.0.0.1:1"}"#),
        ("DELETE", "/cluster/members/1", ""),
    ] {
        let answer = client.request(method, target, &[JSON], body.as_bytes());
        let problem = answer.problem(412, "precondition-failed");
        assert!(problem["detail"].as_str().unwrap().contains("--cluster-listen"), "{problem}");
    }
    let members = client.get("/cluster/members").json();
    assert_eq!(members["members"].as_array().unwrap().len(), 1);
}
