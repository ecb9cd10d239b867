//! `changeagent cache --tenant`: a read-only copy of some tenants of a history.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::caches::{newest, number, started, tried};
use testkit::{
    Client, Node, NodeBuilder, PATIENCE, SHORT_SEGMENTS, Stream, eventually, files, run,
};

/// What is in every change of a tenant that is not copied.
const SECRET: &str = "of-nobody-else";

/// A cache of these tenants, on a fresh directory.
fn cache_of(origin: &Node, tenants: &str) -> NodeBuilder {
    let flags = ["--of", &origin.url(), "--tenant", tenants];
    NodeBuilder::new().command("cache").flags(&flags)
}

/// Everything that can be read of a tenant, once a node holds the change `last`.
fn everything(node: &Node, tenant: &str, last: u64) -> BTreeMap<String, String> {
    let mut client = node.client();
    let mut found = BTreeMap::new();
    let mut read = |target: String| {
        let answer = client.get(&target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let text = answer.text().to_owned();
        found.insert(target, text.clone());
        serde_json::from_str(&text).unwrap_or(Value::Null)
    };
    read(format!("/tenants/{tenant}/changes?limit=10000&min_id={last}&consistency=strong"));
    read(format!("/tenants/{tenant}/changes?before=now&limit=7"));
    read(format!("/tenants/{tenant}/changes?tag=odd&limit=10000"));
    read(format!("/tenants/{tenant}"));
    read(format!("/tenants/{tenant}/retention"));
    let all = read(format!("/tenants/{tenant}/collections?limit=10000"));
    for of in all["collections"].as_array().unwrap() {
        let of = of["collection"].as_str().unwrap();
        read(format!("/collections/{of}/changes?limit=10000"));
        read(format!("/collections/{of}/keys?limit=10000"));
    }
    read(format!("/tenants/{tenant}/state"));
    found
}

/// That a cache shows of these tenants what its origin has.
fn agree(origin: &Node, cache: &Node, tenants: &[&str]) {
    // What expires is deleted a moment later.
    for tenant in tenants {
        let read = || {
            let last = newest(origin);
            [cache, origin].map(|node| everything(node, tenant, last))
        };
        let mut found = read();
        eventually("they agree", || {
            let is_same = found[0] == found[1];
            if !is_same {
                found = read();
            }
            is_same || found[0] == found[1]
        });
    }
    let last = newest(origin);
    let lists: Vec<String> = tenants.iter().map(|tenant| format!("tenant={tenant}")).collect();
    let lists = format!("/changes?{}&limit=10000&min_id={last}", lists.join("&"));
    assert_eq!(cache.client().get(&lists).text(), origin.client().get(&lists).text());
    assert!(newest(cache) >= last, "ids of others count");
}

/// So many writes are under way, or to come, while the test goes on with something else.
const AHEAD: u64 = 100;

/// Writes of all kinds for four tenants, as many as are asked for and [`AHEAD`] more: what is written does
/// not grow with the time that all else takes, and so neither does what is compared in the end.
struct Load {
    /// One for each write.
    orders: mpsc::Sender<()>,
    ordered: u64,
    written: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

/// What the load writes as its `n`-th request.
fn write(client: &mut Client, tenants: &[String], keys: &[String], n: usize) {
    let (at, key) = (n % tenants.len(), n / 5 % 17);
    let (tenant, keys, other) = (&tenants[at], &keys[at], &tenants[(at + 1) % tenants.len()]);
    // The last two tenants are copied by nobody.
    let text = |at: usize| if at % 4 > 1 { SECRET } else { "own" };
    let data = text(at);
    match n / tenants.len() % 9 {
        0 => {
            drop(client.post(format!(
                "{{\"tenant\":\"{tenant}\",\"data\":\"{data}\",\"tags\":[\"odd\"]}}"
            )))
        }
        1 | 2 => drop(client.put(&format!("{keys}/k{key}"), format!("{{\"data\":\"{data}\"}}"))),
        3 => drop(client.delete(&format!("{keys}/k{key}"))),
        // Refused as often as not.
        4 => drop(client.json_with(
            "PUT",
            &format!("{keys}/k{}", key + 9),
            &[("If-None-Match", "*")],
            format!("{{\"data\":\"{data}\"}}"),
        )),
        // Of several tenants, and of none.
        5 => {
            let one =
                |tenant: &str, data| format!("{{\"tenant\":\"{tenant}\",\"data\":\"{data}\"}}");
            let (next, whole) = (text(at + 1), SECRET);
            let all = [one(other, next), one(tenant, data), format!("{{\"data\":\"{whole}\"}}")];
            drop(client.post(format!("[{},{}]", all.join(","), one(other, next))));
        }
        6 => {
            let gone = client.collection(tenant, &format!("gone{n}"));
            drop(client.put(&format!("/collections/{gone}/keys/a"), "{\"data\":1}"));
            drop(client.put(&format!("/collections/{gone}/keys/a"), "{\"data\":2}"));
            if n.is_multiple_of(2) {
                assert_eq!(client.delete(&format!("/collections/{gone}")).status, 200);
            }
        }
        7 => {
            let last = client.list("?before=now&limit=1")["last"].as_u64().unwrap();
            let id = last - (n as u64 * 7 % last);
            drop(client.request("POST", &format!("/changes/{id}/redact"), &[], b""));
        }
        _ => drop(client.put(&format!("{keys}/t"), format!("{{\"data\":\"{data}\",\"ttl\":1}}"))),
    }
}

/// Four tenants, and of each the path of the keys of a collection.
fn tenants(client: &mut Client) -> (Vec<String>, Vec<String>) {
    let tenants: Vec<String> =
        ["one", "two", "three", "four"].iter().map(|name| client.tenant(name)).collect();
    let keys = tenants
        .iter()
        .map(|tenant| format!("/collections/{}/keys", client.collection(tenant, "c")))
        .collect();
    (tenants, keys)
}

impl Load {
    fn start(node: &Node) -> Self {
        let (orders, received) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let (count, mut client) = (Arc::clone(&written), node.client());
        let (tenants, keys) = tenants(&mut client);
        let thread = thread::spawn(move || {
            for (n, ()) in received.iter().enumerate() {
                write(&mut client, &tenants, &keys, n);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { orders, ordered: 0, written, thread }
    }

    /// Waits until so many more are written.
    fn goes_on(&mut self, writes: u64) {
        let goal = self.written.load(Ordering::SeqCst) + writes;
        while self.ordered < goal + AHEAD {
            self.orders.send(()).unwrap();
            self.ordered += 1;
        }
        eventually("more is written", || self.written.load(Ordering::SeqCst) >= goal);
    }

    /// Waits until all is written.
    fn end(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

/// That nothing of others is in the files of a cache.
fn holds_nothing_else(cache: &Node) {
    for (name, bytes) in files(&cache.data()) {
        let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!found, "{} has something of another tenant", name.display());
    }
}

#[test]
fn a_cache_of_tenants_that_is_killed_again_and_again_shows_what_its_origin_has_of_them() {
    let origin = Node::with(&SHORT_SEGMENTS);
    let mut load = Load::start(&origin);
    load.goes_on(200);
    let mut cache = started(cache_of(&origin, "one,two").flags(&SHORT_SEGMENTS));
    let mut shown = 0;
    let list = "/changes?tenant=one&tenant=two&limit=10000";
    for _ in 0..5 {
        eventually("the cache shows more", || newest(&cache) > shown);
        eventually("it is read", || cache.client().get(list).status == 200);
        // Whatever it has is a part of what the origin has, from the beginning on.
        let page = cache.client().get(list).json();
        let last = page["last"].as_u64().unwrap();
        assert!(last >= shown, "it shows less than before: {last}, {shown}");
        let same = origin.client().get(list).json();
        // What is redacted meanwhile is shown so at the one first.
        let ids = |page: &Value| {
            let changes = page["changes"].as_array().unwrap().iter();
            let ids = changes.map(|change| change["_id"].as_u64().unwrap());
            ids.take_while(|id| *id <= last).collect::<Vec<_>>()
        };
        assert_eq!(ids(&page), ids(&same));
        shown = last;
        load.goes_on(100);
        cache = cache.kill().start();
        let again = cache.client().get("/changes?tenant=one&limit=1");
        assert_eq!(again.status, 200, "it serves at once");
        assert!(number(&again, "changeagent-last") >= shown);
    }
    load.end();
    agree(&origin, &cache, &["one", "two"]);
    let segments = files(&cache.data());
    let segments = segments.keys().filter(|name| name.extension().is_some_and(|it| it == "seg"));
    assert!(segments.count() > 3, "it has several segments");
    holds_nothing_else(&cache);
    let cache = cache.kill().start();
    agree(&origin, &cache, &["one", "two"]);
    let data = cache.data();
    let builder = cache.stop();
    run("http://127.0.0.1:1", &["check", "--data", data.to_str().unwrap()]).ok();
    drop(builder);
}

#[test]
fn a_cache_of_tenants_is_the_origin_of_caches_of_some_of_these() {
    let origin = Node::with(&SHORT_SEGMENTS);
    let mut load = Load::start(&origin);
    load.goes_on(100);
    let whole = started(NodeBuilder::new().command("cache").flags(&["--of", &origin.url()]));
    let middle = started(cache_of(&whole, "one,two,three").flags(&SHORT_SEGMENTS));
    let outer = started(cache_of(&middle, "two").flags(&SHORT_SEGMENTS));
    load.goes_on(300);
    load.end();
    agree(&origin, &middle, &["one", "two", "three"]);
    agree(&origin, &outer, &["two"]);
    holds_nothing_else(&outer);
    // What it does not hold it cannot give.
    let problem = middle.client().get("/cluster/log").problem(404, "not-found");
    assert!(problem["detail"].as_str().unwrap().contains("some tenants alone"), "{problem}");
    let four = origin.client().get("/tenants/four").json()["tenant"].as_str().unwrap().to_owned();
    for path in ["log", "checkpoint"] {
        let target = format!("/cluster/{path}?tenant={four}");
        middle.client().get(&target).problem(404, "not-found");
    }
}

#[test]
fn waits_and_streams_at_a_cache_of_tenants_hear_of_these_and_of_nothing_else() {
    let origin = Node::start();
    let mut writer = origin.client();
    let (tenants, keys) = tenants(&mut writer);
    let cache = started(cache_of(&origin, &format!("{},one", tenants[1])));
    let mut client = cache.client();
    let mut stream =
        Stream::open(cache.client(), "/tenants/one/changes?block=60", "application/x-ndjson");
    for n in 0..10 {
        let (mut list, mut key) = (cache.client(), cache.client());
        let since = newest(&cache);
        let target = format!("/changes?tenant=one&tenant=two&since={since}&block=60");
        list.send_request("GET", &target, &[], b"");
        key.send_request("GET", &format!("{}/k?since={since}&block=60", keys[0]), &[], b"");
        client.sees_parked(if n > 0 { 3 } else { 2 });
        let others = writer.append(format!("{{\"tenant\":\"three\",\"data\":{n}}}"));
        let written = writer.put(&format!("{}/k", keys[0]), format!("{{\"data\":{n}}}")).json();
        let id = written["_id"].as_u64().unwrap();
        assert_eq!(id, others + 1);
        let page = list.answer().json();
        assert_eq!(
            (page["changes"][0]["_id"].as_u64(), page["last"].as_u64()),
            (Some(id), Some(id))
        );
        if n > 0 {
            assert_eq!(key.answer().json()["data"], n);
            assert_eq!(page["changes"][0]["prev"].as_u64(), Some(id - 2));
        }
        assert!(stream.change().unwrap().contains(&format!("\"_id\":{id},")));
    }
    // Ids that others have are waited for, too.
    let last = writer.append("{\"tenant\":\"four\",\"data\":1}");
    let list = client.get(&format!("/tenants/two/changes?min_id={last}"));
    assert_eq!(list.json()["last"].as_u64(), Some(last));
    let last = writer.append("{\"data\":1}");
    let list = client.get("/tenants/two/changes?consistency=strong");
    assert_eq!(list.json()["last"].as_u64(), Some(last));
}

#[test]
fn what_a_cache_of_tenants_does_not_hold_is_handed_on_to_its_origin() {
    let origin = Node::start();
    let mut writer = origin.client();
    let (tenants, keys) = tenants(&mut writer);
    for (tenant, keys) in tenants.iter().zip(&keys) {
        writer.append(format!("{{\"tenant\":\"{tenant}\",\"data\":1}}"));
        writer.put(&format!("{keys}/k"), "{\"data\":2}");
    }
    let last = writer.append("{\"data\":\"of none\"}");
    let cache = started(cache_of(&origin, "one"));
    let mut client = cache.client();
    client.get(&format!("/tenants/one/changes?min_id={last}"));
    let elsewhere = [
        "/changes".to_owned(),
        "/changes?tenant=one&tenant=two".to_owned(),
        format!("/changes/{last}"),
        "/tenants".to_owned(),
        "/tenants/two".to_owned(),
        "/tenants/two/changes?limit=1".to_owned(),
        format!("/tenants/{}/collections", tenants[1]),
        format!("{}?limit=5", keys[2]),
        format!("{}/k", keys[2]),
        "/tenants/two/collections/c/keys/k".to_owned(),
    ];
    let here =
        ["/changes/1".to_owned(), format!("{}/k", keys[0]), "/changes?tenant=one".to_owned()];
    for target in elsewhere.iter().chain(&here) {
        let (own, other) = (client.get(target), writer.get(target));
        assert_eq!((own.status, own.text()), (200, other.text()), "{target}");
        assert_eq!(own.header("etag"), other.header("etag"));
    }
    for absent in ["/changes/999", "/tenants/nobody", "/tenants/two/collections/none/keys"] {
        client.get(absent).problem(404, "not-found");
    }
    client.get("/changes?limit=0").problem(400, "invalid-parameter");
    // A wait ends sooner than it would at the origin.
    let mut waits = cache.client();
    waits.send_request("GET", &format!("/changes?since={last}&block=300"), &[], b"");
    assert_eq!(waits.answer().json()["changes"].as_array().unwrap().len(), 0);
    let id = client.append("{\"tenant\":\"two\",\"data\":\"through\"}");
    assert_eq!(client.get(&format!("/changes/{id}")).json()["data"], "through");
    drop(origin.kill());
    for target in elsewhere {
        client.get(&target).problem(503, "behind");
    }
    for target in here {
        assert_eq!(client.get(&target).status, 200, "{target}");
    }
}

#[test]
fn a_directory_stays_that_of_the_tenants_with_which_it_was_begun() {
    let origin = Node::start();
    let (tenants, _) = tenants(&mut origin.client());
    let mut builder = started(cache_of(&origin, "one,two")).stop();
    let refused = |builder: NodeBuilder, want: &str| {
        let data = builder.directory().path().join("data");
        let before = files(&data);
        let node = builder.launch();
        let stderr = node.stderr.clone();
        let (status, builder) = node.ends_within(Duration::from_secs(30));
        assert_eq!(status.code(), Some(1));
        let said = std::fs::read_to_string(stderr).unwrap();
        assert!(said.contains(want), "{said}");
        let after = files(&data);
        assert!(before.keys().eq(after.keys()), "nothing is changed");
        builder
    };
    for others in ["one", "one,two,three", "three"] {
        let builder_of = builder.flags(&["--tenant", others]);
        builder = refused(builder_of, "--tenant one, two");
    }
    builder = refused(builder.without("--tenant"), "--tenant one, two");
    // By its UUID, and in another order, it is the same.
    let cache = started(builder.flags(&["--tenant", &format!("{},one", tenants[1])]));
    assert_eq!(cache.client().get("/tenants/two/changes").status, 200);
    let whole = started(NodeBuilder::new().command("cache").flags(&["--of", &origin.url()]));
    refused(whole.stop().flags(&["--tenant", "one"]), "of a whole history");
}

#[test]
fn a_cache_of_tenants_begins_with_its_part_of_the_checkpoint_of_an_origin_that_has_purged_history()
{
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "5"]].concat();
    let origin = NodeBuilder::new().flags(&flags).start();
    let mut client = origin.client();
    let (_, keys) = tenants(&mut client);
    let big = "k".repeat(10_000);
    let mut fill = |n: usize| {
        for (at, keys) in keys.iter().enumerate() {
            let data = if at > 1 { SECRET } else { "own" };
            client.put(&format!("{keys}/k{}", n % 50), format!("{{\"data\":\"{data}{n}{big}\"}}"));
        }
    };
    (0..60).for_each(&mut fill);
    let purged = |index: u64| {
        eventually("history is purged", || {
            let answer = origin.client().get("/cluster/log?from=0");
            answer.status == 410 && answer.json()["purged"].as_u64().unwrap() > index
        });
    };
    purged(1);
    let cache = started(cache_of(&origin, "one,two").flags(&SHORT_SEGMENTS));
    // Nothing while it begins anew.
    let own = |node: &Node, last: u64| -> Option<Vec<String>> {
        let mut client = Client::try_connect(node.address(), PATIENCE)?;
        let mut read = |target: String| {
            let answer = client.try_request("GET", &target, &[], b"")?;
            (answer.status == 200).then(|| answer.text().to_owned())
        };
        read(format!("/tenants/one/changes?before=now&min_id={last}&limit=1"))?;
        let mut found = Vec::new();
        for keys in &keys[..2] {
            found.push(read(format!("{keys}?limit=10000"))?);
        }
        found.push(read("/tenants/two/collections".to_owned())?);
        Some(found)
    };
    let same = |cache: &Node, last: u64| {
        let there = own(&origin, last).unwrap();
        let mut here = None;
        eventually("the copy answers", || {
            here = own(cache, last);
            here.is_some()
        });
        assert_eq!(here.unwrap(), there);
    };
    let last = newest(&origin);
    same(&cache, last);
    holds_nothing_else(&cache);
    // What is purged while it is away does not stand in its way.
    let builder = cache.kill();
    let index = origin.client().get("/cluster").json()["applied"].as_u64().unwrap();
    (60..120).for_each(&mut fill);
    purged(index);
    let cache = builder.start();
    let last = newest(&origin);
    eventually("it has begun anew", || {
        let answer = tried(&cache, "/tenants/one/changes?before=now&limit=1");
        answer.is_some_and(|it| it.status == 200 && number(&it, "changeagent-last") >= last)
    });
    same(&cache, last);
    holds_nothing_else(&cache);
}

#[test]
fn a_new_cache_of_tenants_never_says_that_what_its_origin_has_is_not_there() {
    let origin = Node::start();
    let mut writer = origin.client();
    let tenant = writer.tenant("one");
    let path = format!("/collections/{}", writer.collection(&tenant, "c"));
    for round in 0..20 {
        let line = |n| format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n");
        let lines: String = (0..1_000).map(|n| line(round % 10 * 1_000 + n)).collect();
        let media = [("Content-Type", "application/x-ndjson")];
        let answer = writer.request("POST", &format!("{path}/keys"), &media, lines.as_bytes());
        assert_eq!(answer.status, 201);
    }
    let cache = cache_of(&origin, "one").start();
    // A state has no length, so each is asked over a connection of its own.
    let get = |target: &str| cache.client().get(target);
    let targets = ["/tenants/one", "/tenants/one/changes?limit=1", "/tenants/one/collections/c"]
        .map(ToOwned::to_owned);
    let states =
        [format!("{path}/state"), "/tenants/one/state".to_owned(), format!("{path}/keys/k7")];
    // It may be asked before it has caught up.
    for target in targets.iter().chain(&states).cycle() {
        let answer = get(target);
        if answer.status == 200 {
            break;
        }
        let detail = answer.problem(503, "behind")["detail"].to_string();
        assert!(detail.contains("it holds changes up to"), "{detail}");
    }
    for target in targets.iter().chain(&states) {
        assert_eq!(get(target).status, 200, "{target}");
    }
}
