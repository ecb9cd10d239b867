//! Every route of the published document, asked with no token, a wrong one, and one of each role and scope.

use std::collections::BTreeSet;

use serde_json::json;
use testkit::Client;

use crate::{
    credentials::{ROOT, asked, bearer},
    guesses::client_from,
    tokens::Site,
};

/// What a request must be allowed to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Nothing: it needs no token.
    No,
    /// Any token will do.
    Any,
    Read,
    Insert,
    Write,
    Admin,
}

/// What must lie within the scope of the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    All,
    Tenant,
    Collection,
    /// Whatever its body or parameters name.
    Own,
}

use Place::{All, Collection, Own, Tenant};
use Right::{Admin, Any, Insert, No, Read, Write};

/// What a method of a route needs.
type Needs = (&'static str, Right, Place);

/// The table: what each method of each route needs.
const TABLE: &[(&str, &[Needs])] = &[
    ("/", &[("get", Any, Own)]),
    ("/health", &[("get", No, Own)]),
    ("/ready", &[("get", No, Own)]),
    ("/openapi.json", &[("get", Any, Own)]),
    ("/docs", &[("get", Any, Own)]),
    ("/metrics", &[("get", Read, All)]),
    ("/cluster", &[("get", Read, All)]),
    ("/cluster/leader", &[("post", Admin, All)]),
    ("/cluster/log", &[("get", Read, All)]),
    ("/cluster/checkpoint", &[("get", Read, All)]),
    ("/cluster/members", &[("get", Read, All), ("post", Admin, All)]),
    ("/cluster/members/{id}", &[("get", Read, All), ("patch", Admin, All), ("delete", Admin, All)]),
    ("/changes", &[("get", Read, All), ("post", Insert, Own)]),
    ("/changes/{id}", &[("get", Read, Tenant)]),
    ("/changes/{id}/redact", &[("post", Admin, Own)]),
    ("/tenants", &[("get", Read, All), ("post", Write, All)]),
    ("/tenants/{tenant}", &[("get", Read, Tenant), ("delete", Write, Tenant)]),
    ("/tenants/{tenant}/changes", &[("get", Read, Tenant), ("post", Insert, Tenant)]),
    ("/tenants/{tenant}/retention", &[("get", Read, Tenant), ("put", Admin, Tenant)]),
    ("/tenants/{tenant}/quota", &[("get", Read, Tenant), ("put", Admin, All)]),
    ("/tenants/{tenant}/state", &[("get", Read, Tenant)]),
    ("/tenants/{tenant}/collections", &[("get", Read, Tenant), ("post", Write, Tenant)]),
    (
        "/tenants/{tenant}/collections/{name}",
        &[("get", Read, Collection), ("delete", Write, Collection)],
    ),
    ("/tenants/{tenant}/collections/{name}/changes", &[("get", Read, Collection)]),
    ("/tenants/{tenant}/collections/{name}/state", &[("get", Read, Collection)]),
    (
        "/tenants/{tenant}/collections/{name}/keys",
        &[("get", Read, Collection), ("post", Write, Collection)],
    ),
    (
        "/tenants/{tenant}/collections/{name}/keys/{key}",
        &[("get", Read, Collection), ("put", Write, Collection), ("delete", Write, Collection)],
    ),
    ("/collections/{collection}", &[("get", Read, Collection), ("delete", Write, Collection)]),
    ("/collections/{collection}/changes", &[("get", Read, Collection)]),
    ("/collections/{collection}/state", &[("get", Read, Collection)]),
    ("/collections/{collection}/keys", &[("get", Read, Collection), ("post", Write, Collection)]),
    (
        "/collections/{collection}/keys/{key}",
        &[("get", Read, Collection), ("put", Write, Collection), ("delete", Write, Collection)],
    ),
    ("/tokens", &[("get", Admin, Own), ("post", Admin, Own)]),
    ("/tokens/{id}", &[("get", Admin, Tenant), ("delete", Admin, Own)]),
    ("/session", &[("get", Any, Own), ("post", Any, Own), ("delete", No, Own)]),
    ("/tickets", &[("post", Read, Own)]),
    ("/tokens/anonymous", &[("get", Admin, All), ("put", Admin, All)]),
];

/// Whether a role has a right.
fn has(role: &str, right: Right) -> bool {
    match right {
        No | Any => true,
        Read => role != "append",
        Insert => role != "read",
        Write => matches!(role, "write" | "admin"),
        Admin => role == "admin",
    }
}

/// Whether something lies within a scope, by its name here.
fn covers(scope: &str, place: Place) -> bool {
    match place {
        Own => true,
        All => scope == "everything",
        Tenant => matches!(scope, "everything" | "acme"),
        Collection => matches!(scope, "everything" | "acme" | "users"),
    }
}

/// The status of an answer, to a write that is wrong in itself, so that nothing comes of it.
fn status(
    site: &Site,
    client: &mut Client,
    method: &str,
    target: &str,
    token: Option<&str>,
) -> u16 {
    let writes = !["get", "head"].contains(&method);
    // What the path names comes before a parameter that is not known.
    let target = if writes { format!("{target}?nothing=1") } else { target.to_owned() };
    let authorization = token.map(bearer);
    let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", &**value)).collect();
    let method = method.to_uppercase();
    if target.ends_with("/state") {
        // What follows its head is a stream.
        return site.node.client().request(&method, &target, &headers, b"").status;
    }
    client.request(&method, &target, &headers, b"").status
}

#[test]
fn every_route_allows_what_the_table_says_and_nothing_else() {
    let site = Site::start();
    let mut client = site.node.client();
    let root = bearer(ROOT);
    for body in [
        json!({"data": 1}),
        json!({"data": 1, "tenant": "acme"}),
        json!({"data": 1, "collection": site.users, "key": "k"}),
    ] {
        assert_eq!(asked(&mut client, "POST", "/changes", &root, &body.to_string()).status, 201);
    }
    let scopes = [
        ("everything", json!({})),
        ("acme", json!({"tenant": site.acme})),
        ("users", json!({"collection": site.users})),
        ("other", json!({"tenant": site.other})),
    ];
    let mut tokens = Vec::new();
    for (scope, named) in &scopes {
        for role in ["read", "append", "write", "admin"] {
            tokens.push((role, *scope, site.token(role, named).token));
        }
    }
    let listed = site.token("read", &json!({"tenant": site.acme})).id;
    let document = asked(&mut client, "GET", "/openapi.json", &root, "").json();
    let mut seen = BTreeSet::new();
    for (last, (path, operations)) in (1..).zip(document["paths"].as_object().unwrap()) {
        // From another address each: after many wrong tokens of one none is looked at.
        let mut stranger = client_from(last, site.node.address());
        let row = TABLE.iter().find(|(known, _)| known == path);
        let (_, row) = row.unwrap_or_else(|| panic!("{path} is not in the table"));
        let id = match &**path {
            "/tokens/{id}" => &*listed,
            "/cluster/members/{id}" => "1",
            _ => "2",
        };
        let target =
            path.replace("{tenant}", "acme").replace("{name}", "users").replace("{key}", "k");
        let target = target.replace("{collection}", &site.users).replace("{id}", id);
        let methods: BTreeSet<&str> =
            operations.as_object().unwrap().keys().map(|method| &**method).collect();
        let methods: BTreeSet<&str> =
            methods.into_iter().filter(|method| *method != "parameters").collect();
        assert_eq!(methods, row.iter().map(|(method, ..)| *method).collect(), "{path}");
        for (method, right, place) in *row {
            seen.insert((path.clone(), *method));
            let methods = if *method == "get" { &["get", "head"][..] } else { &[*method][..] };
            for method in methods {
                let mut is =
                    |token: Option<&str>| status(&site, &mut client, method, &target, token);
                let reads = ["get", "head"].contains(method);
                // Of a write that is wrong in itself.
                let done = if reads { 200 } else { 400 };
                let open = if *right == No { done } else { 401 };
                assert_eq!(is(None), open, "{method} {path} without a token");
                for wrong in ["ca_0000000000000001_x", &listed] {
                    let found = status(&site, &mut stranger, method, &target, Some(wrong));
                    assert_eq!(found, open, "{method} {path} with {wrong}");
                }
                for (role, scope, token) in &tokens {
                    let want = match (has(role, *right), covers(scope, *place)) {
                        (false, _) => 403,
                        (true, false) => 404,
                        // Nothing is purged.
                        (true, true) if path == "/cluster/checkpoint" => 404,
                        (true, true) => done,
                    };
                    let found = is(Some(token));
                    assert_eq!(found, want, "{method} {target} by {role} of {scope}");
                }
            }
        }
    }
    let rows: usize = TABLE.iter().map(|(_, methods)| methods.len()).sum();
    assert_eq!(seen.len(), rows, "the table has no route that is not there");
}
