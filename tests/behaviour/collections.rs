//! `/tenants/T/collections` and `/collections/C`: made, listed, read, deleted.

use serde_json::{Value, json};

use testkit::{Client, Node, ids, percent, strings};

const NOTHING: &str = "0d4f6c1e-6a7b-4c8d-9e0f-112233445566";

/// Every name of a tenant's list of collections, page by page.
fn all_names(client: &mut Client, tenant: &str, limit: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map_or(String::new(), |name| format!("&after={}", percent(name)));
        let page = client.page(&format!("/tenants/{tenant}/collections?limit={limit}{after}"));
        let some = strings(&page["collections"], "name");
        names.extend(some.iter().map(ToString::to_string));
        if page["atEnd"] == true {
            return names;
        }
        assert_eq!(some.len(), limit, "only the last page is short");
    }
}

#[test]
fn a_collection_is_made_and_named_in_the_answer() {
    let node = Node::start();
    let mut client = node.client();
    let tenant = client.tenant("foo");
    for (by, name) in [("foo", "bar"), (tenant.as_str(), "baz")] {
        let target = format!("/tenants/{by}/collections");
        let answer = client.json("POST", &target, format!("{{\"name\":\"{name}\"}}"));
        assert_eq!(answer.status, 201);
        let uuid = answer.json()["collection"].as_str().unwrap().to_owned();
        assert_eq!(
            answer.text(),
            format!("{{\"collection\":\"{uuid}\",\"name\":\"{name}\",\"tenant\":\"{tenant}\"}}")
        );
        assert_eq!(answer.header("location"), Some(format!("/collections/{uuid}").as_str()));
        assert_eq!(uuid, uuid::Uuid::parse_str(&uuid).unwrap().hyphenated().to_string());
    }
    node.holds(0);
}

#[test]
fn a_collection_is_read_by_its_uuid_and_by_its_name_in_the_tenant() {
    let node = Node::start();
    let mut client = node.client();
    let (foo, other) = (client.tenant("foo"), client.tenant("other"));
    let uuid = client.collection("foo", "bar");
    let strange = client.collection("other", "bar");
    let wanted = json!({"collection": uuid, "name": "bar", "tenant": foo});
    for path in [
        format!("/collections/{uuid}"),
        format!("/collections/{}", uuid.to_uppercase()),
        "/tenants/foo/collections/bar".into(),
        format!("/tenants/{foo}/collections/bar"),
        format!("/tenants/foo/collections/{uuid}"),
        format!("/tenant/foo/collections/{}", uuid.to_uppercase()),
    ] {
        assert_eq!(client.page(&path), wanted, "{path}");
    }
    assert_eq!(client.page("/tenants/other/collections/bar")["tenant"], other);
    for path in [
        format!("/collections/{NOTHING}"),
        "/collections/bar".into(),
        format!("/collections/{}", uuid.replace('-', "")),
        "/tenants/foo/collections/Bar".into(),
        "/tenants/foo/collections/a%20b".into(),
        format!("/tenants/foo/collections/{NOTHING}"),
        format!("/tenants/foo/collections/{strange}"),
        format!("/tenants/other/collections/{uuid}/keys"),
    ] {
        client.get(&path).problem(404, "not-found");
    }
}

