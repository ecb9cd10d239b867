//! A node with a root token asks every request for a token.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use testkit::{Answer, Client, Node, NodeBuilder, PATIENCE, eventually, file, program, temporary};

pub(crate) const ROOT: &str = "root-0123456789-0123456789-0123456789";

/// A node that was given a token which begins so.
pub(crate) fn with_token(builder: NodeBuilder, token: &str) -> NodeBuilder {
    let path = file(builder.directory().path(), "root-token", &format!("{token}\n"));
    builder.flags(&["--root-token-file", path.to_str().unwrap()])
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(name: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{token}")))
}

/// What is answered to a request with that `Authorization`.
pub(crate) fn asked(
    client: &mut Client,
    method: &str,
    target: &str,
    authorization: &str,
    body: &str,
) -> Answer {
    let mut headers = vec![("Authorization", authorization)];
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    client.request(method, target, &headers, body.as_bytes())
}

#[test]
fn without_a_token_nothing_is_told_but_that_the_node_is_there() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    assert_eq!(client.get("/health").status, 200);
    assert_eq!(client.get("/ready").status, 200);
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/changes"),
        ("HEAD", "/changes"),
        ("GET", "/nothing"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/cluster"),
        ("POST", "/health"),
        ("POST", "/cluster/members"),
        ("OPTIONS", "/changes"),
        ("OPTIONS", "*"),
        ("BREW", "/changes"),
    ] {
        let answer = client.request(method, target, &[], b"");
        assert_eq!(answer.status, 401, "{method} {target}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer ") && challenge.contains("Basic "), "{challenge}");
    }
    client.get("/changes").problem(401, "unauthenticated");
    client.post("{\"data\":1}").problem(401, "unauthenticated");
    assert_eq!(client.get("/health").header("changeagent-last"), Some("0"));
}

#[test]
fn the_token_is_taken_as_bearer_and_as_a_password_and_no_other_is() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    let mut ids = 0;
    for good in [bearer(ROOT), basic("", ROOT), basic("me", ROOT), format!("bearer {ROOT}")] {
        // Twice: what is remembered of the connection is good, too.
        for _ in 0..2 {
            let answer = asked(&mut client, "POST", "/changes", &good, "{\"data\":1}");
            ids += 1;
            assert_eq!((answer.status, &answer.json()["_id"]), (201, &ids.into()), "{good}");
        }
        for wrong in [
            bearer(&ROOT[1..]),
            bearer(&format!("{ROOT}x")),
            bearer(&"x".repeat(2_000)),
            basic(ROOT, ""),
            basic(ROOT, "x"),
            format!("Token {ROOT}"),
            ROOT.to_owned(),
            "Basic ***".to_owned(),
            String::new(),
        ] {
            let answer = asked(&mut client, "GET", "/changes", &wrong, "");
            let problem = answer.problem(401, "unauthenticated");
            assert!(!problem.to_string().contains(&ROOT[..12]), "{problem}");
        }
    }
    // A probe that sends some credentials is answered whatever they are.
    assert_eq!(asked(&mut client, "GET", "/health", &bearer("x"), "").status, 200);
    let listed = asked(&mut client, "GET", "/changes", &bearer(ROOT), "").json();
    assert_eq!(listed["changes"].as_array().unwrap().len(), 8);
}

#[test]
fn a_client_that_asks_before_it_sends_a_body_is_told_at_once() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    client.send(
        "POST /changes HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    client.answer().problem(401, "unauthenticated");
}

