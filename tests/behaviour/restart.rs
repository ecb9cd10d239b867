//! After a stop or a kill everything that a client can see is byte for byte what
//! it was.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use testkit::{Answer, Client, Node, NodeBuilder, SHORT_SEGMENTS, files, percent, strings};

/// What was seen at each place.
type Seen = BTreeMap<String, String>;

/// A write with its `Idempotency-Key` and its answer.
struct Remembered {
    key: String,
    method: &'static str,
    target: String,
    body: String,
    answer: String,
}

/// The operations go through several segments.
fn builder() -> NodeBuilder {
    NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&["--cores", "2"])
}

/// An answer without what differs from one to the next.
fn told(answer: &Answer) -> String {
    let headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "idempotency-replayed", "connection"].contains(&&**name))
        .collect();
    format!("{} {headers:?} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// Random operations of every kind.
struct Operations {
    rng: StdRng,
    /// Names of tenants, and the collections that were made, also those that
    /// are gone.
    tenants: Vec<String>,
    collections: Vec<String>,
    remembered: Vec<Remembered>,
    made: usize,
}

impl Operations {
    fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            tenants: Vec::new(),
            collections: Vec::new(),
            remembered: Vec::new(),
            made: 0,
        }
    }

    fn one_of(&mut self, list: &[String]) -> Option<String> {
        (!list.is_empty()).then(|| list[self.rng.random_range(0..list.len())].clone())
    }

    fn key(&mut self) -> String {
        let start = ["", "a/", "é", "\u{10ffff}", "%", "\u{1}"][self.rng.random_range(0..6)];
        format!("{start}{}", self.rng.random_range(0..20))
    }

    fn data(&mut self) -> String {
        let length = self.rng.random_range(0..3000);
        let data = ["1E40", "\"\\u00e9\"", "{\"a\":1,\"a\":[]}", "null"];
        let data = data[self.rng.random_range(0..4)];
        format!("[{data},\"{}\"]", "x".repeat(length))
    }

    /// A change as the body of a write to `/changes`.
    fn change(&mut self) -> String {
        let mut members = format!("\"data\":{}", self.data());
        let (tenants, collections) = (self.tenants.clone(), self.collections.clone());
        match self.rng.random_range(0..4) {
            0 => {}
            1 => {
                let tenant = self.one_of(&tenants).unwrap_or_default();
                members += &format!(",\"tenant\":\"{tenant}\"");
            }
            n => {
                let collection = self.one_of(&collections).unwrap_or_default();
                members += &format!(",\"collection\":\"{collection}\"");
                if n == 3 {
                    members += &format!(",\"key\":{}", json!(self.key()));
                }
            }
        }
        if self.rng.random_bool(0.3) {
            members += ",\"tags\":[\"t\",\"é\"]";
        }
        format!("{{{members}}}")
    }

    fn next(&mut self) -> (&'static str, String, String) {
        let (tenants, collections) = (self.tenants.clone(), self.collections.clone());
        let tenant = self.one_of(&tenants).unwrap_or("none".into());
        let collection = self.one_of(&collections).unwrap_or("none".into());
        let key = format!("/collections/{collection}/keys/{}", percent(&self.key()));
        match self.rng.random_range(0..40) {
            0..3 => {
                self.made += 1;
                ("POST", "/tenants".into(), json!({"name": format!("t{}", self.made)}).to_string())
            }
            3..6 => {
                self.made += 1;
                let body = json!({"name": format!("c{}", self.made)}).to_string();
                ("POST", format!("/tenants/{tenant}/collections"), body)
            }
            6 => ("DELETE", format!("/tenants/{tenant}"), String::new()),
            7 => ("DELETE", format!("/collections/{collection}"), String::new()),
            8..11 => {
                let changes: Vec<_> = (0..5).map(|_| self.change()).collect();
                ("POST", "/changes".into(), format!("[{}]", changes.join(",")))
            }
            11..20 => ("POST", "/changes".into(), self.change()),
            20..25 => ("DELETE", key, String::new()),
            _ => ("PUT", key, format!("{{\"data\":{}}}", self.data())),
        }
    }

    /// Does one operation; sometimes with a key by which it can be repeated.
    fn step(&mut self, client: &mut Client) {
        let (method, target, body) = self.next();
        self.made += 1;
        let name = format!("key-{}", self.made);
        let keyed = self.rng.random_bool(0.3);
        let headers: &[(&str, &str)] =
            if keyed { &[("Idempotency-Key", name.as_str())] } else { &[] };
        let answer = client.json_with(method, &target, headers, &body);
        let expected = matches!(answer.status, 200 | 201 | 400 | 404 | 409);
        assert!(expected, "{method} {target} {answer:?}");
        if keyed && answer.status < 300 {
            let answer = format!("{} {}", answer.status, answer.text());
            let (key, target) = (name, target.clone());
            self.remembered.push(Remembered { key, method, target, body, answer });
        }
        if answer.status == 201 {
            let made = answer.json();
            if let Some(collection) = made["collection"].as_str() {
                self.collections.push(collection.to_owned());
            } else if let Some(name) = made["name"].as_str() {
                self.tenants.push(name.to_owned());
            }
        }
    }

    /// Everything that can be read, place by place.
    fn capture(&self, client: &mut Client) -> Seen {
        let mut seen = Seen::new();
        let mut see = |target: String| {
            let answer = client.get(&target);
            assert!(matches!(answer.status, 200 | 404), "{target} {answer:?}");
            seen.insert(target, told(&answer));
            answer
        };
        let newest = see("/changes?limit=10000".into()).json()["last"].as_u64().unwrap();
        for id in (1..=newest + 1).step_by(17) {
            see(format!("/changes/{id}"));
        }
        for query in ["?since=3&limit=7", "?tag=t&limit=50", "?since=now", "?tag=%C3%A9&since=40"] {
            see(format!("/changes{query}"));
        }
        see("/tenants?limit=10000".into());
        see("/tenants?after=t1&limit=3".into());
        for tenant in &self.tenants {
            for sub in ["", "/changes?limit=10000", "/changes?tag=t&limit=3", "/collections"] {
                see(format!("/tenants/{tenant}{sub}"));
            }
        }
        for collection in &self.collections {
            let start = format!("/collections/{collection}");
            see(start.clone());
            see(format!("{start}/changes?limit=10000"));
            for query in ["?limit=2", "?limit=3&after=1", "?prefix=a%2F", "?prefix=%C3%A9"] {
                see(format!("{start}/keys{query}"));
            }
            let list = see(format!("{start}/keys?limit=10000"));
            if list.status == 200 {
                for key in strings(&list.json()["keys"], "key") {
                    see(format!("{start}/keys/{}", percent(key)));
                }
            }
        }
        seen
    }

    /// Checks that everything that can be repeated is answered as it was.
    fn repeat(&self, client: &mut Client) {
        for it in &self.remembered {
            let headers = [("Idempotency-Key", it.key.as_str())];
            let answer = client.json_with(it.method, &it.target, &headers, &it.body);
            let text = format!("{} {}", answer.status, answer.text());
            assert_eq!(text, it.answer, "{} {}", it.method, it.target);
        }
    }
}

