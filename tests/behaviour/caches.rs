//! What the tests of caches share.

use testkit::{Answer, Client, Node, NodeBuilder, PATIENCE, eventually};

/// A cache, started, once it has caught up.
pub fn started(builder: NodeBuilder) -> Node {
    let cache = builder.start();
    eventually("it has caught up", || {
        tried(&cache, "/ready").is_some_and(|answer| answer.status == 200)
    });
    cache
}

/// What a node answers that may be about to start anew.
pub fn tried(node: &Node, target: &str) -> Option<Answer> {
    let mut client = Client::try_connect(node.address(), PATIENCE)?;
    client.try_request("GET", target, &[], b"")
}

pub fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap_or_else(|| panic!("no {header}")).parse().unwrap()
}

/// The newest change of a node.
pub fn newest(node: &Node) -> u64 {
    number(&node.client().get("/health"), "changeagent-last")
}
