//! JSON Web Tokens as tokens, by keys from a file.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use testkit::{NodeBuilder, Stream, eventually, file};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    sessions::{login, with},
    tokens::Site,
};

const AUDIENCE: &str = "https://changes.example";
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// A JWKS of the keys with these seeds, each by that name.
fn set(seeds: &[u8]) -> String {
    let key = |seed: &u8| {
        let x = text(pair(*seed).public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": seed.to_string(), "alg": "EdDSA", "x": x})
    };
    json!({"keys": seeds.iter().map(key).collect::<Vec<_>>()}).to_string()
}

fn jwt(seed: u8, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "kid": seed.to_string(), "typ": "JWT"});
    let signed = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
    let signature = text(pair(seed).sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are good for a minute.
fn claims(role: &str) -> Value {
    json!({"exp": now_s() + 60, "aud": AUDIENCE, "role": role})
}

fn altered(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn with_keys(builder: NodeBuilder, seeds: &[u8]) -> (NodeBuilder, PathBuf) {
    let path = file(builder.directory().path(), "keys.json", &set(seeds));
    let flags = ["--jwt-keys", path.to_str().unwrap(), "--jwt-audience", AUDIENCE];
    (builder.flags(&flags), path)
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn site() -> (Site, PathBuf) {
    let (builder, path) = with_keys(with_token(NodeBuilder::new(), ROOT), &[1, 2]);
    (Site::on(builder.start()), path)
}

#[test]
fn a_jwt_may_do_what_its_claims_say_and_nothing_else() {
    let (site, _) = site();
    let mut client = site.node.client();
    let of_acme = altered(claims("write"), "tenant", "acme".into());
    let by_id = altered(claims("read"), "tenant", site.acme.as_str().into());
    for (claims, method, target, want) in [
        (claims("read"), "GET", "/changes", 200),
        (claims("read"), "POST", "/changes", 403),
        (claims("admin"), "GET", "/tokens", 200),
        (claims("append"), "GET", "/changes", 403),
        (of_acme.clone(), "POST", "/tenants/acme/changes", 201),
        (of_acme.clone(), "GET", "/tenants/other/changes", 404),
        (of_acme.clone(), "GET", "/changes", 404),
        (of_acme, "GET", "/tokens", 403),
        (by_id, "GET", "/tenants/acme/changes", 200),
    ] {
        let token = bearer(&jwt(1, &claims));
        let body = if method == "POST" { "{\"data\":1}" } else { "" };
        // Twice on one connection: what is remembered is the same.
        for _ in 0..2 {
            let answer = asked(&mut client, method, target, &token, body);
            assert_eq!(answer.status, want, "{method} {target} by {claims}: {answer:?}");
        }
    }
    // Also where it is long, and beside the tokens that the node makes.
    let long = altered(claims("read"), "more", "x".repeat(2_200).into());
    assert_eq!(asked(&mut client, "GET", "/changes", &bearer(&jwt(2, &long)), "").status, 200);
    let token = site.token("read", &json!({})).token;
    assert_eq!(asked(&mut client, "GET", "/changes", &bearer(&token), "").status, 200);
}

#[test]
fn what_is_wrong_with_a_jwt_is_told_and_it_is_not_repeated() {
    let (site, _) = site();
    let mut client = site.node.client();
    let good = jwt(1, &claims("read"));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let header = text(json!({"alg": "none"}).to_string());
    let unsigned = format!("{header}.{}.", text(claims("read").to_string()));
    let of = |name: &str, value: Value| jwt(1, &altered(claims("read"), name, value));
    for (token, words) in [
        (of("exp", (now_s() - 60).into()), "has expired"),
        (of("nbf", (now_s() + 60).into()), "not good yet"),
        (of("aud", "another".into()), "another audience"),
        (of("role", "root".into()), "claims of the JWT"),
        (of("tenant", "nobody".into()), "claims of the JWT"),
        (of("tenant", Value::Null), "claims of the JWT"),
        (jwt(3, &claims("read")), "no key of this node"),
        (unsigned, "no key of this node"),
        (format!("{signed}.{}", text([0; 64])), "signature of the JWT"),
        (
            format!("{}.{signature}", jwt(2, &claims("admin")).rsplit_once('.').unwrap().0),
            "signature",
        ),
        (good.replace('.', ":"), "not known here"),
        (of("more", "x".repeat(4_096).into()), "neither Bearer TOKEN nor Basic"),
    ] {
        let problem = asked(&mut client, "GET", "/changes", &bearer(&token), "")
            .problem(401, "unauthenticated");
        let told = problem.to_string();
        assert!(told.contains(words), "{words}: {told}");
        assert!(!told.contains(&token[..30]) && !told.contains(&token[token.len() - 20..]));
    }
    let metrics = asked(&mut client, "GET", "/metrics", &bearer(ROOT), "").text().to_owned();
    for reason in ["expired\"} 1", "not-yet\"} 1", "audience\"} 1", "claims\"} 3", "key\"} 2"] {
        let line = format!("changeagent_unauthenticated_total{{reason=\"{reason}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    // Nothing of it stands in the log, however closely that looks.
    assert!(!site.node.stderr().contains(&good[..30]));
}

#[test]
fn what_waits_with_a_jwt_ends_with_it() {
    let (site, _) = site();
    // It is good for ten seconds more than it says.
    let end = now_s() + 2;
    let token = jwt(1, &altered(claims("read"), "exp", (end - 10).into()));
    let mut client = site.node.client();
    let headers = [("Authorization", &*bearer(&token)), EVENTS];
    let mut stream = Stream::open_with(site.node.client(), "/changes", &headers);
    assert_eq!(stream.cursor(), 0);
    let cookie = login(&mut client, &token);
    let who = with(&mut client, &cookie, "GET", "/session", &[], "").json();
    assert_eq!((&who["by"], &who["role"]), (&json!("jwt"), &json!("read")));
    let body = "{\"path\":\"/changes\"}";
    let made = asked(&mut client, "POST", "/tickets", &bearer(&token), body).json();
    let target = format!("/changes?ticket={}", made["ticket"].as_str().unwrap());
    let mut by_ticket = Stream::open_with(site.node.client(), &target, &[EVENTS]);
    assert_eq!(by_ticket.cursor(), 0);
    for stream in [&mut stream, &mut by_ticket] {
        assert_eq!(stream.message().unwrap().name, "reset");
    }
    assert!(now_s() >= end, "not before");
    with(&mut client, &cookie, "GET", "/changes", &[], "").problem(401, "unauthenticated");
}

#[test]
fn keys_are_taken_up_anew_and_with_a_key_goes_what_stood_by_it() {
    let (site, path) = site();
    let mut client = site.node.client();
    let (first, second) = (jwt(1, &claims("read")), jwt(2, &claims("read")));
    let cookie = login(&mut client, &first);
    let open = |token: &str| {
        let headers = [("Authorization", &*bearer(token)), EVENTS];
        Stream::open_with(site.node.client(), "/changes", &headers)
    };
    let (mut goes, mut stays) = (open(&first), open(&second));
    assert_eq!((goes.cursor(), stays.cursor()), (0, 0));
    replace(&path, &set(&[2, 3]));
    let reset = goes.message().unwrap();
    assert!(reset.name == "reset" && reset.data.contains("no key of this node"), "{reset:?}");
    asked(&mut client, "GET", "/changes", &bearer(&first), "").problem(401, "unauthenticated");
    with(&mut client, &cookie, "GET", "/changes", &[], "").problem(401, "unauthenticated");
    let third = bearer(&jwt(3, &claims("write")));
    let written = asked(&mut client, "POST", "/changes", &third, "{\"data\":1}");
    assert_eq!(written.status, 201);
    assert_eq!(stays.event().unwrap().id, 1);
    // What cannot be used changes nothing.
    replace(&path, "{\"keys\":[{\"kty\":\"new\"}]}");
    eventually("it is told", || site.node.stderr().contains("those before stay in use"));
    let told = site.node.stderr();
    assert!(told.contains("none of its keys is one by which"), "{told}");
    assert_eq!(asked(&mut client, "GET", "/changes", &third, "").status, 200);
}

#[test]
fn the_last_key_is_withdrawn_by_a_file_without_any() {
    let (builder, path) = with_keys(with_token(NodeBuilder::new(), ROOT), &[1]);
    let node = builder.start();
    let mut client = node.client();
    let token = bearer(&jwt(1, &claims("read")));
    assert_eq!(asked(&mut client, "GET", "/changes", &token, "").status, 200);
    replace(&path, "{\"keys\":[]}");
    let warned = "no JWT is good";
    eventually("it is told", || node.stderr().contains(warned));
    asked(&mut client, "GET", "/changes", &token, "").problem(401, "unauthenticated");
    // So does a node start.
    let node = node.stop().start();
    let told = node.stderr();
    assert!(told.lines().any(|line| line.contains("WARN") && line.contains(warned)), "{told}");
    let mut client = node.client();
    asked(&mut client, "GET", "/changes", &token, "").problem(401, "unauthenticated");
    assert_eq!(asked(&mut client, "GET", "/changes", &bearer(ROOT), "").status, 200);
}

#[test]
fn keys_and_audience_need_each_other_and_a_root_token() {
    let builder = NodeBuilder::new();
    let keys = file(builder.directory().path(), "keys.json", &set(&[1]));
    let keys = keys.to_str().unwrap();
    builder.flags(&["--jwt-keys", keys]).fails().says(&["jwt-keys and jwt-audience need"]);
    let both = ["--jwt-keys", keys, "--jwt-audience", "a"];
    NodeBuilder::new().flags(&both).fails().says(&["jwt-keys needs root-token-file"]);
    for (text, words) in [
        ("{}", "is no JWKS"),
        ("{\"keys\":[{\"kty\":\"new\"}]}", "none of its keys is one by which"),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"alg\":\"HS256\"}]}", "less than 32 bytes"),
    ] {
        let builder = with_token(NodeBuilder::new(), ROOT);
        let path = file(builder.directory().path(), "keys.json", text);
        let flags = ["--jwt-keys", path.to_str().unwrap(), "--jwt-audience", "a"];
        builder.flags(&flags).fails().says(&["jwt-keys", path.to_str().unwrap(), words]);
    }
}

#[test]
fn a_cache_takes_jwts_by_keys_of_its_own() {
    let (builder, _) = with_keys(with_token(NodeBuilder::new(), ROOT), &[1]);
    let origin = builder.start();
    let (builder, _) = with_keys(with_token(NodeBuilder::new(), ROOT), &[1]);
    let cache = builder.command("cache").environment("CHANGEAGENT_TOKEN", ROOT);
    let cache = cache.flags(&["--of", &origin.url()]).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let token = bearer(&jwt(1, &altered(claims("write"), "more", "x".repeat(1_500).into())));
    let written = asked(&mut cache.client(), "POST", "/changes", &token, "{\"data\":1}");
    assert_eq!((written.status, &written.json()["_id"]), (201, &1.into()));
    assert_eq!(asked(&mut cache.client(), "GET", "/changes/1", &token, "").status, 200);
    let other = bearer(&jwt(2, &claims("read")));
    asked(&mut cache.client(), "GET", "/changes", &other, "").problem(401, "unauthenticated");
    let plain = with_token(NodeBuilder::new(), ROOT).start();
    let short = bearer(&jwt(1, &claims("read")));
    asked(&mut plain.client(), "GET", "/changes", &short, "").problem(401, "unauthenticated");
}
