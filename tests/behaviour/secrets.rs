//! Secrets are nowhere but where they were sent: not in what is logged, answered, counted or written down, nor in the
//! arguments of a process.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};
use testkit::{Client, Node, NodeBuilder, eventually, file};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::{Site, made},
};

/// A node that logs all that it can.
fn talkative(builder: NodeBuilder) -> NodeBuilder {
    with_token(builder, ROOT).environment("CHANGEAGENT_LOG", "trace")
}

/// What a process shows to everybody on its machine.
fn arguments(node: &Node) -> String {
    let command = fs::read(format!("/proc/{}/cmdline", node.process())).unwrap();
    String::from_utf8_lossy(&command).into_owned()
}

/// Asserts that none of the secrets is in a text, in any form that a header has it in.
fn lacks(text: &str, secrets: &[&str], what: &str) {
    for secret in secrets {
        let forms = [
            (*secret).to_owned(),
            STANDARD.encode(format!(":{secret}")),
            STANDARD.encode(format!("name:{secret}")),
        ];
        for form in forms {
            let at = text.find(&form);
            let near = at.map(|at| text[..at].rsplit('\n').next().unwrap_or_default().to_owned());
            assert!(at.is_none(), "{what} tells {form}, after {near:?}");
        }
    }
}

/// All that is answered to requests that bear `token` wherever one could be put by mistake.
fn answers(client: &mut Client, token: &str) -> String {
    let basic = |name: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{token}")));
    let values = [bearer(token), basic(""), basic("name"), format!("Token {token}"), token.into()];
    let headers = ["Authorization", "Proxy-Authorization", "X-Api-Key", "Cookie", "Referer"];
    let targets = [
        ("GET", "/changes?limit=x".to_owned()),
        ("GET", "/nothing".to_owned()),
        ("GET", "/tenants/acme/".to_owned()),
        ("GET", "/".to_owned()),
        ("POST", "/changes".to_owned()),
        ("GET", format!("/tokens/{token}")),
        ("DELETE", format!("/tokens/{token}?x={token}")),
        ("GET", format!("/changes?token={token}")),
        ("GET", format!("/changes?ticket={token}")),
    ];
    let mut told = String::new();
    for header in headers {
        for value in &values {
            for (method, target) in &targets {
                let headers = [(header, &**value), ("Content-Type", "application/json")];
                let body: &[u8] = if *method == "POST" { b"{\"data\":" } else { b"" };
                let answer = client.request(method, target, &headers, body);
                told += &format!("{:?} {}\n", answer.headers, answer.text());
            }
        }
    }
    told
}

#[test]
fn nothing_that_a_node_tells_has_a_secret_in_it() {
    let builder = talkative(NodeBuilder::new());
    let audit = builder.directory().path().join("audit");
    let site = Site::on(builder.flags(&["--audit", audit.to_str().unwrap()]).start());
    let good = site.token("admin", &json!({})).token;
    let revoked = site.token("read", &json!({"tenant": "acme"}));
    let mut client = site.node.client();
    asked(&mut client, "DELETE", &format!("/tokens/{}", revoked.id), &bearer(&good), "");
    let wrong = "wrong-0123456789-0123456789-0123456789";
    let guess = format!("{}{}", &good[..good.len() - 4], "0000");
    let secrets = [ROOT, &good, &revoked.token, wrong, &guess];
    let mut told = String::new();
    for secret in secrets {
        told += &answers(&mut client, secret);
    }
    // One that is made is shown once, in its answer, and in no header of it.
    let body = json!({"name": "t", "role": "read", "scope": {}}).to_string();
    let shown = asked(&mut client, "POST", "/tokens", &bearer(&good), &body);
    let other = shown.json()["token"].as_str().unwrap().to_owned();
    told += &format!("{:?}", shown.headers);
    for target in ["/metrics", "/tokens", "/cluster", "/openapi.json"] {
        told += asked(&mut client, "GET", target, &bearer(&good), "").text();
    }
    let secrets = [&secrets[..], &[&*other]].concat();
    lacks(&told, &secrets, "an answer");
    lacks(&arguments(&site.node), &secrets, "the list of processes");
    assert!(told.contains("limit=\"wrong-tokens\""), "wrong ones are counted");
    eventually("wrong ones are told of", || site.node.stderr().contains("too many wrong tokens"));
    let log = site.node.stderr();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    lacks(&log, &secrets, "the log");
    let _directory = site.node.stop();
    let lines = fs::read_to_string(audit).unwrap();
    assert!(lines.lines().count() > 10, "{lines}");
    lacks(&lines, &secrets, "the audit log");
}

#[test]
fn nothing_that_nodes_and_caches_log_has_what_they_show_to_one_another() {
    let place = ["--cluster-listen", "127.0.0.1:0"];
    let first = talkative(NodeBuilder::new()).flags(&place).start();
    let join = ["--join", &first.address().to_string()];
    let second = talkative(NodeBuilder::new()).flags(&place).flags(&join).start();
    eventually("it belongs to the cluster", || {
        second.stderr().matches("node started").count() == 2
    });
    let builder = NodeBuilder::new().environment("CHANGEAGENT_LOG", "trace").command("cache");
    let token = file(builder.directory().path(), "token", ROOT);
    let cache = builder.flags(&["--of", &first.url(), "--token-file", token.to_str().unwrap()]);
    let cache = cache.start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let body = json!({"name": "t", "role": "write", "scope": {}});
    let token = made(&mut first.client(), ROOT, &body).token;
    let written = asked(&mut cache.client(), "POST", "/changes", &bearer(&token), "{\"data\":1}");
    assert_eq!(written.status, 201, "{written:?}");
    let between = Sha256::new_with_prefix(b"changeagent node\0").chain_update(ROOT).finalize();
    let between: String = between.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, node) in [("first", &first), ("second", &second), ("cache", &cache)] {
        let log = node.stderr();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "{name}: {log}");
        lacks(&log, &[ROOT, &token, &between], name);
        lacks(&arguments(node), &[ROOT, &token, &between], name);
    }
}
