//! `/tenants`: made, listed, read by UUID or name, deleted.

use serde_json::{Value, json};

use testkit::{Client, Node, ids, percent, strings};

const NOBODY: &str = "0d4f6c1e-6a7b-4c8d-9e0f-112233445566";

fn named(client: &mut Client, name: &str) -> testkit::Answer {
    client.json("POST", "/tenants", json!({"name": name}).to_string())
}

/// Every name of a list of tenants, page by page, with what each page says
/// checked.
fn all_names(client: &mut Client, limit: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map_or(String::new(), |name| format!("&after={}", percent(name)));
        let page = client.page(&format!("/tenants?limit={limit}{after}"));
        let some = strings(&page["tenants"], "name");
        assert!(some.len() <= limit);
        assert!(!some.is_empty() || names.is_empty(), "a page that is not the last holds one");
        names.extend(some.iter().map(ToString::to_string));
        if page["atEnd"] == true {
            return names;
        }
        assert_eq!(some.len(), limit, "only the last page is short");
    }
}

#[test]
fn a_tenant_is_made_and_named_in_the_answer() {
    let node = Node::start();
    let mut client = node.client();
    let answer = client.json("POST", "/tenants", r#"{ "name": "foo" }"#);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let uuid = answer.json()["tenant"].as_str().unwrap().to_owned();
    assert_eq!(answer.text(), format!("{{\"tenant\":\"{uuid}\",\"name\":\"foo\"}}"));
    assert_eq!(answer.header("location"), Some(format!("/tenants/{uuid}").as_str()));
    assert_eq!(uuid, uuid::Uuid::parse_str(&uuid).unwrap().hyphenated().to_string());
    assert_eq!(answer.last(), 0, "making a tenant is no change");
    node.holds(0);
}

#[test]
fn a_tenant_is_read_by_its_name_and_by_its_uuid_in_any_case() {
    let node = Node::start();
    let mut client = node.client();
    let uuid = client.tenant("foo");
    let wanted = json!({"tenant": uuid, "name": "foo"});
    for by in ["foo", "f%6fo", &uuid, &uuid.to_uppercase(), &uuid.replace('a', "A")] {
        assert_eq!(client.page(&format!("/tenants/{by}")), wanted, "{by}");
        assert_eq!(client.page(&format!("/tenant/{by}")), wanted, "{by}");
    }
    for by in ["Foo", "fo", "fooo", NOBODY, "foo%20", &uuid.replace('-', ""), ""] {
        client.get(&format!("/tenants/{by}")).problem(404, "not-found");
    }
}

#[test]
fn names_of_1_to_128_of_the_allowed_characters_are_taken() {
    let node = Node::start();
    let mut client = node.client();
    let every = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
    let longest = "x".repeat(128);
    let names =
        ["a", "-", ".", "..", "~", "0", "A_b.c~d-e", every, &longest, "0d4f6c1e-6a7b-4c8d-9e0f"];
    for name in names {
        let uuid = client.tenant(name);
        assert_eq!(client.page(&format!("/tenants/{}", percent(name)))["tenant"], uuid, "{name}");
    }
    assert_eq!(all_names(&mut client, 100).len(), names.len());
}

#[test]
fn other_names_are_invalid() {
    let node = Node::start();
    let mut client = node.client();
    let refused = [
        "",
        " ",
        "a b",
        "a/b",
        "a%20b",
        "a+b",
        "a:b",
        "a@b",
        "a\"b",
        "a\\b",
        "a\u{0}b",
        "a\nb",
        "a\u{7f}",
        "é",
        "名",
        "🎉",
        "a*",
        "(a)",
        NOBODY,
        "0D4F6C1E-6A7B-4C8D-9E0F-112233445566",
        &"x".repeat(129),
        &"x".repeat(5000),
    ];
    for name in refused {
        let problem = named(&mut client, name).problem(400, "invalid-name");
        assert_eq!(problem["member"], "name", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("byte 8"), "{name:?} {problem}");
    }
    assert_eq!(client.page("/tenants"), json!({"tenants": [], "atEnd": true}));
}

#[test]
fn a_body_that_names_no_tenant_is_refused() {
    let node = Node::start();
    let mut client = node.client();
    for (body, code, member) in [
        (r#"{}"#, "missing-member", Some("name")),
        (r#"{"name":"foo","Name":"x"}"#, "unknown-member", Some("Name")),
        (r#"{"name":"foo","data":1}"#, "unknown-member", Some("data")),
        (r#"{"name":"foo","name":"foo"}"#, "invalid-json", None),
        (r#"{"name":1}"#, "invalid-json", None),
        (r#"{"name":null}"#, "invalid-json", None),
        (r#"{"name":["foo"]}"#, "invalid-json", None),
        (r#""foo""#, "invalid-json", None),
        (r#"[{"name":"foo"}]"#, "invalid-json", None),
        (r#"{"name":"foo"} x"#, "invalid-json", None),
        (r#"{"name":"foo""#, "invalid-json", None),
        ("", "invalid-json", None),
    ] {
        let problem = client.json("POST", "/tenants", body).problem(400, code);
        if let Some(member) = member {
            assert_eq!(problem["member"], member, "{body}: {problem}");
        }
    }
    assert_eq!(client.page("/tenants"), json!({"tenants": [], "atEnd": true}));
}

#[test]
fn a_name_that_is_taken_names_its_holder() {
    let node = Node::start();
    let mut client = node.client();
    let holder = client.tenant("foo");
    for _ in 0..2 {
        let problem = named(&mut client, "foo").problem(409, "name-taken");
        assert_eq!(problem["tenant"], holder);
        assert!(problem["detail"].as_str().unwrap().contains("foo"), "{problem}");
    }
    assert_eq!(all_names(&mut client, 10), ["foo"]);
}

#[test]
fn of_concurrent_makers_of_one_name_one_wins() {
    let node = Node::with(&["--cores", "2"]);
    let mut clients: Vec<_> = (0..8).map(|_| node.client()).collect();
    for round in 0..10 {
        let body = format!("{{\"name\":\"t{round}\"}}");
        for client in &mut clients {
            client.send_request("POST", "/tenants", &[], body.as_bytes());
        }
        let answers: Vec<_> = clients.iter_mut().map(|client| client.answer()).collect();
        let (made, taken): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), 1, "round {round}");
        for answer in taken {
            let problem = answer.problem(409, "name-taken");
            assert_eq!(problem["tenant"], made[0].json()["tenant"]);
        }
    }
    assert_eq!(all_names(&mut clients[0], 100).len(), 10);
}

#[test]
fn names_differ_by_case() {
    let node = Node::start();
    let mut client = node.client();
    let (small, large) = (client.tenant("foo"), client.tenant("FOO"));
    assert_ne!(small, large);
    assert_eq!(client.page("/tenants/foo")["tenant"], small);
    assert_eq!(client.page("/tenants/FOO")["tenant"], large);
    client.get("/tenants/Foo").problem(404, "not-found");
}

#[test]
fn the_list_is_sorted_by_the_bytes_of_names() {
    let node = Node::start();
    let mut client = node.client();
    for name in ["b", "a.b", "ab", "B", "_", "~", "10", "-", "9", "a", ".", "a-b", "Ab"] {
        client.tenant(name);
    }
    let sorted = ["-", ".", "10", "9", "Ab", "B", "_", "a", "a-b", "a.b", "ab", "b", "~"];
    for limit in [1, 2, 3, 12, 13, 14] {
        assert_eq!(all_names(&mut client, limit), sorted, "limit {limit}");
    }
}

#[test]
fn after_need_not_name_a_tenant_and_is_left_out_itself() {
    let node = Node::start();
    let mut client = node.client();
    for name in ["b", "d", "f"] {
        client.tenant(name);
    }
    for (query, wanted, at_end) in [
        ("", &["b", "d", "f"][..], true),
        ("?after=a", &["b", "d", "f"], true),
        ("?after=b", &["d", "f"], true),
        ("?after=c", &["d", "f"], true),
        ("?after=b&limit=1", &["d"], false),
        ("?limit=2&after=d", &["f"], true),
        ("?after=f", &[], true),
        ("?after=z", &[], true),
        ("?limit=3", &["b", "d", "f"], true),
        ("?limit=2", &["b", "d"], false),
    ] {
        let page = client.page(&format!("/tenants{query}"));
        assert_eq!(strings(&page["tenants"], "name"), wanted, "{query}");
        assert_eq!(page["atEnd"], at_end, "{query}");
    }
}

#[test]
fn two_and_a_half_thousand_tenants_are_listed_page_by_page() {
    const COUNT: usize = 2500;
    let node = Node::start();
    let mut clients: Vec<_> = (0..32).map(|_| node.client()).collect();
    let mut names: Vec<String> = (0..COUNT).map(|n| format!("t{}", n * 7919 % 10_007)).collect();
    for some in names.chunks(clients.len()) {
        for (name, client) in some.iter().zip(&mut clients) {
            let body = format!("{{\"name\":\"{name}\"}}");
            client.send_request("POST", "/tenants", &[], body.as_bytes());
        }
        for (_, client) in some.iter().zip(&mut clients) {
            assert_eq!(client.answer().status, 201);
        }
    }
    names.sort_unstable();
    let client = &mut clients[0];
    let page = client.page("/tenants");
    assert_eq!(strings(&page["tenants"], "name"), names[..100], "100 unless asked for more");
    assert_eq!(page["atEnd"], false);
    assert_eq!(all_names(client, 999), names);
    assert_eq!(all_names(client, 2500), names);
    for limit in ["10000", "10001", "99999999999999999999999"] {
        let page = client.page(&format!("/tenants?limit={limit}"));
        assert_eq!(page["tenants"].as_array().unwrap().len(), COUNT, "{limit}");
        assert_eq!(page["atEnd"], true);
    }
}

/// What `_ts` is cannot be foretold, so it is taken from the change itself.
fn with_its_time(change: &Value, mut wanted: Value) -> Value {
    assert!(change["_ts"].as_u64().expect("a time") > 0);
    wanted["_ts"] = change["_ts"].clone();
    wanted
}

#[test]
fn a_deletion_is_a_change_of_the_global_list() {
    let node = Node::start();
    let mut client = node.client();
    let uuid = client.tenant("foo");
    client.append(r#"{"data":1,"tenant":"foo"}"#);
    client.append(r#"{"data":2}"#);
    let answer = client.delete("/tenants/foo");
    assert_eq!((answer.status, answer.text()), (200, r#"{"_id":3}"#));
    assert_eq!(answer.last(), 3);
    let page = client.list("");
    assert_eq!(ids(&page), [1, 2, 3], "past changes stay");
    assert_eq!(page["changes"][0]["tenant"], uuid);
    let change = &page["changes"][2];
    let wanted = json!({"_id": 3, "_ts": 0, "tenant": uuid, "deleted": true});
    assert_eq!(*change, with_its_time(change, wanted));
    assert_eq!(client.page("/changes/3"), *change);
    assert_eq!(client.page("/changes/1")["data"], 1);
}

#[test]
fn with_a_tenant_its_collections_keys_and_names_are_gone() {
    let node = Node::start();
    let mut client = node.client();
    let (gone, stays) = (client.tenant("gone"), client.tenant("stays"));
    let collection = client.collection("gone", "c");
    let kept = client.collection("stays", "c");
    for collection in [&collection, &kept] {
        client.put(&format!("/collections/{collection}/keys/k"), r#"{"data":1}"#).id();
    }
    client.delete(&format!("/tenants/{}", gone.to_uppercase())).id();
    for path in [
        "/tenants/gone".into(),
        format!("/tenants/{gone}"),
        "/tenants/gone/changes".into(),
        format!("/tenants/{gone}/collections"),
        "/tenants/gone/collections/c".into(),
        format!("/collections/{collection}"),
        format!("/collections/{collection}/changes"),
        format!("/collections/{collection}/keys"),
        format!("/collections/{collection}/keys/k"),
    ] {
        client.get(&path).problem(404, "not-found");
    }
    client.delete("/tenants/gone").problem(404, "not-found");
    client.post(r#"{"data":1,"tenant":"gone"}"#).problem(404, "not-found");
    client
        .post(format!("{{\"data\":1,\"collection\":\"{collection}\"}}"))
        .problem(404, "not-found");
    assert_eq!(client.page("/tenants")["tenants"], json!([{"tenant": stays, "name": "stays"}]));
    assert_eq!(client.page(&format!("/collections/{kept}/keys/k"))["data"], 1);
    node.holds(3);
}

#[test]
fn a_name_is_free_again_after_its_tenant_was_deleted() {
    let node = Node::start();
    let mut client = node.client();
    let first = client.tenant("foo");
    client.collection("foo", "c");
    client.append(r#"{"data":1,"tenant":"foo"}"#);
    client.delete("/tenants/foo").id();
    let second = client.tenant("foo");
    assert_ne!(first, second);
    assert_eq!(client.page("/tenants/foo")["tenant"], second);
    client.get(&format!("/tenants/{first}")).problem(404, "not-found");
    let page = client.page("/tenants/foo/changes");
    assert_eq!(ids(&page), [0; 0], "the new tenant has none of the old one's changes");
    assert_eq!(client.page("/tenants/foo/collections")["collections"], json!([]));
    client.append(r#"{"data":2,"tenant":"foo"}"#);
    assert_eq!(ids(&client.page("/tenants/foo/changes")), [3]);
}

/// Every request whose path starts with a tenant.
const WITHIN: [(&str, &str); 19] = [
    ("GET", ""),
    ("HEAD", ""),
    ("DELETE", ""),
    ("GET", "/changes"),
    ("POST", "/changes"),
    ("GET", "/collections"),
    ("POST", "/collections"),
    ("GET", "/collections/c"),
    ("HEAD", "/collections/c"),
    ("DELETE", "/collections/c"),
    ("GET", "/collections/c/changes"),
    ("GET", "/collections/c/keys"),
    ("HEAD", "/collections/c/keys"),
    ("POST", "/collections/c/keys"),
    ("GET", "/collections/c/keys/k"),
    ("HEAD", "/collections/c/keys/k"),
    ("PUT", "/collections/c/keys/k"),
    ("DELETE", "/collections/c/keys/k"),
    ("GET", "/changes?limit=5&block=0"),
];

#[test]
fn an_unknown_tenant_is_not_found_on_every_route() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    for tenant in ["nobody", NOBODY, "a%20b", "%C3%A9", &"x".repeat(129)] {
        for (method, path) in WITHIN {
            let target = format!("/tenants/{tenant}{path}");
            // The path is looked at before the body.
            let body = if matches!(method, "POST" | "PUT") { "no JSON" } else { "" };
            let answer = client.request(method, &target, &[], body.as_bytes());
            if method == "HEAD" {
                assert_eq!(answer.status, 404, "{target}");
            } else {
                let problem = answer.problem(404, "not-found");
                assert!(problem["detail"].as_str().unwrap().contains("tenant"), "{problem}");
            }
        }
    }
    node.holds(0);
}

#[test]
fn the_singular_is_the_same_resource_for_every_method_and_sub_path() {
    let node = Node::start();
    let mut client = node.client();
    let answer = client.json("POST", "/tenant", r#"{"name":"foo"}"#);
    assert_eq!(answer.status, 201);
    let uuid = answer.json()["tenant"].as_str().unwrap().to_owned();
    let answer = client.json("POST", "/tenant/foo/collections", r#"{"name":"c"}"#);
    assert_eq!(answer.status, 201);
    let key = "/tenant/foo/collections/c/keys";
    assert_eq!(client.json("POST", key, r#"{"key":"k","data":1}"#).id(), 1);
    assert_eq!(client.put(&format!("{key}/k"), r#"{"data":2}"#).id(), 2);
    assert_eq!(client.json("POST", "/tenant/foo/changes", r#"{"data":3}"#).id(), 3);
    for (_, path) in WITHIN.iter().filter(|(method, _)| *method == "GET") {
        for tenant in ["foo", &uuid] {
            let one = client.get(&format!("/tenant/{tenant}{path}"));
            let many = client.get(&format!("/tenants/{tenant}{path}"));
            assert_eq!((one.status, many.status), (200, 200), "{path}");
            assert_eq!(one.body, many.body, "{path}");
        }
    }
    for (method, path) in WITHIN.iter().filter(|(_, path)| !path.contains('?')) {
        let one = client.request("OPTIONS", &format!("/tenant/foo{path}"), &[], b"");
        let many = client.request("OPTIONS", &format!("/tenants/foo{path}"), &[], b"");
        assert_eq!((one.status, one.header("allow")), (204, many.header("allow")), "{path}");
        assert!(one.header("allow").unwrap().contains(method), "{method} {path}");
    }
    assert_eq!(client.get("/tenant").body, client.get("/tenants").body);
    assert_eq!(client.delete(&format!("{key}/k")).id(), 4);
    assert_eq!(client.delete("/tenant/foo/collections/c").id(), 5);
    assert_eq!(client.delete("/tenant/foo").id(), 6);
    client.get("/tenants/foo").problem(404, "not-found");
    node.holds(6);
}
