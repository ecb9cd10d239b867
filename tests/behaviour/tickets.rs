//! Tickets: what opens one stream for who cannot send headers.

use std::time::{Duration, SystemTime};

use serde_json::json;
use testkit::{Answer, Client, NodeBuilder, Stream, eventually};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    sessions::{login, with},
    tokens::{Site, made},
};

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const LINES: (&str, &str) = ("Accept", "application/x-ndjson");

fn ask(client: &mut Client, token: &str, path: &str) -> Answer {
    let body = json!({"path": path}).to_string();
    asked(client, "POST", "/tickets", &bearer(token), &body)
}

fn ticket(client: &mut Client, token: &str, path: &str) -> String {
    let answer = ask(client, token, path);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

fn open(site: &Site, target: &str) -> Stream {
    Stream::open_with(site.node.client(), target, &[EVENTS])
}

fn refused(site: &Site, method: &str, target: &str, headers: &[(&str, &str)], words: &str) {
    let problem =
        site.node.client().request(method, target, headers, b"").problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains(words), "{target}: {problem}");
}

#[test]
fn a_ticket_opens_one_stream_at_its_path() {
    let site = Site::start();
    let mut client = site.node.client();
    let token = site.token("write", &json!({"tenant": "acme"})).token;
    let written = asked(
        &mut client,
        "POST",
        "/tenants/acme/changes",
        &bearer(&token),
        "{\"data\":1,\"tags\":[\"a\"]}",
    );
    assert_eq!(written.status, 201);
    let path = "/tenants/acme/changes";
    let answer = ask(&mut client, &token, path);
    let said = answer.json();
    assert_eq!((answer.status, &said["path"]), (201, &json!(path)));
    let ends = humantime::parse_rfc3339(said["expires"].as_str().unwrap()).unwrap();
    let left = ends.duration_since(SystemTime::now()).unwrap();
    assert!((50..=60).contains(&left.as_secs()), "{left:?}");
    let value = said["ticket"].as_str().unwrap();
    assert!(!value.contains(&token[20..]));
    // Wherever it stands among the parameters.
    let mut stream = open(&site, &format!("{path}?tag=a&ticket={value}&since=0"));
    assert_eq!(stream.event().unwrap().id, 1);
    refused(&site, "GET", &format!("{path}?ticket={value}"), &[EVENTS], "has been used");
    let twice = format!("{path}?ticket={}&ticket=x", ticket(&mut client, &token, path));
    let answer = site.node.client().request("GET", &twice, &[EVENTS], b"");
    assert!(answer.problem(400, "invalid-parameter")["detail"].to_string().contains("twice"));
    // The stream goes on.
    asked(&mut client, "POST", path, &bearer(&token), "{\"data\":2,\"tags\":[\"a\"]}");
    assert_eq!(stream.event().unwrap().id, 2);
    let value = ticket(&mut client, &token, path);
    let lines = format!("{path}?ticket={value}&limit=1&block=0");
    let lines = Stream::open_with(site.node.client(), &lines, &[LINES]);
    assert_eq!(lines.changes().len(), 1);
}

