//! A node behind a reverse proxy with the settings that docs/operations.md names.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use testkit::{Client, Node, Stream, Temporary, eventually, installed, temporary};

/// The settings, as they are published.
fn published() -> String {
    let text = include_str!("../../docs/operations.md");
    let (_, rest) = text.split_once("```nginx\n").expect("a block of nginx's settings");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// nginx in front of a node, with a cache that keeps everything that it may.
struct Nginx {
    process: Child,
    address: SocketAddr,
    directory: Temporary,
}

impl Nginx {
    /// Starts it; nothing where none is installed, which was said then.
    fn before(node: &Node) -> Option<Self> {
        let program = installed("nginx")?;
        let directory = temporary();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = published();
        for place in ["server 127.0.0.1:9000;", "listen 80;", "proxy_read_timeout 310s;"] {
            assert_eq!(settings.matches(place).count(), 1, "{place}");
        }
        let settings = settings
            .replace("server 127.0.0.1:9000;", &format!("server {};", node.address()))
            .replace("listen 80;", &format!("listen {address};"));
        let place = directory.path().display();
        let temporary_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};\n"))
            .concat();
        let all = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary_paths}\
             proxy_cache_path {place}/cache keys_zone=all:1m;\nproxy_cache all;\n\
             proxy_cache_valid any 10m;\nadd_header X-Cache $upstream_cache_status always;\n\
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
