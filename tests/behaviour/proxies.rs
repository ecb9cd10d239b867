//! A node behind a reverse proxy with the settings that docs/operations.md names.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use testkit::{
    Answer, Client, Node, NodeBuilder, PATIENCE, Relay, SHORT_SEGMENTS, Stream, Temporary,
    cluster::Cluster, eventually, installed, run, temporary,
};

/// The settings, as they are published: those without a cache, and those with one.
fn published() -> [String; 2] {
    let text = include_str!("../../docs/operations.md");
    let mut blocks = text.split("```nginx\n").skip(1).map(|rest| {
        let block = rest.split_once("```").expect("its end").0;
        block.to_owned()
    });
    std::array::from_fn(|_| blocks.next().expect("a block of nginx's settings"))
}

/// nginx in front of a node, with a cache that keeps everything that it may.
struct Nginx {
    process: Child,
    address: SocketAddr,
    directory: Temporary,
}

impl Nginx {
    /// Starts it, with a cache that keeps what it may of all; nothing where none is installed, which
    /// was said then.
    fn before(node: &Node) -> Option<Self> {
        let [settings, _] = published();
        let cache = "proxy_cache_path DIRECTORY/cache keys_zone=all:1m;\nproxy_cache all;\n\
                     proxy_cache_valid any 10m;\n";
        Self::start(node.address(), &format!("{cache}{settings}"))
    }

    /// Starts it with the cache whose settings are published.
    fn caching(before: SocketAddr) -> Option<Self> {
        Self::caching_of(&[before])
    }

    /// The same before several nodes.
    fn caching_of(before: &[SocketAddr]) -> Option<Self> {
        let [_, settings] = published();
        let place = "/var/cache/nginx/changes";
        assert_eq!(settings.matches(place).count(), 1);
        Self::start_before(before, &settings.replace(place, "DIRECTORY/cache"))
    }

    fn start(before: SocketAddr, settings: &str) -> Option<Self> {
        Self::start_before(&[before], settings)
    }

    fn start_before(before: &[SocketAddr], settings: &str) -> Option<Self> {
        let program = installed("nginx")?;
        let directory = temporary();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for place in ["server 127.0.0.1:9000;", "listen 80;", "proxy_read_timeout 310s;"] {
            assert_eq!(settings.matches(place).count(), 1, "{place}");
        }
        let servers: String = before.iter().map(|node| format!("server {node};\n")).collect();
        let settings = settings
            .replace("server 127.0.0.1:9000;", &servers)
            .replace("listen 80;", &format!("listen {address};"));
        let place = directory.path().display();
        let settings = settings.replace("DIRECTORY", &place.to_string());
        let temporary_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};\n"))
            .concat();
        let all = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\n\
             events {{ worker_connections 2048; }}\n\
             http {{\naccess_log off;\n{temporary_paths}\
             add_header X-Cache $upstream_cache_status always;\n\
             {settings}}}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, all).unwrap();
        let stderr = std::fs::File::create(directory.path().join("stderr")).unwrap();
        let process = Command::new(program)
            .args(["-e", "stderr", "-p"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut nginx = Self { process, address, directory };
        eventually("nginx listens", || {
            let ended = nginx.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", nginx.said());
            TcpStream::connect(address).is_ok()
        });
        Some(nginx)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One that may be told of trouble.
    fn try_client(&self) -> Client {
        Client::try_connect(self.address, PATIENCE).expect("nginx runs")
    }

    /// Removes all that it keeps, as an operator does.
    fn clear(&self) {
        for file in std::fs::read_dir(self.directory.path().join("cache")).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("nginx said:\n{}", self.said());
        }
    }
}

