//! Sessions: a browser's login, kept in a cookie.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use testkit::{Answer, Client, Node, NodeBuilder, Stream, eventually};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::{Site, made},
};

const NAME: &str = "__Host-changeagent";

/// The cookie that `POST /session` sets, as a browser sends it.
pub(crate) fn login(client: &mut Client, token: &str) -> String {
    let answer = asked(client, "POST", "/session", &bearer(token), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

pub(crate) fn with(
    client: &mut Client,
    cookie: &str,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers = [&[("Cookie", cookie), ("Content-Type", "application/json")], more].concat();
    client.request(method, target, &headers, body.as_bytes())
}

fn get(client: &mut Client, cookie: &str, target: &str) -> Answer {
    with(client, cookie, "GET", target, &[], "")
}

fn open_session(client: &mut Client, token: &str) -> (Answer, Value) {
    let answer = asked(client, "POST", "/session", &bearer(token), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    (answer, body)
}

#[test]
fn a_session_does_what_its_token_may_and_tells_who_that_is() {
    let site = Site::start();
    let mut client = site.node.client();
    let token = site.token("read", &json!({"tenant": "acme"}));
    let (answer, body) = open_session(&mut client, &token.token);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    let (pair, attributes) = cookie.split_once("; Max-Age=").unwrap();
    let (age, attributes) = attributes.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=Strict");
    let age: u64 = age.parse().unwrap();
    assert!((12 * 3600 - 60..=12 * 3600).contains(&age), "{age}");
    assert!(pair.starts_with(&format!("{NAME}=")), "{pair}");
    assert!(!cookie.contains(&token.token) && !cookie.contains(&token.token[20..]));
    let who = json!({"by": "token", "id": token.id, "name": "t", "role": "read",
        "scope": {"tenant": site.acme}, "expires": body["expires"]});
    assert_eq!(body, who);
    // On one connection twice, and on another; beside other cookies.
    for client in [&mut client, &mut site.node.client()] {
        for _ in 0..2 {
            assert_eq!(get(client, pair, "/session").json(), who);
            assert_eq!(get(client, pair, "/tenants/acme/changes").status, 200);
            let among = format!("a=b; {pair}; c=d");
            assert_eq!(get(client, &among, "/tenants/acme").status, 200);
            get(client, pair, "/changes").problem(404, "not-found");
            get(client, pair, "/tenants/other").problem(404, "not-found");
            with(client, pair, "POST", "/tenants/acme/changes", &[], "{\"data\":1}")
                .problem(403, "forbidden");
        }
    }
    let root = login(&mut client, ROOT);
    let (by, written) = (
        get(&mut client, &root, "/session").json(),
        with(&mut client, &root, "POST", "/changes", &[], "{\"data\":1}").status,
    );
    assert_eq!((&by["by"], &by["role"], written), (&json!("root"), &json!("admin"), 201));
}

#[test]
fn a_session_ends_when_its_browser_says_so_and_makes_no_other() {
    let site = Site::start();
    let mut client = site.node.client();
    let cookie = login(&mut client, ROOT);
    // Without a token, with a session alone, with a wrong token.
    client.request("POST", "/session", &[], b"").problem(401, "unauthenticated");
    with(&mut client, &cookie, "POST", "/session", &[], "").problem(401, "unauthenticated");
    asked(&mut client, "POST", "/session", &bearer("x"), "").problem(401, "unauthenticated");
    for cookie in [&*cookie, &format!("{NAME}=wrong"), "a=b"] {
        let answer = with(&mut client, cookie, "DELETE", "/session", &[], "");
        let gone = format!("{NAME}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict");
        assert_eq!((answer.status, answer.header("set-cookie")), (204, Some(&*gone)));
    }
    // Nobody may do anything without a token here, and a session of those is none.
    let said = json!({"role": "read", "scope": {}}).to_string();
    asked(&mut client, "PUT", "/tokens/anonymous", &bearer(ROOT), &said);
    let anonymous = client.get("/session").json();
    assert_eq!(anonymous, json!({"by": "anonymous", "role": "read", "scope": {}}));
    client.request("POST", "/session", &[], b"").problem(401, "unauthenticated");
    // A wrong session is never taken for none.
    get(&mut client, &format!("{NAME}=wrong"), "/changes").problem(401, "unauthenticated");
    assert_eq!(get(&mut client, "a=b", "/changes").status, 200);
}

#[test]
fn a_connection_never_takes_one_for_the_other() {
    let site = Site::start();
    let mut client = site.node.client();
    let cookie = login(&mut client, ROOT);
    let value = cookie.split_once('=').unwrap().1;
    assert_eq!(get(&mut client, &cookie, "/changes").status, 200);
    // What is good as a cookie is nothing as a header, and the other way round.
    for authorization in [value, &bearer(value), &cookie] {
        asked(&mut client, "GET", "/changes", authorization, "").problem(401, "unauthenticated");
    }
    assert_eq!(asked(&mut client, "GET", "/changes", &bearer(ROOT), "").status, 200);
    for wrong in [ROOT.to_owned(), bearer(ROOT), value.to_uppercase(), format!("{value}A")] {
        get(&mut client, &format!("{NAME}={wrong}"), "/changes").problem(401, "unauthenticated");
    }
    client.get("/changes").problem(401, "unauthenticated");
    // The header counts where there are both.
    let read = site.token("read", &json!({})).token;
    for _ in 0..2 {
        let header = [("Authorization", &*bearer(&read))];
        with(&mut client, &cookie, "POST", "/changes", &header, "{\"data\":1}")
            .problem(403, "forbidden");
        let header = [("Authorization", "Bearer wrong")];
        with(&mut client, &cookie, "GET", "/changes", &header, "").problem(401, "unauthenticated");
        assert_eq!(get(&mut client, &cookie, "/changes").status, 200);
    }
}

#[test]
fn a_session_ends_with_its_token_and_so_do_its_streams() {
    let site = Site::start();
    let mut client = site.node.client();
    let token = site.token("read", &json!({}));
    let cookie = login(&mut client, &token.token);
    let headers = [("Cookie", &*cookie), ("Accept", "text/event-stream")];
    let mut stream = Stream::open_with(site.node.client(), "/changes", &headers);
    assert_eq!(stream.cursor(), 0);
    assert_eq!(get(&mut client, &cookie, "/changes").status, 200);
    let target = format!("/tokens/{}", token.id);
    assert_eq!(asked(&mut site.node.client(), "DELETE", &target, &bearer(ROOT), "").status, 200);
    get(&mut client, &cookie, "/changes").problem(401, "unauthenticated");
    let reset = stream.message().unwrap();
    assert!(reset.name == "reset" && reset.data.contains("\"unauthenticated\""), "{reset:?}");
    assert_eq!(stream.message(), None);

    let end = SystemTime::now() + Duration::from_millis(1_500);
    let expires = humantime::format_rfc3339_millis(end).to_string();
    let end = humantime::parse_rfc3339(&expires).unwrap();
    let body = json!({"name": "t", "role": "read", "scope": {}, "expires": expires});
    let token = made(&mut client, ROOT, &body);
    let (answer, said) = open_session(&mut client, &token.token);
    let age = answer.header("set-cookie").unwrap().contains("Max-Age=1;")
        || answer.header("set-cookie").unwrap().contains("Max-Age=0;");
    assert!(age, "{answer:?}");
    assert_eq!(said["expires"].as_str().unwrap()[..23], expires[..23]);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let headers = [("Cookie", &*cookie), ("Accept", "text/event-stream")];
    let mut stream = Stream::open_with(site.node.client(), "/changes", &headers);
    assert_eq!(stream.cursor(), 0);
    assert_eq!(stream.message().unwrap().name, "reset");
    assert!(SystemTime::now() >= end, "not before");
    get(&mut client, &cookie, "/changes").problem(401, "unauthenticated");
}

#[test]
fn a_session_is_known_to_nodes_with_the_same_root_token_alone() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let other = with_token(NodeBuilder::new(), ROOT).start();
    let cookie = login(&mut node.client(), ROOT);
    assert_eq!(get(&mut other.client(), &cookie, "/changes").status, 200);
    let stranger = with_token(NodeBuilder::new(), &ROOT.replace("root", "oter")).start();
    get(&mut stranger.client(), &cookie, "/changes").problem(401, "unauthenticated");
    // It outlives the process that made it.
    let node = node.kill().start();
    assert_eq!(get(&mut node.client(), &cookie, "/changes").status, 200);
}

#[test]
fn a_cookie_lets_no_other_page_read_or_write() {
    let builder = NodeBuilder::new().flags(&["--allow-origin", "https://app.example"]);
    let node = with_token(builder, ROOT).start();
    let mut client = node.client();
    let cookie = login(&mut client, ROOT);
    let own = [("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")];
    for headers in [&own[..], &[("Sec-Fetch-Site", "none")], &own[..1], &[]] {
        let answer = with(&mut client, &cookie, "POST", "/changes", headers, "{\"data\":1}");
        assert_eq!(answer.status, 201, "{headers:?}: {answer:?}");
        assert_eq!(with(&mut client, &cookie, "GET", "/changes", headers, "").status, 200);
    }
    let foreign = [
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Origin", "http://localhost:1")],
        vec![("Origin", "null")],
        vec![("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        vec![("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-site")],
        // Its pages may write, with a token of their own.
        vec![("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-site")],
        vec![("Origin", "https://app.example")],
    ];
    for headers in foreign {
        for (method, target) in
            [("POST", "/changes"), ("POST", "/tickets"), ("PUT", "/tokens/anonymous")]
        {
            let answer = with(&mut client, &cookie, method, target, &headers, "{\"data\":1}");
            assert!([401, 403].contains(&answer.status), "{method} {headers:?}: {answer:?}");
        }
        let answer = with(&mut client, &cookie, "GET", "/changes", &headers, "");
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    assert_eq!(get(&mut client, &cookie, "/changes").json()["last"], 4);
    let app = [("Origin", "https://app.example"), ("Authorization", &*bearer(ROOT))];
    assert_eq!(with(&mut client, &cookie, "POST", "/changes", &app, "{\"data\":1}").status, 201);
}

#[test]
fn a_script_is_asked_for_a_token_in_a_way_that_opens_no_window() {
    let site = Site::start();
    let mut client = site.node.client();
    let mut challenge = |headers: &[(&str, &str)]| {
        let answer = client.request("GET", "/changes", headers, b"");
        answer.problem(401, "unauthenticated");
        let all: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
        assert_eq!(all.len(), 1);
        all[0].1.contains("Basic")
    };
    assert!(challenge(&[]));
    assert!(challenge(&[("Sec-Fetch-Mode", "navigate")]));
    for mode in ["cors", "same-origin", "no-cors", "websocket"] {
        assert!(!challenge(&[("Sec-Fetch-Mode", mode)]), "{mode}");
        assert!(!challenge(&[("Sec-Fetch-Mode", mode), ("Authorization", "Basic x")]), "{mode}");
    }
    // A wait that ends, too.
    let token = site.token("read", &json!({}));
    let headers = [("Authorization", &*bearer(&token.token)), ("Sec-Fetch-Mode", "cors")];
    client.send_request("GET", "/changes?block=300", &headers, b"");
    let parked = || {
        let metrics = asked(&mut site.node.client(), "GET", "/metrics", &bearer(ROOT), "");
        metrics.text().contains("changeagent_parked 1")
    };
    eventually("it waits", parked);
    let target = format!("/tokens/{}", token.id);
    asked(&mut site.node.client(), "DELETE", &target, &bearer(ROOT), "");
    let answer = client.answer();
    answer.problem(401, "unauthenticated");
    assert!(!answer.header("www-authenticate").unwrap().contains("Basic"));
}

#[test]
fn the_page_needs_no_token_and_the_index_does() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    for headers in [&[("Accept", "text/html")][..], &[("Accept", "text/html"), ("Cookie", "a=b")]] {
        let answer = client.request("GET", "/", headers, b"");
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with("<!doctype html>"));
    }
    for accept in ["application/json", "*/*"] {
        let answer = client.request("GET", "/", &[("Accept", accept)], b"");
        answer.problem(401, "unauthenticated");
    }
    // Nothing else is shown for the sake of that.
    for target in ["/changes", "/metrics", "/nothing"] {
        let answer = client.request("GET", target, &[("Accept", "text/html")], b"");
        answer.problem(401, "unauthenticated");
    }
}

#[test]
fn a_node_that_asks_for_no_token_has_no_sessions() {
    let node = Node::start();
    let mut client = node.client();
    let open = json!({"by": "anybody", "role": "admin", "scope": {}});
    assert_eq!(client.get("/session").json(), open);
    for authorization in [&[][..], &[("Authorization", "Bearer x")]] {
        let answer = client.request("POST", "/session", authorization, b"");
        let problem = answer.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("--root-token-file"), "{problem}");
    }
    let body = "{\"path\":\"/changes\"}";
    client.json("POST", "/tickets", body).problem(403, "forbidden");
}

#[test]
fn a_cache_makes_sessions_and_hands_them_on() {
    let origin = with_token(NodeBuilder::new(), ROOT).start();
    let builder = with_token(NodeBuilder::new(), ROOT).environment("CHANGEAGENT_TOKEN", ROOT);
    let cache = builder.command("cache").flags(&["--of", &origin.url()]).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let mut client = cache.client();
    let cookie = login(&mut client, ROOT);
    let written = with(&mut client, &cookie, "POST", "/changes", &[], "{\"data\":1}");
    assert_eq!((written.status, &written.json()["_id"]), (201, &1.into()));
    assert_eq!(get(&mut client, &cookie, "/changes/1").status, 200);
}
