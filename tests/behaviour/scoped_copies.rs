//! What tokens of a tenant get of the log and of what stands for its purged part.

use serde_json::{Value, json};
use testkit::{Answer, Client, Node, NodeBuilder, PATIENCE, SHORT_SEGMENTS, eventually, file};
use uuid::Uuid;

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::Site,
};

/// What is in every change of the tenant `other`.
const SECRET: &str = "of-nobody-else";

/// A site whose oldest history is purged, so that a checkpoint stands for it which has keys of both tenants.
fn purged() -> Site {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let site = Site::on(with_token(NodeBuilder::new().flags(&flags), ROOT).start());
    let mut client = site.node.client();
    let root = bearer(ROOT);
    let named = json!({"name": SECRET}).to_string();
    let answer = asked(&mut client, "POST", "/tenants/other/collections", &root, &named);
    let theirs = answer.json()["collection"].as_str().unwrap().to_owned();
    let big = "x".repeat(20_000);
    for n in 0..3 {
        for (collection, data) in [(&site.users, "own"), (&theirs, SECRET)] {
            let target = format!("/collections/{collection}/keys/k{n}");
            let body = json!({"data": format!("{data}{big}")}).to_string();
            assert_eq!(asked(&mut client, "PUT", &target, &root, &body).status, 201);
        }
    }
    site.token("read", &json!({"tenant": "other"}));
    let said = json!({"role": "read", "scope": {"tenant": "other"}}).to_string();
    assert_eq!(asked(&mut client, "PUT", "/tokens/anonymous", &root, &said).status, 200);
    let line = json!({"data": big}).to_string();
    eventually("what is in these keys is purged", || {
        for _ in 0..20 {
            assert_eq!(asked(&mut client, "POST", "/changes", &root, &line).status, 201);
        }
        let answer = asked(&mut client, "GET", "/cluster/checkpoint", &root, "");
        answer.status == 200 && answer.text().contains(SECRET)
    });
    site
}

fn checkpoint(client: &mut Client, token: &str, parameters: &str) -> Answer {
    asked(client, "GET", &format!("/cluster/checkpoint{parameters}"), &bearer(token), "")
}

/// All of what a token gets of the checkpoint.
fn whole(client: &mut Client, token: &str, tenant: &str) -> Vec<u8> {
    let first = checkpoint(client, token, &format!("?tenant={tenant}"));
    assert_eq!(first.status, 200, "{}", first.text());
    let number = |name: &str| first.header(name).unwrap().parse::<usize>().unwrap();
    let index = number("changeagent-checkpoint");
    let mut found = first.body.to_vec();
    while found.len() < number("changeagent-checkpoint-bytes") {
        let parameters = format!("?tenant={tenant}&index={index}&from={}", found.len());
        let next = checkpoint(client, token, &parameters);
        assert!(next.status == 200 && !next.body.is_empty(), "{}", next.text());
        found.extend_from_slice(&next.body);
    }
    found
}

#[test]
fn a_token_of_a_tenant_gets_of_the_checkpoint_what_that_has_of_the_tenant() {
    let site = purged();
    let mut client = site.node.client();
    let tenant = site.token("read", &json!({"tenant": "acme"})).token;
    let collection = site.token("admin", &json!({"collection": site.users})).token;
    for (token, parameters) in [
        (&tenant, String::new()),
        (&tenant, "?from=1".to_owned()),
        (&tenant, format!("?tenant={}", site.other)),
        (&tenant, format!("?tenant={}&tenant={}", site.acme, site.other)),
        (&collection, String::new()),
        (&collection, format!("?tenant={}", site.acme)),
    ] {
        checkpoint(&mut client, token, &parameters).problem(404, "not-found");
    }
    let part = whole(&mut client, &tenant, &site.acme);
    let text = String::from_utf8_lossy(&part);
    assert!(text.contains(&site.acme) && text.contains("own"), "it has its own");
    for theirs in [SECRET, &*site.other, &site.node.address().to_string()] {
        assert!(!text.contains(theirs), "{theirs}");
    }
    let end = part[..part.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
    let (content, last) = part.split_at(end + 1);
    let last: Value = serde_json::from_slice(last).unwrap();
    assert_eq!(last["crc32c"], crc32c::crc32c(content));
    // The same for who may have it all and asks for no more.
    assert_eq!(whole(&mut client, ROOT, &site.acme), part);
    let all = checkpoint(&mut client, ROOT, "");
    assert!(all.status == 200 && all.text().contains(SECRET));
}

#[test]
fn a_cache_begins_with_the_token_of_its_tenant_at_an_origin_that_has_purged_history() {
    let site = purged();
    let token = site.token("read", &json!({"tenant": "acme"})).token;
    let builder = with_token(NodeBuilder::new(), ROOT).command("cache");
    let own = file(builder.directory().path(), "token", &token);
    let (url, own) = (site.node.url(), own.to_str().unwrap().to_owned());
    let flags = ["--of", &url, "--tenant", &site.acme, "--token-file", &own];
    let cache = builder.flags(&flags).start();
    eventually("it has caught up", || {
        let client = Client::try_connect(cache.address(), PATIENCE);
        let ready = client.and_then(|mut it| it.try_request("GET", "/ready", &[], b""));
        ready.is_some_and(|answer| answer.status == 200)
    });
    let read = |node: &Node| {
        let target = format!("/collections/{}/keys", site.users);
        asked(&mut node.client(), "GET", &target, &bearer(&token), "").text().to_owned()
    };
    assert_eq!(read(&cache), read(&site.node));
    for (path, bytes) in testkit::files(&cache.data()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET), "{}", path.display());
    }
}

#[test]
fn a_token_of_a_tenant_learns_from_the_log_neither_where_nodes_are_nor_what_others_may_do() {
    let site = Site::start();
    let mut client = site.node.client();
    let root = bearer(ROOT);
    let token = site.token("read", &json!({"tenant": "acme"})).token;
    site.token("read", &json!({"tenant": "other"}));
    for tenant in ["acme", "other"] {
        let said = json!({"role": "read", "scope": {"tenant": tenant}}).to_string();
        assert_eq!(asked(&mut client, "PUT", "/tokens/anonymous", &root, &said).status, 200);
    }
    let target = format!("/cluster/log?from=0&tenant={}", site.acme);
    let part = asked(&mut client, "GET", &target, &bearer(&token), "");
    assert_eq!(part.status, 200);
    let has = |bytes: &[u8]| part.body.windows(bytes.len()).any(|window| window == bytes);
    let raw = |id: &str| Uuid::parse_str(id).unwrap().into_bytes();
    assert!(has(&raw(&site.acme)) && has(b"configs"), "it has its own, and the members");
    assert!(!has(&raw(&site.other)) && !has(site.other.as_bytes()) && !has(b"other"));
    assert!(!has(site.node.address().to_string().as_bytes()));
}
