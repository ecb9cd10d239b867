//! The audit log: who administered what, from where, and what came of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use testkit::{Client, NodeBuilder, PATIENCE, eventually};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::{Site, made},
};

/// A site with an audit log.
fn site() -> (Site, PathBuf) {
    let builder = with_token(NodeBuilder::new(), ROOT);
    let path = builder.directory().path().join("audit");
    let builder = builder.flags(&["--audit", path.to_str().unwrap()]);
    (Site::on(builder.start()), path)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last one may be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Waits for so many lines, and gives the last.
fn line(path: &Path, count: usize) -> Value {
    eventually("it is written", || lines(path).len() >= count);
    let mut all = lines(path);
    assert_eq!(all.len(), count, "{all:?}");
    all.pop().unwrap()
}

fn metric(client: &mut Client, name: &str) -> u64 {
    let text = asked(client, "GET", "/metrics", &bearer(ROOT), "").text().to_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn who_administers_is_told_with_what_came_of_it_and_no_secret() {
    let (site, path) = site();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = site.node.client();
    let local = client.local();
    // The tenants and the collection of the site.
    let before = line(&path, 3);
    assert_eq!(before["result"]["collection"], *site.users);
    let body = json!({"name": "ops", "role": "admin", "scope": {"tenant": "acme"}});
    let ops = made(&mut client, ROOT, &body);
    let told = line(&path, 4);
    let result =
        json!({"id": ops.id, "name": "ops", "role": "admin", "scope": {"tenant": site.acme}});
    let want = json!({
        "time": told["time"], "node": 1, "from": local, "who": "root", "method": "POST",
        "path": "/tokens", "outcome": "done", "status": 201, "result": result,
    });
    assert_eq!(told, want);
    let age = humantime::parse_rfc3339(told["time"].as_str().unwrap()).unwrap().elapsed();
    assert!(age.unwrap() < PATIENCE);

    // A token is known by its id and its name. What it asks in parameters is not told.
    let by = bearer(&ops.token);
    let with = |client: &mut Client, method: &str, target: &str, body: &str| {
        asked(client, method, target, &by, body)
    };
    with(&mut client, "PUT", "/tenants/acme/retention", "{\"changes\":10}");
    let told = line(&path, 5);
    assert_eq!((&told["who"], &told["token_id"]), (&json!("token"), &json!(ops.id)));
    assert_eq!(told["token_name"], "ops");
    assert_eq!((&told["path"], &told["status"]), (&json!("/tenants/acme/retention"), &json!(200)));
    assert_eq!(told["result"], json!({"changes": 10}));
    with(&mut client, "DELETE", &format!("/tokens/{}?ticket={}", ops.token, ops.token), "");
    let told = line(&path, 6);
    assert_eq!((&told["path"], &told["outcome"]), (&json!("/tokens/…"), &json!("refused")));

    // What is refused is told of who is known, whether or not the body is waited for.
    with(&mut client, "POST", "/tenants", "{\"name\":\"more\"}").problem(404, "not-found");
    let told = line(&path, 7);
    assert_eq!((&told["status"], &told["code"]), (&json!(404), &json!("not-found")));
    assert_eq!(told.get("result"), None);
    client.send(format!(
        "DELETE /cluster/members/1 HTTP/1.1\r\nHost: h\r\nAuthorization: {by}\r\nContent-Length: 10\r\n\
         Expect: 100-continue\r\n\r\n",
    ));
    client.answer().problem(404, "not-found");
    assert_eq!(line(&path, 8)["path"], "/cluster/members/1");
    let mut client = site.node.client();
    // Of strangers it is not: they are counted.
    for by in [bearer("x"), bearer(&format!("{}0", ops.token))] {
        asked(&mut client, "POST", "/tokens", &by, "{}").problem(401, "unauthenticated");
    }
    client.request("POST", "/tenants", &[], b"{}").problem(401, "unauthenticated");
    // Nor what tenants do all day.
    let item = "/tenants/acme/collections/users/keys/a";
    for (method, target, body) in [
        ("POST", "/tenants/acme/changes", "{\"data\":1}"),
        ("POST", "/tenants/acme/collections/users/keys", "{\"data\":1}"),
        ("PUT", item, "{\"data\":1}"),
        ("DELETE", item, ""),
        ("GET", "/tokens", ""),
        ("GET", item, ""),
    ] {
        let answer = with(&mut client, method, target, body);
        assert_ne!(answer.status, 401, "{method} {target} {answer:?}");
    }
    with(&mut client, "DELETE", "/tenants/acme", "");
    let told = line(&path, 9);
    assert_eq!((&told["method"], &told["outcome"]), (&json!("DELETE"), &json!("done")));
    assert_eq!(metric(&mut client, "changeagent_audit_events_total"), 9);
    assert_eq!(metric(&mut client, "changeagent_audit_lost_total"), 0);

    let text = fs::read_to_string(&path).unwrap();
    let (_, secret) = ops.token.rsplit_once('_').unwrap();
    assert!(!text.contains(ROOT) && !text.contains(secret), "{text}");
    let _directory = site.node.stop();
    assert_eq!(lines(&path).len(), 9);
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_and_a_restart_goes_on_with_it() {
    let (site, path) = site();
    let mut client = site.node.client();
    line(&path, 3);
    let moved = path.with_extension("1");
    fs::rename(&path, &moved).unwrap();
    let create = |client: &mut Client, name: &str| {
        let body = json!({"name": name}).to_string();
        assert_eq!(asked(client, "POST", "/tenants", &bearer(ROOT), &body).status, 201);
    };
    create(&mut client, "next");
    assert_eq!(line(&path, 1)["result"]["name"], "next");
    assert_eq!(lines(&moved).len(), 3);
    let node = site.node.stop().start();
    create(&mut node.client(), "after");
    assert_eq!(line(&path, 2)["result"]["name"], "after");
}

#[test]
fn what_cannot_be_written_is_told_once_counted_and_holds_nobody_up() {
    let node = with_token(NodeBuilder::new(), ROOT).flags(&["--audit", "/dev/full"]).start();
    let site = Site::on(node);
    let mut client = site.node.client();
    eventually("all are lost", || metric(&mut client, "changeagent_audit_lost_total") == 3);
    let told = site.node.stderr();
    assert_eq!(told.matches("the audit log cannot be written").count(), 1, "{told}");
    assert!(told.contains("No space left"), "{told}");
}

#[test]
fn it_may_be_written_to_standard_error_and_a_place_that_cannot_be_is_refused() {
    let node = NodeBuilder::new().environment("CHANGEAGENT_AUDIT", "-").start();
    let mut client = node.client();
    let body = [("Content-Type", "application/json")];
    assert_eq!(client.request("POST", "/tenants", &body, b"{\"name\":\"a\"}").status, 201);
    eventually("it is told", || {
        node.stderr().lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["who"] == "anybody" && line["result"]["name"] == "a"
        })
    });
    let failed = NodeBuilder::new().flags(&["--audit", "/nowhere/audit"]).fails();
    failed.says(&["the audit log /nowhere/audit", "No such file"]);
}

#[test]
fn a_write_that_a_follower_hands_on_is_told_of_by_the_node_that_was_asked() {
    let place = ["--cluster-listen", "127.0.0.1:0"];
    let builders = [NodeBuilder::new(), NodeBuilder::new()];
    let paths = builders.each_ref().map(|it| it.directory().path().join("audit"));
    let [first, second] = builders;
    let [own, others] = paths.each_ref().map(|path| ["--audit", path.to_str().unwrap()]);
    let first = first.flags(&place).flags(&own).start();
    let join = ["--join", &first.address().to_string()];
    let second = second.flags(&place).flags(&others).flags(&join).start();
    eventually("it belongs to the cluster", || {
        second.stderr().matches("node started").count() == 2
    });
    let mut client = second.client();
    eventually("it knows its leader", || client.get("/cluster").json()["leader"] == 1);
    let body = [("Content-Type", "application/json")];
    let made = client.request("POST", "/tenants", &body, b"{\"name\":\"a\"}");
    assert_eq!(made.status, 201);
    let told = line(&paths[1], 1);
    assert_eq!((&told["from"], &told["node"]), (&json!(client.local()), &json!(2)));
    // The first has told of the second alone, which may have asked twice.
    let of_first = lines(&paths[0]);
    assert!(of_first.iter().all(|line| line["path"] == "/cluster/members"), "{of_first:?}");
}
