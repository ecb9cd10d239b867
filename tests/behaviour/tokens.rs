//! Tokens: made, listed, revoked, and what each may do.

use serde_json::{Value, json};
use testkit::{
    Answer, Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually, file, program, temporary,
};

use crate::credentials::{ROOT, asked, bearer, with_token};

/// A node with tenant `acme`, its collection `users`, and tenant `other`.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) acme: String,
    pub(crate) other: String,
    pub(crate) users: String,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::on(with_token(NodeBuilder::new(), ROOT).start())
    }

    pub(crate) fn on(node: Node) -> Self {
        let mut client = node.client();
        let mut made = |target: &str, name: &str, member: &str| {
            let body = json!({"name": name}).to_string();
            let answer = asked(&mut client, "POST", target, &bearer(ROOT), &body);
            assert_eq!(answer.status, 201, "{answer:?}");
            answer.json()[member].as_str().unwrap().to_owned()
        };
        let acme = made("/tenants", "acme", "tenant");
        let other = made("/tenants", "other", "tenant");
        let users = made("/tenants/acme/collections", "users", "collection");
        Self { node, acme, other, users }
    }

    /// A token, made with the root token.
    pub(crate) fn token(&self, role: &str, scope: &Value) -> Made {
        made(&mut self.node.client(), ROOT, &json!({"name": "t", "role": role, "scope": scope}))
    }
}

/// A token that was made.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) fn made(client: &mut Client, by: &str, body: &Value) -> Made {
    let answer = asked(client, "POST", "/tokens", &bearer(by), &body.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |member: &str| answer.json()[member].as_str().unwrap().to_owned();
    Made { id: text("id"), token: text("token") }
}

fn with(client: &mut Client, token: &str, method: &str, target: &str, body: &str) -> Answer {
    asked(client, method, target, &bearer(token), body)
}