#[test]
fn a_ticket_opens_nothing_else() {
    let site = Site::start();
    let mut client = site.node.client();
    let path = format!("/collections/{}/changes", site.users);
    let value = ticket(&mut client, ROOT, &path);
    let own = format!("{path}?ticket={value}");
    let other = "made for";
    for (method, target, headers) in [
        ("GET", &*own, &[][..]),
        ("GET", &own, &[("Accept", "application/json")]),
        ("GET", &own, &[("Accept", "*/*")]),
        ("HEAD", &own, &[EVENTS]),
        ("POST", &own, &[EVENTS]),
        ("DELETE", &format!("/collections/{}?ticket={value}", site.users), &[EVENTS]),
        ("GET", &format!("/changes?ticket={value}"), &[EVENTS]),
        ("GET", &format!("/tenants/acme/collections/users/changes?ticket={value}"), &[EVENTS]),
        ("GET", &format!("/tenants/acme/changes?ticket={value}"), &[LINES]),
        ("GET", &format!("/metrics?ticket={value}"), &[EVENTS]),
        ("GET", &format!("/nothing?ticket={value}"), &[EVENTS]),
        ("POST", &format!("/tickets?ticket={value}"), &[EVENTS]),
        ("OPTIONS", &own, &[EVENTS]),
    ] {
        if method == "HEAD" {
            let answer = client.request(method, target, headers, b"");
            assert_eq!(answer.status, 401);
            continue;
        }
        refused(&site, method, target, headers, other);
    }
    for wrong in ["", "x", &value[1..], &value.to_lowercase(), ROOT] {
        let target = format!("{path}?ticket={wrong}");
        refused(&site, "GET", &target, &[EVENTS], "none of this cluster");
    }
    // None of that used it; and it is no token and no session.
    asked(&mut client, "GET", &path, &bearer(&value), "").problem(401, "unauthenticated");
    let cookie = format!("__Host-changeagent={value}");
    with(&mut client, &cookie, "GET", &path, &[], "").problem(401, "unauthenticated");
    let session = login(&mut client, ROOT);
    let session = session.split_once('=').unwrap().1;
    let target = format!("{path}?ticket={session}");
    refused(&site, "GET", &target, &[EVENTS], "none of this cluster");
    assert_eq!(open(&site, &own).cursor(), 0);
}

#[test]
fn a_ticket_is_made_for_a_list_that_its_token_reads() {
    let site = Site::start();
    let mut client = site.node.client();
    let read = site.token("read", &json!({"tenant": "acme"})).token;
    let append = site.token("append", &json!({"tenant": "acme"})).token;
    for path in ["/tenants/acme/changes", "/tenant/acme/changes", "/changes"] {
        assert_eq!(ask(&mut client, &read, path).status, 201, "{path}");
    }
    ask(&mut client, &append, "/tenants/acme/changes").problem(403, "forbidden");
    for path in ["/tenants/other/changes", "/tenants/nobody/changes"] {
        ask(&mut client, &read, path).problem(404, "not-found");
    }
    for path in ["", "changes", "/", "/metrics", "/changes/1", "/changes?since=1", "//changes"] {
        ask(&mut client, &read, path).problem(400, "invalid-parameter");
    }
    client.json("POST", "/tickets", "{\"path\":\"/changes\"}").problem(401, "unauthenticated");
    // What it opens is what the token may read.
    let value = ticket(&mut client, &read, "/changes");
    let answer =
        site.node.client().request("GET", &format!("/changes?ticket={value}"), &[EVENTS], b"");
    assert_eq!(answer.status, 404);
    let value = ticket(&mut client, &read, "/changes");
    assert_eq!(open(&site, &format!("/changes?tenant=acme&ticket={value}")).cursor(), 0);
    // A session makes tickets, too.
    let cookie = login(&mut client, &read);
    let made = with(&mut client, &cookie, "POST", "/tickets", &[], "{\"path\":\"/changes\"}");
    assert_eq!(made.status, 201);
}