fn same(before: &Seen, after: &Seen) {
    assert!(before.keys().eq(after.keys()));
    for (target, answer) in before {
        assert_eq!(Some(answer), after.get(target), "{target}");
    }
}

#[test]
fn everything_that_can_be_seen_is_the_same_after_stops_and_kills() {
    let seed = 7;
    let mut operations = Operations::new(seed);
    let mut node = builder().start();
    for end in [Node::kill as fn(Node) -> NodeBuilder, Node::stop, Node::kill] {
        let mut client = node.client();
        for _ in 0..500 {
            operations.step(&mut client);
        }
        operations.repeat(&mut client);
        let before = operations.capture(&mut client);
        assert!(before.values().any(|seen| seen.starts_with("404")), "some of it was deleted");
        node = end(node).start();
        let mut client = node.client();
        same(&before, &operations.capture(&mut client));
        operations.repeat(&mut client);
        same(&before, &operations.capture(&mut client));
    }
    assert!(!operations.remembered.is_empty());
    let files = files(&node.data());
    let segments = files.keys().filter(|path| path.extension() == Some("seg".as_ref())).count();
    assert!(segments > 6, "the test goes through several segments, not {segments}");
}

/// One writer of a collection of its own: the last data that was acknowledged
/// for each key, and the write whose answer did not come.
#[derive(Default)]
struct Writer {
    acknowledged: BTreeMap<String, (u64, Value)>,
    count: usize,
    unknown: Option<(String, String, String)>,
}