#[test]
fn a_token_is_made_shown_once_listed_and_revoked() {
    let site = Site::start();
    let mut client = site.node.client();
    let body = json!({"name": "sensor", "role": "write", "scope": {"tenant": "acme"}, "expires": "2100-01-31T01:00:00+01:00"});
    let answer = with(&mut client, ROOT, "POST", "/tokens", &body.to_string());
    assert_eq!(answer.status, 201);
    let shown = answer.json();
    let (id, token) = (shown["id"].as_str().unwrap(), shown["token"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(format!("/tokens/{id}").as_str()));
    assert!(token.starts_with(&format!("ca_{id}_")) && token.len() == 3 + 16 + 1 + 64, "{token}");
    assert_eq!(shown["scope"], json!({"tenant": site.acme}));
    assert_eq!(shown["expires"], "2100-01-31T00:00:00.000000Z");
    let target = format!("/tokens/{id}");
    let listed = with(&mut client, ROOT, "GET", &target, "");
    assert!(!listed.text().contains(token), "{}", listed.text());
    let mut listed = listed.json();
    assert!(listed.as_object_mut().unwrap().remove("created").is_some());
    let mut want = shown.clone();
    want.as_object_mut().unwrap().remove("token");
    assert_eq!(listed, want);
    let all = with(&mut client, ROOT, "GET", "/tokens", "").json();
    assert_eq!((all["tokens"].as_array().unwrap().len(), &all["atEnd"]), (1, &true.into()));
    // It works, twice on one connection, and on another.
    for client in [&mut client, &mut site.node.client()] {
        for _ in 0..2 {
            assert_eq!(with(client, token, "GET", "/tenants/acme/changes", "").status, 200);
        }
    }
    for wrong in [&token[..token.len() - 1], &token.replace("ca_", "cb_"), &format!("{token}0")] {
        with(&mut client, wrong, "GET", "/tenants/acme/changes", "")
            .problem(401, "unauthenticated");
    }
    let answer = with(&mut client, ROOT, "DELETE", &target, "");
    assert_eq!((answer.status, &answer.json()["revoked"]), (200, &true.into()));
    for client in [&mut client, &mut site.node.client()] {
        with(client, token, "GET", "/tenants/acme/changes", "").problem(401, "unauthenticated");
    }
    with(&mut client, ROOT, "DELETE", &target, "").problem(404, "not-found");
    with(&mut client, ROOT, "GET", &target, "").problem(404, "not-found");
}

#[test]
fn a_token_expires() {
    let site = Site::start();
    let mut client = site.node.client();
    let past = json!({"name": "t", "role": "read", "scope": {}, "expires": "2020-01-31T00:00:00Z"});
    with(&mut client, ROOT, "POST", "/tokens", &past.to_string()).problem(400, "invalid-parameter");
    // It would lie in the year 10000 by UTC.
    let late =
        json!({"name": "t", "role": "read", "scope": {}, "expires": "9999-12-31T23:59:59-23:59"});
    with(&mut client, ROOT, "POST", "/tokens", &late.to_string()).problem(400, "invalid-parameter");
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(1_500);
    let soon = humantime::format_rfc3339_millis(soon).to_string();
    let body = json!({"name": "t", "role": "read", "scope": {}, "expires": soon});
    let token = made(&mut client, ROOT, &body).token;
    assert_eq!(with(&mut client, &token, "GET", "/changes", "").status, 200);
    eventually("it expires", || with(&mut client, &token, "GET", "/changes", "").status == 401);
    let problem = with(&mut client, &token, "GET", "/changes", "").problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
}

#[test]
fn no_token_makes_one_that_may_more_than_itself() {
    let site = Site::start();
    let mut client = site.node.client();
    let admin = site.token("admin", &json!({"tenant": "acme"}));
    let body =
        |role: &str, scope: Value| json!({"name": "t", "role": role, "scope": scope}).to_string();
    let mut make = |by: &str, role: &str, scope: Value| {
        with(&mut client, by, "POST", "/tokens", &body(role, scope))
    };
    make(&admin.token, "read", json!({})).problem(403, "forbidden");
    make(&admin.token, "read", json!({"tenant": "other"})).problem(404, "not-found");
    make(&admin.token, "read", json!({"tenant": "nobody"})).problem(404, "not-found");
    for role in ["write", "read", "append"] {
        let less = site.token(role, &json!({})).token;
        make(&less, "read", json!({"tenant": "acme"})).problem(403, "forbidden");
    }
    let inner = make(&admin.token, "admin", json!({"collection": site.users})).json();
    assert_eq!(inner["creator"], admin.id.as_str());
    let inner = inner["token"].as_str().unwrap().to_owned();
    make(&inner, "read", json!({"tenant": "acme"})).problem(404, "not-found");
    // Who has none may give what is said.
    let said = json!({"role": "admin", "scope": {"tenant": "acme"}}).to_string();
    assert_eq!(with(&mut client, ROOT, "PUT", "/tokens/anonymous", &said).status, 200);
    let made = client.json("POST", "/tokens", body("read", json!({"tenant": "acme"})));
    assert_eq!((made.status, &made.json()["creator"]), (201, &"anonymous".into()));
    client.json("POST", "/tokens", body("read", json!({}))).problem(403, "forbidden");
    let id = format!("/tokens/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(client.get(&id).json()["creator"], "anonymous");
    assert_eq!(client.delete(&id).status, 200);
    assert_eq!(with(&mut client, ROOT, "PUT", "/tokens/anonymous", "null").status, 200);
    // It sees, and takes away, what lies in its scope alone.
    let all = with(&mut client, &inner, "GET", "/tokens", "").json();
    assert_eq!(all["tokens"].as_array().unwrap().len(), 1);
    let all = with(&mut client, &admin.token, "GET", "/tokens", "").json();
    assert_eq!(all["tokens"].as_array().unwrap().len(), 2);
    let outer = format!("/tokens/{}", admin.id);
    with(&mut client, &inner, "GET", &outer, "").problem(404, "not-found");
    with(&mut client, &inner, "DELETE", &outer, "").problem(404, "not-found");
    with(&mut client, &admin.token, "PUT", "/tokens/anonymous", "null").problem(404, "not-found");
}

#[test]
fn an_append_token_adds_changes_and_replaces_and_reads_nothing() {
    let site = Site::start();
    let mut client = site.node.client();
    let token = site.token("append", &json!({"tenant": "acme"})).token;
    let mut post =
        |target: &str, body: Value| with(&mut client, &token, "POST", target, &body.to_string());
    assert_eq!(post("/tenants/acme/changes", json!({"data": 1})).status, 201);
    assert_eq!(post("/changes", json!({"data": 2, "tenant": "acme"})).status, 201);
    assert_eq!(post("/changes", json!([{"data": 3, "collection": site.users}])).status, 201);
    // What concerns nobody, or others.
    post("/changes", json!({"data": 4})).problem(404, "not-found");
    post("/changes", json!([{"data": 4, "tenant": "acme"}, {"data": 5}])).problem(404, "not-found");
    post("/changes", json!({"data": 4, "tenant": "other"})).problem(404, "not-found");
    let keyed = json!({"data": 4, "collection": site.users, "key": "k"});
    post("/changes", keyed).problem(403, "forbidden");
    let keys = format!("/collections/{}/keys", site.users);
    post(&keys, json!({"key": "k", "data": 1})).problem(403, "forbidden");
    let key = format!("{keys}/k");
    let create = [("Authorization", bearer(&token)), ("If-None-Match", "*".to_owned())];
    let create: Vec<_> = create.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let create = [&create[..], &[("Content-Type", "application/json")]].concat();
    assert_eq!(client.request("PUT", &key, &create, b"{\"data\":1}").status, 201);
    client.request("PUT", &key, &create, b"{\"data\":2}").problem(412, "precondition-failed");
    for (method, target) in [
        ("PUT", &*key),
        ("DELETE", &*key),
        ("DELETE", "/tenants/acme"),
        ("GET", &*key),
        ("GET", "/tenants/acme/changes"),
    ] {
        let body = if method == "PUT" { "{\"data\":1}" } else { "" };
        with(&mut client, &token, method, target, body).problem(403, "forbidden");
    }
}

#[test]
fn what_is_not_in_the_scope_of_a_token_is_not_there() {
    let site = Site::start();
    let mut client = site.node.client();
    for (n, body) in [
        json!({"data": 1}),
        json!({"data": 2, "tenant": "acme"}),
        json!({"data": 3, "tenant": "other"}),
        json!({"data": 4, "collection": site.users, "key": "k"}),
    ]
    .iter()
    .enumerate()
    {
        let answer = with(&mut client, ROOT, "POST", "/changes", &body.to_string());
        assert_eq!(answer.json()["_id"], n + 1);
    }
    let tenant = site.token("admin", &json!({"tenant": site.acme})).token;
    let collection = site.token("admin", &json!({"collection": site.users})).token;
    let of_users = format!("/collections/{}/changes", site.users);
    let several = format!("/changes?tenant=acme&collection={}", site.users);
    for (target, by_tenant, by_collection) in [
        ("/changes/1", 404, 404),
        ("/changes/2", 200, 404),
        ("/changes/3", 404, 404),
        ("/changes/4", 200, 200),
        ("/changes", 404, 404),
        ("/changes?tenant=acme", 200, 404),
        ("/changes?tenant=acme&tenant=other", 404, 404),
        (&*several, 200, 404),
        (&*format!("/changes?collection={}", site.users), 200, 200),
        ("/tenants", 404, 404),
        ("/tenants/acme", 200, 404),
        ("/tenants/other", 404, 404),
        ("/tenants/nobody", 404, 404),
        ("/tenants/acme/collections", 200, 404),
        ("/tenants/acme/collections/users", 200, 200),
        ("/tenants/acme/collections/nothing", 404, 404),
        (&*of_users, 200, 200),
        ("/metrics", 404, 404),
        ("/cluster", 404, 404),
        ("/cluster/log?from=1", 404, 404),
        (&*format!("/cluster/log?from=1&tenant={}", site.acme), 200, 404),
        (&*format!("/cluster/log?from=1&tenant={}", site.other), 404, 404),
        ("/", 200, 200),
        ("/openapi.json", 200, 200),
    ] {
        for (token, want) in [(&tenant, by_tenant), (&collection, by_collection)] {
            let answer = with(&mut client, token, "GET", target, "");
            assert_eq!(answer.status, want, "{target}: {}", answer.text());
        }
    }
    // Nothing tells what is there from what is not.
    let mut told = |target: &str| with(&mut client, &tenant, "GET", target, "").text().to_owned();
    assert_eq!(told("/tenants/other").replace("other", "nobody"), told("/tenants/nobody"));
    assert_eq!(
        told("/tenants/other/changes").replace("other", "nobody"),
        told("/tenants/nobody/changes")
    );
    for (method, target, body, want) in [
        ("POST", "/tenants", "{\"name\":\"new\"}", 404),
        ("POST", "/changes/3/redact", "", 404),
        ("POST", "/changes/2/redact", "", 200),
        ("PUT", "/tenants/other/retention", "{\"changes\":1}", 404),
        ("PUT", "/tenants/acme/retention", "{\"changes\":9}", 200),
        ("POST", "/cluster/leader", "{\"id\":1}", 404),
        ("DELETE", "/tenants/other", "", 404),
        ("POST", "/tenants/acme/collections", "{\"name\":\"new\"}", 201),
    ] {
        let answer = with(&mut client, &tenant, method, target, body);
        assert_eq!(answer.status, want, "{method} {target}: {}", answer.text());
    }
}

#[test]
fn requests_without_a_token_may_do_what_is_said() {
    let site = Site::start();
    let mut client = site.node.client();
    let root = bearer(ROOT);
    assert_eq!(asked(&mut client, "GET", "/tokens/anonymous", &root, "").text(), "null");
    let said = json!({"role": "read", "scope": {"tenant": "acme"}}).to_string();
    let answer = asked(&mut client, "PUT", "/tokens/anonymous", &root, &said);
    let want = json!({"role": "read", "scope": {"tenant": site.acme}});
    assert_eq!((answer.status, answer.json()), (200, want.clone()));
    assert_eq!(asked(&mut client, "GET", "/tokens/anonymous", &root, "").json(), want);
    for _ in 0..2 {
        assert_eq!(client.get("/tenants/acme/changes").status, 200);
        client.get("/tenants/other/changes").problem(404, "not-found");
        client.get("/changes").problem(404, "not-found");
        client.get("/metrics").problem(401, "unauthenticated");
        client.post("{\"data\":1}").problem(401, "unauthenticated");
        // A token that is wrong is no request without one.
        asked(&mut client, "GET", "/tenants/acme/changes", &bearer("x"), "")
            .problem(401, "unauthenticated");
        asked(&mut client, "GET", "/tenants/acme/changes", "", "").problem(401, "unauthenticated");
    }
    assert_eq!(asked(&mut client, "PUT", "/tokens/anonymous", &root, "null").status, 200);
    client.get("/tenants/acme/changes").problem(401, "unauthenticated");
}

#[test]
fn the_answer_to_a_repeat_does_not_show_the_secret_again() {
    let site = Site::start();
    let root = bearer(ROOT);
    let headers =
        [("Authorization", &*root), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let body = b"{\"name\":\"t\",\"role\":\"read\",\"scope\":{}}";
    let mut client = site.node.client();
    let first = client.request("POST", "/tokens", &headers, body);
    let again = client.request("POST", "/tokens", &headers, body);
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(again.json(), json!({"id": first.json()["id"]}));
    let all = asked(&mut client, "GET", "/tokens", &root, "").json();
    assert_eq!(all["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn a_node_that_asks_for_no_token_makes_none() {
    let node = Node::start();
    let mut client = node.client();
    let body = "{\"name\":\"t\",\"role\":\"read\",\"scope\":{}}";
    let problem = client.json("POST", "/tokens", body).problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("--root-token-file"), "{problem}");
    client.json("PUT", "/tokens/anonymous", "null").problem(403, "forbidden");
}

#[test]
fn tokens_survive_restarts_retention_and_backups() {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "10"]].concat();
    let site = Site::on(with_token(NodeBuilder::new().flags(&flags), ROOT).start());
    let kept = site.token("write", &json!({"tenant": "acme"}));
    let revoked = site.token("write", &json!({}));
    let root = bearer(ROOT);
    let mut client = site.node.client();
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(500));
    let fill = |client: &mut Client| {
        let headers = [("Authorization", &*root), ("Content-Type", "application/x-ndjson")];
        for _ in 0..60 {
            assert_eq!(
                client.request("POST", "/changes", &headers, line.repeat(100).as_bytes()).status,
                201
            );
        }
    };
    fill(&mut client);
    with(&mut client, ROOT, "DELETE", &format!("/tokens/{}", revoked.id), "");
    fill(&mut client);
    eventually("history is purged", || {
        with(&mut client, ROOT, "GET", "/changes/1", "").status == 410
    });
    let good = |node: &Node| {
        let mut client = node.client();
        assert_eq!(with(&mut client, &kept.token, "GET", "/tenants/acme", "").status, 200);
        assert_eq!(with(&mut client, &revoked.token, "GET", "/tenants/acme", "").status, 401);
    };
    good(&site.node);
    let directory = temporary();
    let backup = directory.path().join("backup");
    let token = file(directory.path(), "token", ROOT);
    let arguments =
        ["backup", "--out", backup.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
    assert!(program(&site.node.url(), &arguments).output().unwrap().status.success());
    let node = site.node.kill().start();
    good(&node);
    drop(node);
    let data = directory.path().join("data");
    let arguments =
        ["restore", "--from", backup.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let restored = program("http://127.0.0.1:1", &arguments).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let builder = NodeBuilder::bare(&directory, &data)
        .flags(&flags)
        .flags(&["--root-token-file", token.to_str().unwrap()]);
    good(&builder.start());
    // Nothing of it is in any file but its hash.
    for (path, bytes) in testkit::files(directory.path()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&kept.token), "{}", path.display());
    }
}

#[test]
fn the_command_makes_lists_and_revokes_tokens() {
    let site = Site::start();
    let run = |arguments: &[&str]| {
        let output =
            program(&site.node.url(), arguments).env("CHANGEAGENT_TOKEN", ROOT).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, token, said) = run(&[
        "token", "create", "--name", "ci", "--role", "write", "--tenant", "acme", "--for", "30d",
    ]);
    assert_eq!(code, Some(0), "{said}");
    let token = token.trim_end();
    let mut client = site.node.client();
    assert_eq!(with(&mut client, token, "GET", "/tenants/acme", "").status, 200);
    let (code, made, said) = run(&[
        "token",
        "create",
        "--name",
        "one",
        "--role",
        "read",
        "--tenant",
        "acme",
        "--collection",
        "users",
        "--json",
    ]);
    assert_eq!(code, Some(0), "{said}");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["scope"], json!({"collection": site.users}));
    let (_, listed, _) = run(&["token", "list"]);
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(
        line("ci").contains("write") && line("ci").contains(&format!("tenant {}", site.acme)),
        "{listed}"
    );
    assert!(line("one").contains(&format!("collection {}", site.users)), "{listed}");
    let (_, json, _) = run(&["token", "list", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tokens"].as_array().unwrap().len(), 2);
    let id = &token[3..19];
    let (code, _, said) =
        run(&["token", "create", "--name", "late", "--role", "read", "--for", "9000years"]);
    assert!(code == Some(2) && said.contains("--for is longer than there are dates"), "{said}");
    // Of a whole token the id is taken, and what is none is not sent, let alone shown.
    for wrong in [&token[20..], &token[3..], &token[..18], "ci", ""] {
        let (code, out, said) = run(&["token", "revoke", wrong]);
        let rule = "changeagent: ID is what stands between the first two _ of the token\n";
        assert_eq!((code, &*out, &*said), (Some(2), "", rule), "{wrong}");
    }
    assert_eq!(run(&["token", "revoke", token]).1, format!("revoked {id}\n"));
    with(&mut client, token, "GET", "/tenants/acme", "").problem(401, "unauthenticated");
    let (code, _, said) = run(&["token", "revoke", id]);
    assert!(code == Some(1) && said.contains("404 not-found"), "{said}");
}