#[test]
fn a_browser_may_ask_without_a_token_whether_a_page_may_send_one() {
    let builder = NodeBuilder::new().flags(&["--allow-origin", "https://app.example"]);
    let node = with_token(builder, ROOT).start();
    let page = [("Origin", "https://app.example")];
    let asks = [page[0], ("Access-Control-Request-Method", "GET")];
    let answer = node.client().request("OPTIONS", "/changes", &asks, b"");
    assert_eq!(answer.status, 204);
    assert!(answer.header("access-control-allow-headers").unwrap().contains("Authorization"));
    // The page itself can read why it is refused.
    let answer = node.client().request("GET", "/changes", &page, b"");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn any_name_leads_to_a_node_that_asks_for_tokens() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    client.send(format!(
        "GET /changes HTTP/1.1\r\nHost: any.example\r\nAuthorization: Bearer {ROOT}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    let open = Node::start();
    let mut client = open.client();
    client.send("GET /changes HTTP/1.1\r\nHost: any.example\r\n\r\n");
    client.answer().problem(421, "misdirected");
}

#[test]
fn a_name_that_was_made_to_lead_here_does_not_have_the_rights_of_requests_without_a_token() {
    let builder = NodeBuilder::new().flags(&["--allow-host", "known.example"]);
    let node = with_token(builder, ROOT).start();
    let mut client = node.client();
    let mut ask = |host: &str, line: &str, more: &str| {
        client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        client.answer()
    };
    let own = format!("Authorization: Bearer {ROOT}\r\n");
    // Nothing may be done without a token: no name makes a difference.
    assert_eq!(ask("any.example", "GET /changes", "").status, 401);
    assert_eq!(ask("any.example", "GET /health", "").status, 200);
    let body = "{\"role\":\"write\",\"scope\":{}}";
    let mut other = node.client();
    assert_eq!(asked(&mut other, "PUT", "/tokens/anonymous", &bearer(ROOT), body).status, 200);
    for line in ["GET /changes", "GET /changes?block=1", "POST /tenants", "DELETE /tenants/x"] {
        ask("any.example", line, "").problem(421, "misdirected");
        ask("any.example", line, "Origin: http://any.example\r\n").problem(421, "misdirected");
    }
    for host in ["127.0.0.1", "localhost:9000", "known.example"] {
        assert_eq!(ask(host, "GET /changes", "").status, 200, "{host}");
    }
    assert_eq!(ask("any.example", "GET /changes", &own).status, 200);
}

#[test]
fn a_request_bears_one_authorization() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    for second in [bearer(ROOT), bearer("x"), String::new()] {
        for (one, two) in [(&bearer(ROOT), &second), (&second, &bearer(ROOT))] {
            let mut client = node.client();
            client.send(format!(
                "GET /changes HTTP/1.1\r\nHost: h\r\nAuthorization: {one}\r\nauthorization: {two}\r\n\r\n"
            ));
            client.answer().problem(400, "bad-request");
        }
    }
}

#[test]
fn a_file_that_holds_no_token_is_refused() {
    for (text, words) in [
        ("short\n", "5 characters, not 32 to 255"),
        ("", "0 characters"),
        ("0123456789 0123456789 0123456789 0123456789", "character 11"),
        ("0123456789-0123456789-0123456789\nsecond line\n", "character 33"),
    ] {
        let builder = NodeBuilder::new();
        let path = file(builder.directory().path(), "t", text);
        let failed = builder.flags(&["--root-token-file", path.to_str().unwrap()]).fails();
        failed.says(&["root-token-file", path.to_str().unwrap(), words]);
    }
    let failed = NodeBuilder::new().flags(&["--root-token-file", "/nowhere/token"]).fails();
    failed.says(&["root-token-file /nowhere/token", "No such file"]);
}

#[test]
fn the_file_of_the_token_may_be_set_by_the_environment_and_by_a_file() {
    let builder = NodeBuilder::new();
    let token = file(builder.directory().path(), "token", ROOT);
    let node = builder.environment("CHANGEAGENT_ROOT_TOKEN_FILE", token.to_str().unwrap()).start();
    assert_eq!(node.client().get("/changes").status, 401);
    let builder = NodeBuilder::new();
    let token = file(builder.directory().path(), "token", ROOT);
    let text = format!("root-token-file = {token:?}\n");
    let settings = file(builder.directory().path(), "node.toml", &text);
    let node = builder.flags(&["--config", settings.to_str().unwrap()]).start();
    assert_eq!(node.client().get("/changes").status, 401);
}

#[test]
fn commands_show_the_token_of_a_file_or_of_the_environment() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let directory = temporary();
    let token = file(directory.path(), "token", &format!("{ROOT}\n"));
    let (token, url) = (token.to_str().unwrap(), node.url());
    let backup = directory.path().join("backup");
    let lines = file(directory.path(), "lines", "{\"data\":2}\n");
    for arguments in [
        &["post", "--data", "1"][..],
        &["import", lines.to_str().unwrap()],
        &["tail", "-n", "1"],
        &["export"],
        &["status"],
        &["members", "list"],
        &["backup", "--out", backup.to_str().unwrap()],
    ] {
        let ends = |command: &mut std::process::Command| command.output().unwrap();
        let output = ends(&mut program(&url, arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("401 unauthenticated"), "{arguments:?}: {said}");
        let advice = "(give --token-file FILE or CHANGEAGENT_TOKEN)";
        assert!(said.trim_end().ends_with(advice), "{arguments:?}: {said}");
        let output = ends(program(&url, arguments).env("CHANGEAGENT_TOKEN", ROOT.to_uppercase()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("not known here") && !said.contains(advice), "{said}");
        let with_file = [arguments, &["--token-file", token]].concat();
        let output = ends(&mut program(&url, &with_file));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let output = ends(program(&url, arguments).env("CHANGEAGENT_TOKEN", ROOT));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let output = ends(program(&url, arguments).env("CHANGEAGENT_TOKEN", "short"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("CHANGEAGENT_TOKEN holds no token"), "{said}");
    }
}

#[test]
fn a_cache_shows_its_origin_a_token_and_hands_on_what_its_clients_show() {
    let origin = with_token(NodeBuilder::new(), ROOT).start();
    let own = bearer(ROOT);
    asked(&mut origin.client(), "POST", "/changes", &own, "{\"data\":1}");
    let cache = |builder: NodeBuilder| builder.command("cache").flags(&["--of", &origin.url()]);
    let builder = with_token(NodeBuilder::new(), ROOT);
    let token = file(builder.directory().path(), "token", ROOT);
    let node = cache(builder).flags(&["--token-file", token.to_str().unwrap()]).start();
    eventually("it has caught up", || node.client().get("/ready").status == 200);
    let mut client = node.client();
    assert_eq!(client.get("/changes").status, 401);
    assert_eq!(asked(&mut client, "GET", "/changes/1", &own, "").status, 200);
    let written = asked(&mut client, "POST", "/changes", &own, "{\"data\":2}");
    assert_eq!((written.status, &written.json()["_id"]), (201, &2.into()));
    // An open cache gives nobody more than the origin does.
    let open = cache(NodeBuilder::new()).environment("CHANGEAGENT_TOKEN", ROOT).start();
    eventually("it has caught up", || open.client().get("/ready").status == 200);
    assert_eq!(open.client().get("/changes/1").status, 200);
    let refused = open.client().post("{\"data\":3}");
    refused.problem(401, "unauthenticated");
    assert!(refused.header("www-authenticate").is_some());
}

#[test]
fn nodes_take_in_a_node_that_was_given_the_same_token_and_hand_on_writes() {
    let place = ["--cluster-listen", "127.0.0.1:0"];
    let first = with_token(NodeBuilder::new(), ROOT).flags(&place).start();
    let joining = |builder: NodeBuilder| {
        builder.flags(&place).flags(&["--join", &first.address().to_string()])
    };
    let second = joining(with_token(NodeBuilder::new(), ROOT)).start();
    let own = bearer(ROOT);
    eventually("the second belongs to it", || {
        // It ends all connections when it becomes a member.
        let headers = [("Authorization", &*own)];
        let client = Client::try_connect(second.address(), PATIENCE);
        let answer = client.and_then(|mut it| it.try_request("GET", "/cluster", &headers, b""));
        answer.is_some_and(|answer| {
            let view = answer.json();
            view["members"].as_array().unwrap().len() == 2 && !view["leader"].is_null()
        })
    });
    for node in [&first, &second] {
        let written = asked(&mut node.client(), "POST", "/changes", &own, "{\"data\":1}");
        assert_eq!(written.status, 201);
    }
    let other = joining(with_token(NodeBuilder::new(), &ROOT.replace("root", "oter"))).start();
    eventually("it says why", || other.stderr().contains("the token is not known here"));
    let open = joining(NodeBuilder::new()).start();
    eventually("it says why", || open.stderr().contains("this node asks for a token"));
}

#[test]
fn what_nodes_show_to_each_other_is_good_for_nothing_else() {
    // What is shown before nodes belong together: nobody can make the root token of it.
    let place = ["--cluster-listen", "127.0.0.1:0"];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spy = listener.local_addr().unwrap().to_string();
    let joining =
        with_token(NodeBuilder::new(), ROOT).flags(&place).flags(&["--join", &spy]).start();
    let (mut stream, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut some = [0; 1024];
        let count = std::io::Read::read(&mut stream, &mut some).unwrap();
        heard.extend_from_slice(&some[..count]);
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(!heard.contains(ROOT), "{heard}");
    let shown = heard.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("authorization: bearer ").map(str::to_owned)
    });
    let shown = bearer(&shown.unwrap());
    let mut client = joining.client();
    assert_eq!(asked(&mut client, "GET", "/cluster", &shown, "").status, 200);
    for (method, target) in [("GET", "/changes"), ("GET", "/cluster/log"), ("POST", "/changes")] {
        asked(&mut client, method, target, &shown, "").problem(403, "forbidden");
    }
}

#[test]
fn a_token_is_neither_logged_nor_shown_and_refusals_are_counted() {
    let builder = with_token(NodeBuilder::new(), ROOT).environment("CHANGEAGENT_LOG", "trace");
    let node = builder.start();
    let (mut client, wrong) = (node.client(), "wrong-0123456789-0123456789-0123456789");
    let mut told = Vec::new();
    for token in [ROOT, wrong] {
        for value in [bearer(token), basic("name", token), format!("Token {token}")] {
            for target in ["/changes", "/nothing", "/cluster", "/tenants/x", "/changes?limit=x"] {
                let answer = asked(&mut client, "GET", target, &value, "");
                told.push(format!("{answer:?} {}", answer.text()));
                asked(&mut client, "POST", "/changes", &value, "{\"data\":");
            }
        }
    }
    let metrics = asked(&mut client, "GET", "/metrics", &bearer(ROOT), "");
    let metrics = metrics.text().to_owned();
    for line in ["{reason=\"unknown\"} 20", "{reason=\"malformed\"} 20", "{reason=\"missing\"} 0"] {
        assert!(
            metrics.contains(&format!("changeagent_unauthenticated_total{line}")),
            "{line}: {metrics}"
        );
    }
    eventually("it is told", || node.stderr().contains("their tokens are not known here"));
    told.extend([metrics, node.stderr()]);
    let command = fs::read(format!("/proc/{}/cmdline", node.process())).unwrap();
    told.push(String::from_utf8_lossy(&command).into_owned());
    for text in told {
        for secret in [ROOT, wrong, &STANDARD.encode(format!("name:{ROOT}"))] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