#[test]
fn a_stream_that_a_ticket_opened_ends_with_the_token_behind_it() {
    let site = Site::start();
    let mut client = site.node.client();
    let token = site.token("read", &json!({}));
    let value = ticket(&mut client, &token.token, "/changes");
    let unused = ticket(&mut client, &token.token, "/changes");
    let mut stream = open(&site, &format!("/changes?ticket={value}"));
    assert_eq!(stream.cursor(), 0);
    let target = format!("/tokens/{}", token.id);
    assert_eq!(asked(&mut client, "DELETE", &target, &bearer(ROOT), "").status, 200);
    assert_eq!(stream.message().unwrap().name, "reset");
    let target = format!("/changes?ticket={unused}");
    refused(&site, "GET", &target, &[EVENTS], "its token is not known any more");

    let end = SystemTime::now() + Duration::from_millis(1_500);
    let expires = humantime::format_rfc3339_millis(end).to_string();
    let end = humantime::parse_rfc3339(&expires).unwrap();
    let body = json!({"name": "t", "role": "read", "scope": {}, "expires": expires});
    let token = made(&mut client, ROOT, &body);
    // By way of a session.
    let cookie = login(&mut client, &token.token);
    let made = with(&mut client, &cookie, "POST", "/tickets", &[], "{\"path\":\"/changes\"}");
    let value = made.json()["ticket"].as_str().unwrap().to_owned();
    let mut stream = open(&site, &format!("/changes?ticket={value}"));
    assert_eq!(stream.cursor(), 0);
    assert_eq!(stream.message().unwrap().name, "reset");
    assert!(SystemTime::now() >= end, "not before");
}

#[test]
fn sessions_and_tickets_are_neither_logged_nor_told() {
    let builder = with_token(NodeBuilder::new(), ROOT).environment("CHANGEAGENT_LOG", "trace");
    let site = Site::on(builder.start());
    let mut client = site.node.client();
    let session = login(&mut client, ROOT).split_once('=').unwrap().1.to_owned();
    let cookie = format!("__Host-changeagent={session}");
    let value = ticket(&mut client, ROOT, "/changes");
    let mut told = Vec::new();
    for target in ["/changes", "/nothing", "/changes?limit=x", "/tenants/x/changes", "/metrics"] {
        let mark = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{mark}ticket={value}");
        for headers in [&[][..], &[EVENTS], &[("Authorization", &*bearer(ROOT))]] {
            // What follows the head of a stream is nobody's business here.
            let answer = site.node.client().request("GET", &target, headers, b"");
            told.push(format!("{answer:?} {}", answer.text()));
        }
        let answer = with(&mut client, &cookie, "GET", &target.replace("ticket", "x"), &[], "");
        assert!(answer.status >= 400);
        told.push(format!("{:?}", answer.headers));
    }
    let wrong = format!("__Host-changeagent={}", session.to_lowercase());
    told.push(with(&mut client, &wrong, "GET", "/changes", &[], "").text().to_owned());
    let metrics = asked(&mut client, "GET", "/metrics", &bearer(ROOT), "").text().to_owned();
    for reason in ["session", "no-stream"] {
        let line = format!("changeagent_unauthenticated_total{{reason=\"{reason}\"}} 0\n");
        assert!(!metrics.contains(&line), "{metrics}");
    }
    eventually("it is told", || site.node.stderr().contains("their tokens are not known here"));
    told.extend([metrics, site.node.stderr()]);
    for text in told {
        for secret in [&session, &session.to_lowercase(), &value] {
            assert!(!text.contains(&secret[..40]), "{text}");
        }
    }
}

#[test]
fn a_cache_hands_no_ticket_on() {
    let origin = with_token(NodeBuilder::new(), ROOT).start();
    let mut spied = origin.client();
    asked(&mut spied, "POST", "/changes", &bearer(ROOT), "{\"data\":1}");
    let builder = with_token(NodeBuilder::new(), ROOT).environment("CHANGEAGENT_TOKEN", ROOT);
    let cache = builder.command("cache").flags(&["--of", &origin.url()]).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let value = ticket(&mut cache.client(), ROOT, "/changes");
    let target = format!("/changes?ticket={value}");
    let mut stream = Stream::open_with(cache.client(), &target, &[EVENTS]);
    assert_eq!(stream.event().unwrap().id, 1);
    // Used there: of what other nodes were shown a node knows nothing.
    let problem = cache.client().request("GET", &target, &[EVENTS], b"");
    problem.problem(401, "unauthenticated");
    assert_eq!(Stream::open_with(origin.client(), &target, &[EVENTS]).event().unwrap().id, 1);
}
