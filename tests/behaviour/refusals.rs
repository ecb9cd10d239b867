//! What is wrong gets its code, says where it is wrong, and stores nothing.

use testkit::Node;

/// A change that is refused, with its status, its code and, for JSON, the
/// offset of the first wrong byte.
type Refusal<'a> = (&'a [u8], u16, &'a str, Option<u64>);

fn refuses(cases: &[Refusal<'_>]) {
    let node = Node::start();
    let mut client = node.client();
    for (body, status, code, offset) in cases {
        let text = String::from_utf8_lossy(body);
        let problem = client.post(body).problem(*status, code);
        if let Some(offset) = offset {
            assert_eq!(problem["offset"], *offset, "{text}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("byte {offset}")), "{text}: {detail}");
        }
        // The same connection goes on.
        assert_eq!(client.get("/health").status, 200, "{text}");
    }
    node.holds(0);
}

#[test]
fn text_that_is_not_json_is_refused_at_its_first_wrong_byte() {
    refuses(&[
        (b"{\"data\":tru}", 400, "invalid-json", Some(11)),
        (b"{\"data\":1", 400, "invalid-json", Some(9)),
        (b"{\"data\":}", 400, "invalid-json", Some(8)),
        (b"{\"data\":01}", 400, "invalid-json", Some(9)),
        (b"{\"data\":1.}", 400, "invalid-json", Some(10)),
        (b"{\"data\":+1}", 400, "invalid-json", Some(8)),
        (b"{\"data\":NaN}", 400, "invalid-json", Some(8)),
        (b"{\"data\":[1,]}", 400, "invalid-json", Some(11)),
        (b"{\"data\":{\"a\" 1}}", 400, "invalid-json", Some(13)),
        (b"{\"data\":1,}", 400, "invalid-json", Some(10)),
        (b"{\"data\":1} x", 400, "invalid-json", Some(11)),
        (b"{\"data\":'a'}", 400, "invalid-json", Some(8)),
        (b"{data:1}", 400, "invalid-json", Some(1)),
        (b"{\"data\":\"\\x\"}", 400, "invalid-json", None),
        (b"{\"data\":\"\\u12g4\"}", 400, "invalid-json", None),
        (b"{\"data\":\"a\nb\"}", 400, "invalid-json", Some(10)),
        (b"{\"data\":\"\xff\"}", 400, "invalid-json", Some(9)),
        (b"{\"data\":\"\xed\xa0\x80\"}", 400, "invalid-json", Some(9)),
        (b"{\"data\":\"\xc3\"}", 400, "invalid-json", Some(9)),
        (b"\xef\xbb\xbf{\"data\":1}", 400, "invalid-json", Some(0)),
        (b"{\"data\":1}{\"data\":2}", 400, "invalid-json", Some(10)),
        (b"{\"data\":\x001}", 400, "invalid-json", Some(8)),
        (b"", 400, "invalid-json", Some(0)),
        (b"   ", 400, "invalid-json", Some(3)),
    ]);
}

#[test]
fn json_that_is_no_change_is_refused() {
    refuses(&[
        (b"1", 400, "invalid-json", Some(0)),
        (b"\"data\"", 400, "invalid-json", Some(0)),
        (b"null", 400, "invalid-json", Some(0)),
        (b"[1]", 400, "invalid-json", Some(1)),
        (b"[[{\"data\":1}]]", 400, "invalid-json", Some(1)),
        (b"{\"data\":1,\"data\":2}", 400, "invalid-json", Some(10)),
        (b"{\"data\":1,\"tags\":{}}", 400, "invalid-json", None),
        (b"{\"data\":1,\"key\":1,\"collection\":\"x\"}", 400, "invalid-json", None),
    ]);
}

#[test]
fn members_that_are_missing_or_unknown_are_named() {
    let node = Node::start();
    let mut client = node.client();
    for (body, code, member) in [
        (r#"{}"#, "missing-member", "data"),
        (r#"{"tags":["a"]}"#, "missing-member", "data"),
        (r#"{"key":"k","data":1}"#, "missing-member", "collection"),
        (r#"{"data":1,"_id":7}"#, "unknown-member", "_id"),
        (r#"{"data":1,"Data":1}"#, "unknown-member", "Data"),
        (r#"{"data":1,"deleted":true}"#, "unknown-member", "deleted"),
        (r#"{"data":1,"":1}"#, "unknown-member", "\"\""),
    ] {
        let problem = client.post(body).problem(400, code);
        assert!(problem["detail"].as_str().unwrap().contains(member), "{body}: {problem}");
    }
    node.holds(0);
}

#[test]
fn tenants_and_collections_that_do_not_exist_are_not_found() {
    let uuid = "0d4f6c1e-6a7b-4c8d-9e0f-112233445566";
    refuses(&[
        (br#"{"data":1,"tenant":"foo"}"#, 404, "not-found", None),
        (format!("{{\"data\":1,\"tenant\":\"{uuid}\"}}").as_bytes(), 404, "not-found", None),
        (format!("{{\"data\":1,\"collection\":\"{uuid}\"}}").as_bytes(), 404, "not-found", None),
        (
            format!("{{\"data\":1,\"collection\":\"{uuid}\",\"key\":\"k\"}}").as_bytes(),
            404,
            "not-found",
            None,
        ),
    ]);
}

#[test]
fn names_that_cannot_be_are_invalid() {
    refuses(&[
        (br#"{"data":1,"tenant":""}"#, 400, "invalid-name", None),
        (br#"{"data":1,"tenant":"a b"}"#, 400, "invalid-name", None),
        (br#"{"data":1,"tenant":"\u00e9"}"#, 400, "invalid-name", None),
        (br#"{"data":1,"collection":"x","key":""}"#, 400, "invalid-name", None),
    ]);
}

#[test]
fn other_media_types_are_unsupported() {
    let node = Node::start();
    let mut client = node.client();
    for media_type in [
        "text/plain",
        "application/xml",
        "application/ndjson",
        "application/json; charset=latin1",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let headers = [("Content-Type", media_type)];
        let answer = client.request("POST", "/changes", &headers, br#"{"data":1}"#);
        answer.problem(415, "unsupported-media-type");
    }
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let answer = client.request("POST", "/changes", &headers, br#"{"data":1}"#);
    answer.problem(415, "unsupported-media-type");
    node.holds(0);
}

#[test]
fn paths_that_name_nothing_are_not_found() {
    let node = Node::start();
    let mut client = node.client();
    for path in ["/nothing", "/Changes", "/changes/1/2", "//changes", "/health/"] {
        client.get(path).problem(404, "not-found");
    }
    node.holds(0);
}

#[test]
fn other_methods_are_not_allowed_and_the_right_ones_listed() {
    let node = Node::start();
    let mut client = node.client();
    for (method, path, allow) in [
        ("PUT", "/changes", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/changes", "GET, HEAD, POST, OPTIONS"),
        ("PATCH", "/changes", "GET, HEAD, POST, OPTIONS"),
        ("BREW", "/changes", "GET, HEAD, POST, OPTIONS"),
        ("get", "/changes", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/changes/1", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
    ] {
        let answer = client.request(method, path, &[], br#"{"data":1}"#);
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    node.holds(0);
}