#[test]
fn the_same_names_are_good_and_bad_as_for_tenants() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    let longest = "x".repeat(128);
    for name in ["-", ".", "..", "A_b.c~d-e", &longest] {
        let uuid = client.collection("foo", name);
        let page = client.page(&format!("/tenants/foo/collections/{}", percent(name)));
        assert_eq!(page["collection"], uuid, "{name}");
    }
    for name in ["", " ", "a b", "a/b", "é", "a\u{0}", NOTHING, &"x".repeat(129)] {
        let body = json!({"name": name}).to_string();
        let answer = client.json("POST", "/tenants/foo/collections", body);
        assert_eq!(answer.problem(400, "invalid-name")["member"], "name", "{name:?}");
    }
    for (body, code) in [
        ("{}", "missing-member"),
        (r#"{"name":"a","tenant":"foo"}"#, "unknown-member"),
        (r#"{"name":7}"#, "invalid-json"),
        ("[]", "invalid-json"),
    ] {
        client.json("POST", "/tenants/foo/collections", body).problem(400, code);
    }
    assert_eq!(all_names(&mut client, "foo", 100).len(), 5);
    node.holds(0);
}

#[test]
fn a_name_is_taken_within_its_tenant_only() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    client.tenant("other");
    let holder = client.collection("foo", "bar");
    assert_ne!(client.collection("other", "bar"), holder);
    assert_ne!(client.collection("foo", "Bar"), holder);
    let answer = client.json("POST", "/tenants/foo/collections", r#"{"name":"bar"}"#);
    let problem = answer.problem(409, "name-taken");
    assert_eq!(problem["collection"], holder, "{problem}");
    assert_eq!(all_names(&mut client, "foo", 10), ["Bar", "bar"]);
}

#[test]
fn the_list_of_a_tenant_is_sorted_and_paged() {
    let node = Node::start();
    let mut client = node.client();
    let foo = client.tenant("foo");
    client.tenant("other");
    client.collection("other", "m");
    let mut uuids = Vec::new();
    for name in ["b", "a.b", "ab", "B", "_", "~", "10", "-", "9", "a"] {
        uuids.push((name, client.collection("foo", name)));
    }
    uuids.sort_unstable();
    let wanted: Vec<Value> = uuids
        .iter()
        .map(|(name, uuid)| json!({"collection": uuid, "name": name, "tenant": foo}))
        .collect();
    let page = client.page("/tenants/foo/collections");
    assert_eq!(page, json!({"collections": wanted, "atEnd": true}));
    for limit in [1, 3, 9, 10, 11] {
        let names = all_names(&mut client, "foo", limit);
        assert!(names.iter().eq(uuids.iter().map(|(name, _)| name)), "limit {limit}: {names:?}");
    }
    let page = client.page("/tenants/foo/collections?after=aa");
    assert_eq!(strings(&page["collections"], "name"), ["ab", "b", "~"]);
    let page = client.page("/tenants/foo/collections?after=~");
    assert_eq!(page, json!({"collections": [], "atEnd": true}));
}

#[test]
fn the_path_by_name_is_the_path_by_uuid() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    let uuid = client.collection("foo", "bar");
    let (named, direct) =
        ("/tenants/foo/collections/bar".to_owned(), format!("/collections/{uuid}"));
    assert_eq!(client.put(&format!("{named}/keys/a"), r#"{"data":1}"#).status, 201);
    assert_eq!(client.put(&format!("{direct}/keys/a"), r#"{"data":2}"#).status, 200);
    let body = r#"{"key":"b","data":3,"tags":["t"]}"#;
    assert_eq!(client.json("POST", &format!("{direct}/keys"), body).status, 201);
    assert_eq!(client.json("POST", &format!("{named}/keys"), body).status, 200);
    let key = client.get(&format!("{direct}/keys/b"));
    assert_eq!(key.header("etag"), Some("\"4\""));
    for sub in
        ["", "/keys", "/keys/a", "/keys/b", "/changes", "/changes?tag=t", "/keys?prefix=b&limit=1"]
    {
        let (one, other) =
            (client.get(&format!("{named}{sub}")), client.get(&format!("{direct}{sub}")));
        assert_eq!((one.status, other.status), (200, 200), "{sub}");
        assert_eq!(one.body, other.body, "{sub}");
        assert_eq!(one.header("etag"), other.header("etag"), "{sub}");
    }
    assert_eq!(client.delete(&format!("{named}/keys/a")).id(), 5);
    client.get(&format!("{direct}/keys/a")).problem(404, "not-found");
    assert_eq!(client.delete(&named).id(), 6);
    client.get(&direct).problem(404, "not-found");
}

#[test]
fn a_change_that_names_a_collection_belongs_to_its_tenant() {
    let node = Node::start();
    let mut client = node.client();
    let foo = client.tenant("foo");
    let uuid = client.collection("foo", "bar");
    let upper = uuid.to_uppercase();
    for (target, tenant) in [
        ("/changes", None),
        ("/changes", Some("foo")),
        ("/changes", Some(foo.as_str())),
        ("/tenants/foo/changes", None),
        ("/tenants/foo/changes", Some("foo")),
        ("/tenant/foo/changes", Some(foo.to_uppercase().as_str())),
    ] {
        let tenant = tenant.map_or(String::new(), |name| format!(",\"tenant\":\"{name}\""));
        let body = format!("{{\"data\":1,\"collection\":\"{upper}\"{tenant}}}");
        let id = client.json("POST", target, body).id();
        let change = client.page(&format!("/changes/{id}"));
        assert_eq!((&change["tenant"], &change["collection"]), (&json!(foo), &json!(uuid)));
        assert_eq!(change.get("key"), None);
    }
    assert_eq!(ids(&client.page(&format!("/collections/{uuid}/changes"))), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn names_of_two_tenants_in_one_write_are_a_mismatch() {
    let node = Node::start();
    let mut client = node.client();
    let foo = client.tenant("foo");
    let other = client.tenant("other");
    let bar = client.collection("foo", "bar");
    for (target, members) in [
        ("/tenants/foo/changes", r#""tenant":"other""#.to_owned()),
        ("/tenants/foo/changes", format!("\"tenant\":\"{other}\"")),
        ("/tenants/other/changes", format!("\"collection\":\"{bar}\"")),
        ("/tenants/other/changes", format!("\"tenant\":\"{foo}\",\"collection\":\"{bar}\"")),
        ("/tenants/other/changes", format!("\"collection\":\"{bar}\",\"key\":\"k\"")),
        ("/changes", format!("\"tenant\":\"other\",\"collection\":\"{bar}\"")),
        ("/changes", format!("\"collection\":\"{bar}\",\"tenant\":\"{other}\"")),
    ] {
        let one = format!("{{\"data\":1,{members}}}");
        client.json("POST", target, &one).problem(400, "tenant-mismatch");
        let problem = client
            .json("POST", target, format!("[{{\"data\":1}},{one}]"))
            .problem(400, "tenant-mismatch");
        assert_eq!(problem["index"], 1, "{problem}");
        let lines = format!("{{\"data\":1}}\n{one}\n");
        client.post_lines(target, &lines).problem(400, "tenant-mismatch");
    }
    node.holds(0);
    client.get(&format!("/collections/{bar}/keys/k")).problem(404, "not-found");
}

#[test]
fn a_collection_in_a_body_is_named_by_uuid_only() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    client.collection("foo", "bar");
    for collection in ["bar", "", "a b"] {
        let body = json!({"data": 1, "collection": collection}).to_string();
        let problem = client.json("POST", "/tenants/foo/changes", body);
        assert_eq!(problem.problem(400, "invalid-name")["member"], "collection");
    }
    let body = format!("{{\"data\":1,\"collection\":\"{NOTHING}\"}}");
    let problem = client.json("POST", "/tenants/foo/changes", body).problem(404, "not-found");
    assert_eq!(problem["member"], "collection");
    let body = r#"{"data":1,"tenant":"nobody"}"#;
    let problem = client.post(body).problem(404, "not-found");
    assert_eq!((&problem["member"], &problem["offset"]), (&json!("tenant"), &json!(19)));
    node.holds(0);
}

#[test]
fn a_deletion_is_a_change_and_takes_the_keys_with_it() {
    let node = Node::start();
    let mut client = node.client();
    let foo = client.tenant("foo");
    let (gone, stays) = (client.collection("foo", "gone"), client.collection("foo", "stays"));
    for collection in [&gone, &stays] {
        client.put(&format!("/collections/{collection}/keys/k"), r#"{"data":1}"#).id();
    }
    let answer = client.delete(&format!("/collections/{gone}"));
    assert_eq!((answer.status, answer.text()), (200, r#"{"_id":3}"#));
    let change = client.page("/changes/3");
    assert_eq!(
        change,
        json!({"_id": 3, "_ts": change["_ts"], "tenant": foo, "collection": gone, "deleted": true})
    );
    assert_eq!(ids(&client.list("")), [1, 2, 3], "past changes stay");
    assert_eq!(ids(&client.page("/tenants/foo/changes")), [1, 2, 3]);
    for (method, path) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/changes"),
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("GET", "/keys/k"),
        ("PUT", "/keys/k"),
        ("DELETE", "/keys/k"),
    ] {
        for start in [format!("/collections/{gone}"), "/tenants/foo/collections/gone".into()] {
            let target = format!("{start}{path}");
            client.request(method, &target, &[], b"").problem(404, "not-found");
        }
    }
    let page = client.page("/tenants/foo/collections");
    assert_eq!(strings(&page["collections"], "name"), ["stays"]);
    assert_eq!(client.page(&format!("/collections/{stays}/keys/k"))["data"], 1);
    node.holds(3);
}

#[test]
fn a_name_is_free_again_after_its_collection_was_deleted() {
    let node = Node::start();
    let mut client = node.client();
    client.tenant("foo");
    let first = client.collection("foo", "bar");
    client.put(&format!("/collections/{first}/keys/k"), r#"{"data":1}"#).id();
    client.delete("/tenants/foo/collections/bar").id();
    let second = client.collection("foo", "bar");
    assert_ne!(first, second);
    assert_eq!(client.page("/tenants/foo/collections/bar")["collection"], second);
    assert_eq!(client.page("/tenants/foo/collections/bar/keys")["keys"], json!([]));
    assert_eq!(ids(&client.page("/tenants/foo/collections/bar/changes")), [0; 0]);
    client.get(&format!("/collections/{first}")).problem(404, "not-found");
    assert_eq!(client.put(&format!("/collections/{second}/keys/k"), r#"{"data":2}"#).status, 201);
}
