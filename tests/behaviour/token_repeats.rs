//! `Idempotency-Key` of requests with tokens whose scope is a part of what is there.

use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::{
    credentials::{ROOT, asked, bearer},
    tokens::Site,
};

/// The answer to a write with a token and a key.
fn keyed(
    client: &mut Client,
    (token, key): (&str, &str),
    method: &str,
    target: &str,
    body: &Value,
) -> Answer {
    let own = bearer(token);
    let headers =
        [("Authorization", &*own), ("Idempotency-Key", key), ("Content-Type", "application/json")];
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let count = headers.len() - usize::from(text.is_empty());
    client.request(method, target, &headers[..count], text.as_bytes())
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[test]
fn what_a_token_of_a_tenant_took_away_is_answered_again() {
    let site = Site::start();
    let mut client = site.node.client();
    let root = bearer(ROOT);
    let token = site.token("admin", &json!({"tenant": "acme"})).token;
    let doomed = site.token("read", &json!({"collection": site.users})).id;
    let keys = format!("/collections/{}/keys", site.users);
    let item = json!({"key": "k", "data": 1});
    // The last takes away what those before it name.
    let users = format!("/collections/{}", site.users);
    let writes = [
        ("POST", "/tenants/acme/changes".to_owned(), json!({"data": 1})),
        ("POST", keys.clone(), item.clone()),
        ("DELETE", format!("/tokens/{doomed}"), Value::Null),
        ("DELETE", format!("{keys}/k"), Value::Null),
        ("DELETE", users.clone(), Value::Null),
    ];
    let mut ask = |token: &str, n: usize| {
        let (method, target, body) = &writes[n];
        keyed(&mut client, (token, &format!("k{n}")), method, target, body)
    };
    let first: Vec<Answer> = (0..writes.len()).map(|n| ask(&token, n)).collect();
    for (n, first) in first.iter().enumerate() {
        assert!(first.status < 300 && !is_replayed(first), "{n} {first:?}");
        let again = ask(&token, n);
        assert_eq!((again.status, again.text()), (first.status, first.text()), "{n}");
        assert!(is_replayed(&again), "{n} {again:?}");
    }
    // Another key, or who does not see that tenant, finds nothing there.
    let other = site.token("admin", &json!({"tenant": "other"})).token;
    for n in 1..writes.len() {
        assert_eq!(ask(&other, n).status, 404, "{n}");
    }
    let answer = keyed(&mut client, (&token, "new"), "DELETE", &users, &Value::Null);
    answer.problem(404, "not-found");
    let listed = asked(&mut client, "GET", "/tenants/acme/changes", &root, "").json();
    assert_eq!(listed["changes"].as_array().unwrap().len(), 4, "nothing was done twice");
}

#[test]
fn what_an_admin_of_a_collection_revoked_is_answered_again() {
    let site = Site::start();
    let mut client = site.node.client();
    let scope = json!({"collection": site.users});
    let (admin, doomed) = (site.token("admin", &scope).token, site.token("read", &scope).id);
    let target = format!("/tokens/{doomed}");
    for is_again in [false, true] {
        let answer = keyed(&mut client, (&admin, "k"), "DELETE", &target, &Value::Null);
        assert_eq!((answer.status, is_replayed(&answer)), (200, is_again));
    }
}

#[test]
fn the_keys_of_an_admin_of_a_tenant_are_none_of_anybody_else() {
    let site = Site::start();
    let mut client = site.node.client();
    let admins = [("acme", site.token("admin", &json!({"tenant": "acme"})).token), {
        ("other", site.token("admin", &json!({"tenant": "other"})).token)
    }];
    let body = |scope: Value| json!({"name": "ci", "role": "read", "scope": scope});
    for (tenant, token) in &admins {
        let scope = json!({"tenant": tenant});
        let made = keyed(&mut client, (token, "deploy-1"), "POST", "/tokens", &body(scope));
        assert_eq!((made.status, is_replayed(&made)), (201, false), "{tenant}");
        let change = json!({"data": tenant});
        let target = format!("/tenants/{tenant}/changes");
        let id = asked(&mut client, "POST", &target, &bearer(token), &change.to_string()).json();
        let target = format!("/changes/{}/redact", id["_id"]);
        let answer = keyed(&mut client, (token, "redact-1"), "POST", &target, &Value::Null);
        assert_eq!((answer.status, is_replayed(&answer)), (200, false), "{tenant}");
    }
    let made = keyed(&mut client, (ROOT, "deploy-1"), "POST", "/tokens", &body(json!({})));
    assert_eq!((made.status, is_replayed(&made)), (201, false));
    let change = asked(&mut client, "POST", "/changes", &bearer(ROOT), "{\"data\":1}").json();
    let target = format!("/changes/{}/redact", change["_id"]);
    let answer = keyed(&mut client, (ROOT, "redact-1"), "POST", &target, &Value::Null);
    assert_eq!((answer.status, is_replayed(&answer)), (200, false));
}

#[test]
fn a_token_that_was_made_for_what_is_gone_is_told_to_a_repeat() {
    let site = Site::start();
    let mut client = site.node.client();
    let users = format!("/collections/{}", site.users);
    let body = json!({"name": "ci", "role": "read", "scope": {"collection": site.users}});
    let first = keyed(&mut client, (ROOT, "k"), "POST", "/tokens", &body);
    assert_eq!(first.status, 201);
    assert_eq!(asked(&mut client, "DELETE", &users, &bearer(ROOT), "").status, 200);
    let again = keyed(&mut client, (ROOT, "k"), "POST", "/tokens", &body);
    assert_eq!((again.status, is_replayed(&again)), (201, true));
    assert_eq!(again.json(), json!({"id": first.json()["id"]}));
}
