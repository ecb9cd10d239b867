//! `GET /changes?tenant=…&collection=…`: the changes of several lists on one connection.

use std::time::Duration;

use serde_json::json;

use testkit::{Client, Node, Stream, ids};

/// Three tenants, the last of which has a collection.
struct Three {
    node: Node,
    client: Client,
    collection: String,
}

impl Three {
    fn start() -> Self {
        let node = Node::start();
        let mut client = node.client();
        for name in ["a", "b", "c"] {
            client.tenant(name);
        }
        let collection = client.collection("c", "shelf");
        Self { node, client, collection }
    }

    fn write(&mut self, of: &str) -> u64 {
        let member = match of {
            "shelf" => format!("\"collection\":\"{}\",", self.collection),
            "" => String::new(),
            tenant => format!("\"tenant\":\"{tenant}\","),
        };
        self.client.append(format!("{{{member}\"tags\":[\"t{}\"],\"data\":1}}", of.len()))
    }

    fn write_all(&mut self, of: &[&str]) {
        for of in of {
            self.write(of);
        }
    }

    fn ids(&mut self, query: &str) -> Vec<u64> {
        ids(&self.client.list(query))
    }
}

#[test]
fn the_changes_of_any_of_them_come_in_order_and_each_once() {
    let mut three = Three::start();
    three.write_all(&["a", "", "b", "c", "shelf", "a", "shelf", "b"]);
    let shelf = three.collection.clone();
    for (query, wanted) in [
        ("?tenant=a&tenant=b".to_owned(), vec![1, 3, 6, 8]),
        ("?tenant=b&tenant=a&tenant=b".to_owned(), vec![1, 3, 6, 8]),
        (format!("?tenant=a&collection={shelf}"), vec![1, 5, 6, 7]),
        // The tenant has what its collection has.
        (format!("?tenant=c&collection={shelf}"), vec![4, 5, 7]),
        (format!("?collection={shelf}"), vec![5, 7]),
        ("?tenant=a".to_owned(), vec![1, 6]),
        (format!("?tenant=a&tenant=b&collection={shelf}&since=4&limit=2"), vec![5, 6]),
        (format!("?tenant=a&collection={shelf}&tag=t5"), vec![5, 7]),
        ("?tenant=a&tenant=c&tag=t5&tag=none".to_owned(), vec![5, 7]),
        ("?tenant=a&tenant=b&before=8&limit=2".to_owned(), vec![3, 6]),
        (format!("?tenant=b&collection={shelf}&before=now&limit=3"), vec![5, 7, 8]),
    ] {
        assert_eq!(three.ids(&query), wanted, "{query}");
    }
    let page = three.client.list("?tenant=a&tenant=b&since=3&limit=1");
    assert_eq!(
        (&page["atStart"], &page["atEnd"], &page["last"]),
        (&json!(false), &json!(false), &json!(6))
    );
    let page = three.client.list("?tenant=a&tenant=b&since=6");
    assert_eq!((&page["atEnd"], &page["last"]), (&json!(true), &json!(8)));
}

#[test]
fn what_is_not_there_or_too_much_is_refused() {
    let mut three = Three::start();
    let uuid = "00000000-0000-4000-8000-000000000000";
    for query in
        ["tenant=a&tenant=nobody", &format!("collection={uuid}"), "collection=shelf", "tenant="]
    {
        three.client.get(&format!("/changes?{query}")).problem(404, "not-found");
    }
    let many = "tenant=a&".repeat(100);
    assert_eq!(three.client.get(&format!("/changes?{many}")).status, 200);
    let problem = three.client.get(&format!("/changes?{many}tenant=b"));
    assert_eq!(problem.problem(400, "invalid-parameter")["parameter"], "tenant");
    for list in ["/tenants/a/changes", &format!("/collections/{}/changes", three.collection)] {
        let problem =
            three.client.get(&format!("{list}?tenant=a")).problem(400, "invalid-parameter");
        assert_eq!(problem["parameter"], "tenant", "{list}");
    }
}

/// The id of a change as a line.
fn id_of(line: &str) -> u64 {
    let change: serde_json::Value = serde_json::from_str(line).unwrap();
    change["_id"].as_u64().unwrap()
}

/// Sends a request that waits, behind one whose answer shows that the node has read both.
fn park(client: &mut Client, target: &str) {
    client.send(format!(
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_wait_is_ended_by_a_change_of_any_of_them_and_by_no_other() {
    let mut three = Three::start();
    let target = format!("/changes?tenant=a&collection={}&since=0&block=60", three.collection);
    for of in ["a", "shelf"] {
        let since = three.write("");
        let mut waiting = three.node.client();
        park(&mut waiting, &target.replace("since=0", &format!("since={since}")));
        three.write_all(&["", "b", "c"]);
        assert!(!waiting.hears_within(Duration::from_millis(200)), "others do not concern it");
        let id = three.write(of);
        let page = waiting.answer().json();
        assert_eq!((ids(&page), &page["last"]), (vec![id], &json!(id)), "{of}");
    }
}

#[test]
fn one_stream_follows_them_all_without_gap_or_repeat() {
    let mut three = Three::start();
    three.write_all(&["a", "b", "c", ""]);
    let target = format!("/changes?tenant=a&tenant=b&collection={}", three.collection);
    let mut events = Stream::open(three.node.client(), &target, "text/event-stream");
    let mut lines =
        Stream::open(three.node.client(), &format!("{target}&block=60"), "application/x-ndjson");
    let mut wanted = vec![1, 2];
    for n in 0..60 {
        let of = ["a", "shelf", "", "b", "c"][n * 7 % 5];
        let id = three.write(of);
        if !["", "c"].contains(&of) {
            wanted.push(id);
        }
    }
    for id in wanted {
        assert_eq!(events.event().map(|event| event.id), Some(id));
        assert_eq!(lines.change().map(|change| id_of(&change)), Some(id));
    }
    // One that is deleted ends it, as it ends the stream of that list alone.
    three.client.delete("/tenants/b");
    let message = std::iter::from_fn(|| events.message()).find(|message| message.name == "reset");
    assert_eq!(message.expect("it is told").json()["code"], "not-found");
}

#[test]
fn what_a_tenant_does_not_keep_is_left_out_of_the_common_list_alone() {
    let mut three = Three::start();
    for _ in 0..20 {
        three.write_all(&["a", "b"]);
    }
    let answer = three.client.put("/tenants/a/retention", r#"{"changes":5}"#);
    assert_eq!(answer.status, 200);
    let mut first = 0;
    testkit::eventually("its list begins later", || {
        first = three.client.page("/tenants/a")["first"].as_u64().unwrap_or(0);
        first > 0
    });
    let wanted: Vec<u64> = (1..=40).filter(|id| id % 2 == 0 || *id >= first).collect();
    assert_eq!(three.ids("?tenant=a&tenant=b"), wanted);
    assert_eq!(three.ids("?tenant=a&tenant=b&before=now"), wanted);
    let since = wanted[2];
    assert_eq!(three.ids(&format!("?tenant=a&tenant=b&since={since}")), wanted[3..]);
}
