//! Waits and streams end when the token is revoked that they stand with, or expires.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use testkit::{Answer, Client, NodeBuilder, Stream, eventually};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::{Made, Site, made},
};

/// Within so long nothing may go on. Waits of these tests would last minutes.
const SOON: Duration = Duration::from_secs(60);

fn waits(client: &mut Client, target: &str, token: &str) {
    client.send_request("GET", target, &[("Authorization", &bearer(token))], b"");
}

fn parked(site: &Site) -> u64 {
    let metrics = asked(&mut site.node.client(), "GET", "/metrics", &bearer(ROOT), "");
    let line = metrics.text().lines().find(|line| line.starts_with("changeagent_parked "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

fn revoke(site: &Site, token: &Made) {
    let target = format!("/tokens/{}", token.id);
    assert_eq!(asked(&mut site.node.client(), "DELETE", &target, &bearer(ROOT), "").status, 200);
}

fn events(site: &Site, token: &str, target: &str) -> Stream {
    let headers = [("Authorization", &*bearer(token)), ("Accept", "text/event-stream")];
    Stream::open_with(site.node.client(), target, &headers)
}

/// The last entry of the log that is applied.
fn applied(site: &Site) -> u64 {
    let answer = asked(&mut site.node.client(), "GET", "/cluster/log?from=1", &bearer(ROOT), "");
    answer.header("changeagent-log-applied").unwrap().parse().unwrap()
}

/// Every kind of wait that a token may stand with.
fn all_waits(site: &Site, token: &str) -> Vec<Client> {
    let targets = [
        "/changes?since=99&block=300".to_owned(),
        "/tenants/acme/changes?block=300".to_owned(),
        format!("/changes?tenant=acme&collection={}&block=300", site.users),
        format!("/collections/{}/keys/k?block=300&if_absent=wait", site.users),
        format!("/collections/{}/keys?since=99&block=300", site.users),
        "/changes?min_id=99&block=300".to_owned(),
        format!("/cluster/log?from={}&block=300", applied(site) + 1),
    ];
    let open = |target: &String| {
        let mut client = site.node.client();
        waits(&mut client, target, token);
        client
    };
    targets.iter().map(open).collect()
}

fn refused(answer: &Answer) {
    answer.problem(401, "unauthenticated");
    assert!(answer.header("www-authenticate").is_some());
}

fn wait_until_parked(site: &Site, count: usize) {
    eventually("all wait", || parked(site) == count as u64);
}

fn end_when_revoked(cores: &str) {
    let builder = NodeBuilder::new().flags(&["--cores", cores]);
    let site = Site::on(with_token(builder, ROOT).start());
    let (token, other) = (site.token("read", &json!({})), site.token("read", &json!({})));
    let mut waiting = all_waits(&site, &token.token);
    let mut others = all_waits(&site, &other.token);
    let mut stream = events(&site, &token.token, "/changes");
    let mut its = events(&site, &other.token, "/changes");
    assert_eq!((stream.cursor(), its.cursor()), (0, 0));
    let headers = [("Authorization", &*bearer(&token.token)), ("Accept", "application/x-ndjson")];
    let mut lines = Stream::open_with(site.node.client(), "/changes?block=300", &headers);
    wait_until_parked(&site, waiting.len() + others.len() + 3);
    let begun = Instant::now();
    revoke(&site, &token);
    for client in &mut waiting {
        refused(&client.answer());
    }
    let reset = stream.message().unwrap();
    assert_eq!(reset.name, "reset");
    assert!(reset.data.contains("\"unauthenticated\""), "{reset:?}");
    assert_eq!(stream.message(), None, "it ends");
    assert!(lines.try_line().is_err(), "lines break off");
    assert!(begun.elapsed() < SOON);
    // Those of another token go on, but for the one that waited for any entry of the log.
    wait_until_parked(&site, others.len());
    let written = asked(
        &mut site.node.client(),
        "POST",
        "/tenants/acme/changes",
        &bearer(ROOT),
        "{\"data\":1}",
    );
    assert_eq!(written.status, 201);
    assert_eq!(its.event().unwrap().id, 1);
    assert_eq!(others[1].answer().status, 200);
}

#[test]
fn what_waits_with_a_token_ends_when_that_is_revoked() {
    end_when_revoked("1");
}

#[test]
fn what_waits_with_a_token_ends_when_that_is_revoked_on_every_core() {
    end_when_revoked("3");
}

#[test]
fn what_waits_with_a_token_ends_when_that_expires() {
    let site = Site::start();
    let end = SystemTime::now() + Duration::from_secs(3);
    let expires = humantime::format_rfc3339_millis(end).to_string();
    let end = humantime::parse_rfc3339(&expires).unwrap();
    let body = json!({"name": "t", "role": "read", "scope": {}, "expires": expires});
    let token = made(&mut site.node.client(), ROOT, &body);
    let mut waiting = all_waits(&site, &token.token);
    let mut stream = events(&site, &token.token, "/changes");
    assert_eq!(stream.cursor(), 0);
    for client in &mut waiting {
        refused(&client.answer());
    }
    assert_eq!(stream.message().unwrap().name, "reset");
    assert!(SystemTime::now() >= end, "not before");
    assert!(SystemTime::now() < end + SOON);
}

#[test]
fn what_waits_without_a_token_ends_when_that_may_do_less() {
    let site = Site::start();
    let root = bearer(ROOT);
    let say = |what: &str| {
        let answer = asked(&mut site.node.client(), "PUT", "/tokens/anonymous", &root, what);
        assert_eq!(answer.status, 200);
    };
    say("{\"role\":\"read\",\"scope\":{}}");
    let mut client = site.node.client();
    client.send_request("GET", "/changes?block=300", &[], b"");
    wait_until_parked(&site, 1);
    say("null");
    refused(&client.answer());
}

#[test]
fn a_stream_that_never_waits_ends_too() {
    let site = Site::start();
    let token = site.token("read", &json!({}));
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(900));
    let headers = [("Authorization", &*bearer(ROOT)), ("Content-Type", "application/x-ndjson")];
    for _ in 0..100 {
        let answer =
            site.node.client().request("POST", "/changes", &headers, line.repeat(100).as_bytes());
        assert_eq!(answer.status, 201);
    }
    let mut stream = events(&site, &token.token, "/changes");
    // It is read no further than this before the token is revoked: some mebibytes are still to come.
    assert_eq!(stream.cursor(), 0);
    revoke(&site, &token);
    let mut last = None;
    while let Some(message) = stream.message() {
        last = Some(message);
    }
    let last = last.unwrap();
    assert_eq!(last.name, "reset", "{last:?}");
}
