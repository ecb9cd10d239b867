//! Tokens are known to every node, also to one without a leader, and revoked on all of them.

use serde_json::{Value, json};
use testkit::{Answer, Node, NodeBuilder, Stream, eventually, file};

const ROOT: &str = "root-0123456789-0123456789-0123456789";

/// Three nodes with the same root token.
fn three() -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..3 {
        let builder = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]);
        let path = file(builder.directory().path(), "root-token", ROOT);
        let builder = builder.flags(&["--root-token-file", path.to_str().unwrap()]);
        let node = match nodes.first() {
            None => builder.start(),
            Some(first) => builder.flags(&["--join", &first.address().to_string()]).start(),
        };
        nodes.push(node);
        let count = nodes.len();
        eventually("all know each other and one leader", || {
            nodes.iter().all(|node| {
                let view = view(node);
                let members = view["members"].as_array().map_or(0, Vec::len);
                members == count && view["leader"].is_u64()
            })
        });
    }
    nodes
}

fn view(node: &Node) -> Value {
    asked(node, ROOT, "GET", "/cluster", "").json()
}

fn asked(node: &Node, token: &str, method: &str, target: &str, body: &str) -> Answer {
    let value = format!("Bearer {token}");
    let mut headers = vec![("Authorization", &*value)];
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    node.client().request(method, target, &headers, body.as_bytes())
}

fn is_leader(node: &Node) -> bool {
    view(node)["state"] == "leader"
}

#[test]
fn a_token_is_good_on_every_node_until_it_is_revoked_on_any() {
    let nodes = three();
    let follower = nodes.iter().find(|node| !is_leader(node)).unwrap();
    let body = json!({"name": "t", "role": "write", "scope": {}}).to_string();
    let made = asked(follower, ROOT, "POST", "/tokens", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let written = asked(follower, token, "POST", "/changes", "{\"data\":1}");
    assert_eq!(written.status, 201);
    let open = |node: &Node| {
        let value = format!("Bearer {token}");
        let headers = [("Authorization", &*value), ("Accept", "text/event-stream")];
        Stream::open_with(node.client(), "/changes?since=now", &headers)
    };
    let mut streams = Vec::new();
    for node in &nodes {
        eventually("it is known there", || {
            asked(node, token, "GET", "/changes/1", "").status == 200
        });
        streams.push(open(node));
    }
    for stream in &mut streams {
        assert_eq!(stream.cursor(), 1);
    }
    let leader = nodes.iter().find(|node| is_leader(node)).unwrap();
    assert_eq!(asked(leader, ROOT, "DELETE", &format!("/tokens/{id}"), "").status, 200);
    for stream in &mut streams {
        let message = stream.message().unwrap();
        assert_eq!(message.name, "reset", "{message:?}");
        assert!(message.data.contains("unauthenticated"), "{message:?}");
    }
    for node in &nodes {
        eventually("it is revoked there", || {
            asked(node, token, "GET", "/changes/1", "").status == 401
        });
    }
}

#[test]
fn a_node_without_a_leader_knows_tokens() {
    let nodes = three();
    let body = json!({"name": "t", "role": "read", "scope": {}}).to_string();
    let made = asked(&nodes[0], ROOT, "POST", "/tokens", &body).json();
    let token = made["token"].as_str().unwrap();
    let mut nodes = nodes.into_iter();
    let alone = nodes.next().unwrap();
    eventually("it is known there", || asked(&alone, token, "GET", "/changes", "").status == 200);
    let others: Vec<NodeBuilder> = nodes.map(Node::kill).collect();
    eventually("nobody leads", || view(&alone)["leader"].is_null());
    assert_eq!(asked(&alone, token, "GET", "/changes", "").status, 200);
    asked(&alone, "wrong", "GET", "/changes", "").problem(401, "unauthenticated");
    asked(&alone, ROOT, "POST", "/tokens", &body).problem(503, "no-leader");
    drop(others);
}
