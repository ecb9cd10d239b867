//! What tokens of a tenant get of the log and of what stands for its purged part.

use serde_json::json;
use testkit::{Answer, Client, NodeBuilder, SHORT_SEGMENTS, eventually};

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

#[test]
fn the_checkpoint_is_for_who_may_read_everything() {
    let site = purged();
    let mut client = site.node.client();
    for scope in [json!({"tenant": "acme"}), json!({"collection": site.users})] {
        for role in ["read", "admin"] {
            let token = site.token(role, &scope).token;
            for parameters in [
                String::new(),
                format!("?tenant={}", site.acme),
                format!("?tenant={}&from=1", site.acme),
                format!("?tenant={}", site.other),
                format!("?tenant={}&tenant={}", site.acme, site.other),
            ] {
                let answer = checkpoint(&mut client, &token, &parameters);
                assert_eq!(answer.status, 404, "{role} {parameters}");
            }
        }
    }
    let all = site.token("read", &json!({})).token;
    assert_eq!(checkpoint(&mut client, &all, "").status, 200);
}