impl Writer {
    /// Writes until the connection breaks.
    fn write(&mut self, mut client: Client, keys: &str, round: usize) {
        loop {
            self.count += 1;
            let n = self.count;
            let (key, name) = (format!("k{}", n % 23), format!("{keys}-{n}"));
            let data = json!(format!("{round}-{n}-{}", "x".repeat(n * 37 % 2000)));
            let body = json!({"data": data}).to_string();
            let target = format!("{keys}/{key}");
            let headers = [("Idempotency-Key", name.as_str())];
            let sent = client.try_send_request("PUT", &target, &headers, body.as_bytes());
            let Some(answer) = sent.then(|| client.try_answer()).flatten() else {
                self.unknown = Some((target, name, body));
                return;
            };
            self.acknowledged.insert(key, (answer.id(), data));
        }
    }

    /// Settles the write whose answer did not come, and checks every key.
    fn check(&mut self, client: &mut Client, keys: &str) {
        if let Some((target, name, body)) = self.unknown.take() {
            let headers = [("Idempotency-Key", name.as_str())];
            let id = client.json_with("PUT", &target, &headers, &body).id();
            let data = serde_json::from_str::<Value>(&body).unwrap()["data"].take();
            let key = target.rsplit('/').next().expect("a key").to_owned();
            self.acknowledged.insert(key, (id, data));
        }
        let page = client.page(keys);
        let listed = page["keys"].as_array().unwrap();
        assert_eq!(listed.len(), self.acknowledged.len());
        for change in listed {
            let (id, data) = &self.acknowledged[change["key"].as_str().unwrap()];
            assert_eq!((&change["_id"], &change["data"]), (&json!(id), data));
        }
    }
}

#[test]
fn kills_under_load_lose_no_acknowledged_key_and_double_none() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 5;
    let mut node = builder().start();
    let mut client = node.client();
    client.tenant("foo");
    let paths: Vec<_> = (0..WRITERS)
        .map(|n| format!("/collections/{}/keys", client.collection("foo", &format!("c{n}"))))
        .collect();
    let mut writers: Vec<Writer> = paths.iter().map(|_| Writer::default()).collect();
    let mut rng = StdRng::seed_from_u64(11);
    for round in 0..ROUNDS {
        let enough = node.client().get("/health").last() + rng.random_range(50..300);
        let address = node.address();
        let mut watch = node.client();
        let mut killed = Some(node);
        let builder = std::thread::scope(|scope| {
            for (writer, path) in writers.iter_mut().zip(&paths) {
                scope.spawn(move || writer.write(Client::connect(address), path, round));
            }
            let target = format!("/changes?since={enough}&limit=1&block=20");
            assert_eq!(watch.get(&target).status, 200);
            killed.take().expect("it runs").kill()
        });
        node = builder.start();
        let mut client = node.client();
        for (writer, path) in writers.iter_mut().zip(&paths) {
            writer.check(&mut client, path);
        }
        let page = client.list("?limit=10000");
        let mut data: Vec<_> = page["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| format!("{} {}", change["collection"], change["data"]))
            .collect();
        let written: usize = writers.iter().map(|writer| writer.count).sum();
        assert_eq!(data.len(), written, "each write is there exactly once");
        data.sort_unstable();
        data.dedup();
        assert_eq!(data.len(), written, "no write is there twice");
    }
}