#[test]
fn streams_come_through_as_they_are_written() {
    let node = Node::start();
    let Some(nginx) = Nginx::before(&node) else { return };
    let mut client = nginx.client();
    client.append(r#"{"data":1}"#);
    let mut events = Stream::open(nginx.client(), "/changes", "text/event-stream");
    assert_eq!(events.cursor(), 0);
    assert_eq!(events.event().map(|event| event.id), Some(1));
    let target = "/changes?block=60&cursors=true&since=now";
    let mut lines = Stream::open(nginx.client(), target, "application/x-ndjson");
    assert_eq!(lines.line().as_deref(), Some("{\"last\":1}"));
    let start = Instant::now();
    for id in 2..=5 {
        client.append(r#"{"data":"next"}"#);
        assert_eq!(events.event().map(|event| event.id), Some(id));
        assert!(lines.change().is_some_and(|line| line.contains(&format!("\"_id\":{id},"))));
    }
    // What is held back comes with the next heartbeat at best.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_read_that_waits_is_answered_and_no_cache_keeps_what_is_of_one_moment() {
    let node = Node::start();
    let Some(nginx) = Nginx::before(&node) else { return };
    let mut client = nginx.client();
    for id in 1..=3 {
        let mut waiting = nginx.client();
        let target = format!("/changes?since={}&block=60", id - 1);
        // Nothing is there yet, and that is not to be kept either.
        assert_eq!(client.list(&format!("?since={}", id - 1))["changes"], json!([]));
        waiting.send_request("GET", &target, &[], b"");
        client.append(r#"{"data":1}"#);
        assert_eq!(waiting.answer().json()["last"], id);
        for target in ["/changes", &format!("/changes?since={}", id - 1)] {
            let answer = client.get(target);
            assert_eq!(answer.json()["last"], id, "{target}: {answer:?}");
            assert_ne!(answer.header("x-cache"), Some("HIT"));
        }
        client.get("/changes/9").problem(404, "not-found");
    }
    let lines = Stream::open(nginx.client(), "/changes", "application/jsonl");
    assert_eq!(lines.changes().len(), 3, "another form is another answer");
    assert_eq!(client.get("/changes").header("content-type"), Some("application/json"));
}

#[test]
fn keys_and_large_bodies_come_through_as_they_are() {
    let node = Node::with(&["--max-body", "16MiB", "--segment-size", "64MiB"]);
    let Some(nginx) = Nginx::before(&node) else { return };
    let mut client = nginx.client();
    client.tenant("foo");
    let keys = format!("/collections/{}/keys", client.collection("foo", "bar"));
    for key in ["a%2Fb", "..%2F", "%2E", "a%3Fb%23", "%25", "a+b", "%C3%A9"] {
        let path = format!("{keys}/{key}");
        let id = client.put(&path, "{\"data\":1}").id();
        let answer = node.client().get(&path);
        assert_eq!((answer.status, &answer.json()["_id"]), (200, &json!(id)), "{key}");
        for data in 2..4 {
            assert_eq!(client.get(&path).status, 200, "{key}");
            client.put(&path, format!("{{\"data\":{data}}}")).id();
            assert_eq!(client.get(&path).json()["data"], data, "{key}");
        }
    }
    let one = format!("{{\"data\":\"{}\"}}", "x".repeat(900_000));
    let answer = client.post(format!("[{one},{one},{one}]"));
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn an_answer_that_breaks_off_does_so_behind_the_proxy_too() {
    let node = Node::start();
    let Some(nginx) = Nginx::before(&node) else { return };
    let mut client = node.client();
    client.tenant("a");
    let line = format!("{{\"tenant\":\"a\",\"data\":\"{}\"}}\n", "x".repeat(1800));
    for _ in 0..40 {
        assert_eq!(client.post_lines("/changes", &line.repeat(500)).status, 201);
    }
    let mut export = Stream::open(nginx.client(), "/tenants/a/changes", "application/x-ndjson");
    assert!(export.change().is_some());
    client.delete("/tenants/a").id();
    let end = loop {
        match export.try_line() {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "it ends as if it were whole");
}

/// How many reads a node has answered, but for this one.
fn reads(node: &Node) -> u64 {
    let metrics = node.client().get("/metrics");
    let of_get = |line: &&str| line.starts_with("changeagent_requests_total{method=\"GET\"");
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    metrics.text().lines().filter(of_get).map(count).sum()
}

fn history(client: &mut Client) -> String {
    client.get("/health").header("changeagent-cluster").unwrap().to_owned()
}

/// Sends each request on a connection of its own, all at once, and gives the bodies of the answers.
fn all_at_once(address: SocketAddr, targets: &[String]) -> Vec<String> {
    let mut clients: Vec<Client> = targets.iter().map(|_| Client::connect(address)).collect();
    for (client, target) in clients.iter_mut().zip(targets) {
        client.send_request("GET", target, &[], b"");
    }
    clients.iter_mut().map(|client| client.answer().text().to_owned()).collect()
}

#[test]
fn a_thousand_clients_cost_the_node_one_read_of_each_page() {
    const PAGES: usize = 100;
    let node = Node::start();
    let Some(nginx) = Nginx::caching(node.address()) else { return };
    let mut direct = node.client();
    let changes = "{\"data\":\"x\"}\n".repeat(5 * PAGES + 10);
    for _ in 0..2 {
        assert_eq!(direct.post_lines("/changes", &changes).status, 201);
    }
    let cluster = history(&mut direct);
    let page = |n: usize| format!("/changes?since={}&limit=10&cluster={cluster}", 1 + 10 * n);
    let before = reads(&node);
    let of_metrics = reads(&node) - before;
    // A quarter of them at a time, each page asked for by many that find it nowhere yet.
    let mut seen: Vec<Option<String>> = vec![None; PAGES];
    for clients in 0..4 {
        let numbers: Vec<usize> = (0..250).map(|n| (clients * 50 + n) % PAGES).collect();
        let targets: Vec<String> = numbers.iter().map(|&n| page(n)).collect();
        for (n, body) in numbers.into_iter().zip(all_at_once(nginx.address, &targets)) {
            assert!(body.contains(&format!("{{\"_id\":{},", 2 + 10 * n)), "{n}: {body}");
            assert!(body.contains("\"atEnd\":false"), "{body}");
            assert_eq!(seen[n].get_or_insert_with(|| body.clone()), &body);
        }
    }
    assert_eq!(reads(&node) - before - 2 * of_metrics, PAGES as u64);
    for n in 0..PAGES {
        let kept = nginx.client().get(&page(n));
        assert_eq!(kept.header("x-cache"), Some("HIT"));
        assert_eq!(kept.text(), direct.get(&page(n)).text());
    }
}

#[test]
fn a_cache_shows_nothing_that_is_not_so_any_more() {
    let node = Node::start();
    let Some(nginx) = Nginx::caching(node.address()) else { return };
    let (mut client, mut direct) = (nginx.client(), node.client());
    let cluster = history(&mut direct);
    for id in 1..=30 {
        let last = format!("/changes?since={}&cluster={cluster}", id - 1);
        // Nobody is shown that nothing is there once something is.
        assert_eq!(client.get(&last).json()["last"], id - 1);
        assert_eq!(direct.append("{\"data\":1}"), id);
        let answer = client.get(&last);
        assert_eq!(answer.json()["last"], id, "{answer:?}");
    }
    // A page at the end of its list is as old as a second, and no older.
    let end = format!("/changes?since=25&cluster={cluster}");
    eventually("it is shown whole", || client.get(&end).json()["last"] == 30);
    direct.append("{\"data\":1}");
    eventually("what is new is shown", || client.get(&end).json()["last"] == 31);
    // Those who wait for the same change do not wait for each other.
    let wait = format!("/changes?since=31&block=60&cluster={cluster}");
    let waiting = thread::scope(|scope| {
        let (address, waits) = (nginx.address, vec![wait.clone(); 20]);
        let waiting = scope.spawn(move || all_at_once(address, &waits));
        eventually("all of them wait", || node.client().parked() == 20);
        let begun = Instant::now();
        direct.append("{\"data\":1}");
        (waiting.join().unwrap(), begun.elapsed())
    });
    assert!(waiting.0.iter().all(|body| body.contains("\"last\":32")), "{:?}", waiting.0);
    // As long as the lock of a cache would hold them up.
    assert!(waiting.1 < Duration::from_secs(5), "{:?}", waiting.1);
}

#[test]
fn a_cache_outlives_retention_and_another_history_without_a_wrong_page() {
    let flags = ["--retain-min-changes", "200", "--retain-min-age", "1s"];
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start();
    let relay = Relay::start(node.address());
    let Some(nginx) = Nginx::caching(relay.address()) else { return };
    let mut client = nginx.client();
    let mut direct = node.client();
    let cluster = history(&mut direct);
    let lines = format!("{{\"data\":\"{}\"}}\n", "x".repeat(500)).repeat(90);
    assert_eq!(direct.post_lines("/changes", &lines).status, 201);
    let page = |since: u64| format!("/changes?since={since}&limit=10&cluster={cluster}");
    let kept = client.get(&page(5)).text().to_owned();
    eventually("the beginning is purged", || {
        assert_eq!(direct.post_lines("/changes", &lines).status, 201);
        direct.get(&page(6)).status == 410
    });
    // What is kept is still true of that history; what is not is refused, and that is not kept.
    let shown = |client: &mut Client, since: u64| {
        let answer = client.get(&page(since));
        (answer.status, answer.header("x-cache") == Some("HIT"), answer.text().to_owned())
    };
    assert_eq!(shown(&mut client, 5), (200, true, kept.clone()));
    for _ in 0..2 {
        assert!(matches!(shown(&mut client, 6), (410, false, _)));
    }
    let last = direct.append("{\"data\":1}");
    // Another history where the node was, and the node again.
    let stopped = node.stop();
    let other = Node::start();
    relay.go_on(other.address());
    let mut client = nginx.client();
    assert_eq!(other.client().post_lines("/changes", &lines).status, 201);
    assert_eq!(shown(&mut client, 5), (200, true, kept.clone()));
    for _ in 0..2 {
        let refused = client.get(&page(last - 20));
        refused.problem(409, "other-history");
        assert_ne!(refused.header("x-cache"), Some("HIT"));
    }
    drop(other);
    let node = stopped.start();
    relay.go_on(node.address());
    let (status, is_hit, body) = shown(&mut nginx.client(), last - 20);
    assert_eq!((status, is_hit), (200, false));
    assert_eq!(body, node.client().get(&page(last - 20)).text());
    assert_eq!(shown(&mut nginx.client(), 5), (200, true, kept));
}

/// Whether an answer came of what is kept.
fn is_hit(answer: &Answer) -> bool {
    answer.header("x-cache") == Some("HIT")
}

#[test]
fn a_cache_shows_what_is_redacted_as_long_as_it_keeps_the_page_and_in_no_other() {
    let node = Node::start();
    let Some(nginx) = Nginx::caching(node.address()) else { return };
    let (mut client, mut direct) = (nginx.client(), node.client());
    let cluster = history(&mut direct);
    assert_eq!(direct.post_lines("/changes", &"{\"data\":\"secret\"}\n".repeat(30)).status, 201);
    let page =
        |since: u64, limit: u64| format!("/changes?since={since}&limit={limit}&cluster={cluster}");
    // One that is kept for long, and one at the end of its list.
    let (kept, end) = (page(1, 10), page(20, 100));
    let old = client.get(&kept).text().to_owned();
    assert!(client.get(&end).text().contains("secret"));
    for id in 1..=30 {
        assert_eq!(direct.request("POST", &format!("/changes/{id}/redact"), &[], b"").status, 200);
    }
    // What the settings say of it: it is shown until it is cleared.
    let shown = client.get(&kept);
    assert!(is_hit(&shown) && shown.text() == old, "{shown:?}");
    let other = client.get(&page(2, 10));
    assert!(!is_hit(&other) && !other.text().contains("secret"), "{other:?}");
    eventually("the end is asked for anew", || !client.get(&end).text().contains("secret"));
    assert_eq!(client.get(&end).text(), direct.get(&end).text());
    nginx.clear();
    let anew = client.get(&kept);
    assert_eq!((is_hit(&anew), anew.text()), (false, direct.get(&kept).text()));
}

#[test]
fn a_cache_shows_nothing_of_a_history_that_a_restore_has_cut_off() {
    let directory = temporary();
    let [out, data] = ["backup", "restored"].map(|name| directory.path().join(name));
    let [out, data] = [&out, &data].map(|path| path.to_str().unwrap());
    let node = Node::start();
    let relay = Relay::start(node.address());
    let Some(nginx) = Nginx::caching(relay.address()) else { return };
    let (mut client, mut direct) = (nginx.client(), node.client());
    let write = |client: &mut Client, count: usize, data: &str| {
        let lines = format!("{{\"data\":\"{data}\"}}\n").repeat(count);
        assert_eq!(client.post_lines("/changes", &lines).status, 201);
    };
    let page =
        |cluster: &str, since: u64| format!("/changes?since={since}&limit=10&cluster={cluster}");
    write(&mut direct, 40, "before");
    run(&node.url(), &["backup", "--url", &node.url(), "--out", out]).ok();
    write(&mut direct, 40, "cut off");
    let old = history(&mut direct);
    let kept: Vec<String> =
        [5, 50].map(|since| client.get(&page(&old, since)).text().to_owned()).into();
    drop(node.kill());
    run("http://127.0.0.1:1", &["restore", "--from", out, "--data", data]).ok();
    let node = NodeBuilder::bare(&directory, std::path::Path::new(data)).start();
    relay.go_on(node.address());
    let (mut client, mut direct) = (nginx.client(), node.client());
    write(&mut direct, 40, "after");
    let new = history(&mut direct);
    assert_ne!(new, old);
    // Who asks for the new history is shown nothing of what is kept of the old one, nor else.
    for since in [5, 35, 50, 60] {
        let first = client.get(&page(&new, since));
        assert!(!is_hit(&first) && !first.text().contains("cut off"), "{first:?}");
        assert_eq!(first.text(), direct.get(&page(&new, since)).text());
        assert!(is_hit(&client.get(&page(&new, since))));
    }
    // Who asks for the old one is shown what was true of it, or told.
    for (since, kept) in [5, 50].into_iter().zip(&kept) {
        assert_eq!(client.get(&page(&old, since)).text(), kept);
    }
    let refused = client.get(&page(&old, 60));
    assert!(!is_hit(&refused));
    refused.problem(409, "other-history");
}

/// Writes once, by way of what may lose it, under a key, as often as it takes.
fn append_through(nginx: &Nginx, n: u64) {
    let (key, body) = (format!("w{n}"), format!("{{\"data\":{n}}}"));
    eventually("it is written", || {
        let headers = [("Idempotency-Key", &*key), ("Content-Type", "application/json")];
        let answer = nginx.try_client().try_request("POST", "/changes", &headers, body.as_bytes());
        answer.is_some_and(|answer| answer.status == 201)
    });
}

#[test]
fn a_cache_before_a_cluster_shows_a_list_without_a_gap_through_a_fail_over() {
    let mut cluster = Cluster::start(3);
    let Some(nginx) = Nginx::caching_of(&cluster.addresses()) else { return };
    let name = history(&mut cluster.client(0));
    let page = |since: u64| format!("/changes?since={since}&limit=5&cluster={name}");
    let (mut seen, mut written, mut pages) = (0, 0, BTreeMap::new());
    let mut follow = |upto: u64| {
        eventually("all that was written is shown", || {
            let answer = nginx.try_client().try_request("GET", &page(seen), &[], b"");
            let Some(answer) = answer.filter(|answer| answer.status == 200) else { return false };
            let list = answer.json();
            let changes = list["changes"].as_array().unwrap();
            assert!(!(changes.is_empty() && is_hit(&answer)), "nothing is no page to keep");
            for change in changes {
                seen += 1;
                assert_eq!(
                    (change["_id"].as_u64(), change["data"].as_u64()),
                    (Some(seen), Some(seen))
                );
            }
            if list["atEnd"] == false {
                let since = list["last"].as_u64().unwrap() - changes.len() as u64;
                pages.insert(since, answer.text().to_owned());
            }
            seen >= upto
        });
    };
    let mut write = |count: u64| {
        for _ in 0..count {
            written += 1;
            append_through(&nginx, written);
        }
        written
    };
    follow(write(12));
    for _ in 0..2 {
        let leader = cluster.leader();
        cluster.kill(leader);
        follow(write(12));
        cluster.restart(leader);
        follow(write(6));
    }
    // What is kept of it is what every node shows.
    let last = written;
    for node in 0..3 {
        let mut direct = cluster.client(node);
        let least = format!("/changes?limit=1&min_id={last}");
        eventually("it has all", || direct.get(&least).status == 200);
        for (since, body) in &pages {
            assert_eq!(direct.get(&page(*since)).text(), body);
        }
    }
    assert!(pages.len() > 3, "{} pages", pages.len());
    for (since, body) in &pages {
        // One that was at the end of the list when it was kept is asked for once more.
        eventually("it is kept", || {
            let answer = nginx.client().get(&page(*since));
            assert_eq!(answer.text(), body);
            is_hit(&answer)
        });
    }
}
