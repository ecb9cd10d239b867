//! Tenants, collections and keys, as short to write as the examples.

use serde_json::Value;

use crate::{
    client::{Answer, Client},
    eventually,
    node::{Node, NodeBuilder},
};

impl Client {
    /// Sends a JSON body and gives back the answer.
    pub fn json(&mut self, method: &str, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.json_with(method, target, &[], body)
    }

    /// The same with further headers.
    pub fn json_with(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.request(method, target, &all, body.as_ref())
    }

    pub fn put(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.json("PUT", target, body)
    }

    pub fn delete(&mut self, target: &str) -> Answer {
        self.request("DELETE", target, &[], b"")
    }

    /// Makes a tenant and gives back its UUID.
    pub fn tenant(&mut self, name: &str) -> String {
        let answer = self.json("POST", "/tenants", format!("{{\"name\":\"{name}\"}}"));
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        answer.json()["tenant"].as_str().expect("a tenant").to_owned()
    }

    /// Makes a collection of a tenant and gives back its UUID.
    pub fn collection(&mut self, tenant: &str, name: &str) -> String {
        let target = format!("/tenants/{tenant}/collections");
        let answer = self.json("POST", &target, format!("{{\"name\":\"{name}\"}}"));
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        answer.json()["collection"].as_str().expect("a collection").to_owned()
    }

    /// What is there, as JSON.
    pub fn page(&mut self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {} {answer:?}", answer.text());
        answer.json()
    }

    /// Sends bytes of lines, one change each.
    pub fn post_lines(&mut self, target: &str, lines: &str) -> Answer {
        let headers = [("Content-Type", "application/x-ndjson")];
        self.request("POST", target, &headers, lines.as_bytes())
    }

    /// A metric of the node that is one whole number.
    pub fn metric(&mut self, name: &str) -> u64 {
        let (metrics, start) = (self.get("/metrics"), format!("changeagent_{name} "));
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(&start));
        value.expect("a number").parse().unwrap()
    }

    /// How many reads wait at the node for a change.
    pub fn parked(&mut self) -> u64 {
        self.metric("parked")
    }

    /// Waits until so many reads wait at the node.
    pub fn sees_parked(&mut self, count: usize) {
        eventually("they wait", || self.parked() == count as u64);
    }
}

impl Answer {
    /// The `_id` of a write that was taken.
    pub fn id(&self) -> u64 {
        let text = String::from_utf8_lossy(&self.body);
        assert!(matches!(self.status, 200 | 201), "{text} {self:?}");
        self.json()["_id"].as_u64().expect("an id")
    }
}

/// The ids of a page of changes.
pub fn ids(page: &Value) -> Vec<u64> {
    let changes = page["changes"].as_array().expect("changes");
    changes.iter().map(|change| change["_id"].as_u64().expect("an id")).collect()
}

/// The strings that `member` has along an array.
pub fn strings<'a>(array: &'a Value, member: &str) -> Vec<&'a str> {
    let array = array.as_array().expect("an array");
    array.iter().map(|item| item[member].as_str().expect("a string")).collect()
}

/// Text as it stands in a path or a query: everything but letters and digits is
/// escaped.
pub fn percent(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A node with the tenant `foo` and its collection `bar`, and a client of it.
pub struct Bar {
    pub node: Node,
    pub client: Client,
    /// The UUID of `foo`.
    pub tenant: String,
    /// The UUID of `bar`.
    pub collection: String,
    /// The path of the keys of `bar`.
    pub keys: String,
}

impl Bar {
    pub fn start() -> Self {
        Self::on(Node::start())
    }

    /// Makes the two on a node that does not have them yet.
    pub fn on(node: Node) -> Self {
        let mut client = node.client();
        let tenant = client.tenant("foo");
        let collection = client.collection("foo", "bar");
        let keys = format!("/collections/{collection}/keys");
        Self { node, client, tenant, collection, keys }
    }

    /// The same once its node was ended and started again.
    pub fn again(self, end: impl FnOnce(Node) -> NodeBuilder) -> Self {
        let Self { node, tenant, collection, keys, .. } = self;
        let node = end(node).start();
        Self { client: node.client(), node, tenant, collection, keys }
    }

    /// The path of a key.
    pub fn key(&self, key: &str) -> String {
        format!("{}/{}", self.keys, percent(key))
    }

    /// Puts `data` under a key and gives back the id of the change.
    pub fn put(&mut self, key: &str, data: impl std::fmt::Display) -> u64 {
        let path = self.key(key);
        self.client.put(&path, format!("{{\"data\":{data}}}")).id()
    }

    /// The live keys with the ids of their changes.
    pub fn live(&mut self) -> Vec<(String, u64)> {
        let page = self.client.page(&format!("{}?limit=10000", self.keys));
        assert_eq!(page["atEnd"], true);
        let keys = page["keys"].as_array().expect("keys").iter();
        keys.map(|change| {
            let key = change["key"].as_str().expect("a key").to_owned();
            (key, change["_id"].as_u64().expect("an id"))
        })
        .collect()
    }
}
