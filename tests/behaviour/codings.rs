//! Content codings: answers and streams that are compressed, and bodies that come so.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};

use testkit::{Answer, Bar, Client, Node, PATIENCE, Stream};

fn fill(client: &mut Client, count: usize) {
    for n in 0..count {
        client.append(format!("{{\"data\":{{\"n\":{n},\"text\":\"{}\"}}}}", "text ".repeat(20)));
    }
}

fn asked(client: &mut Client, target: &str, accept: &str) -> Answer {
    client.request("GET", target, &[("Accept-Encoding", accept)], b"")
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    match answer.header("content-encoding") {
        Some("gzip") => drop(GzDecoder::new(&answer.body[..]).read_to_end(&mut body).unwrap()),
        Some("zstd") => body = zstd::decode_all(&answer.body[..]).unwrap(),
        None => body.clone_from(&answer.body),
        other => panic!("{other:?}"),
    }
    body
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn large_answers_are_compressed_for_who_takes_that() {
    let node = Node::start();
    let mut client = node.client();
    fill(&mut client, 100);
    for target in ["/changes", "/changes?before=now", "/openapi.json", "/metrics"] {
        let plain = client.get(target);
        assert_eq!(plain.header("content-encoding"), None);
        let vary = plain.header("vary").unwrap();
        assert!(vary.contains("Accept-Encoding"), "{target}: {vary}");
        for (accept, coding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip;q=1, zstd;q=0.5", Some("gzip")),
            ("br", None),
            ("identity", None),
        ] {
            let answer = asked(&mut client, target, accept);
            assert_eq!(answer.header("content-encoding"), coding, "{target} {accept}");
            assert_eq!(answer.header("vary"), Some(vary), "{target} {accept}");
            assert_eq!(answer.header("content-type"), plain.header("content-type"));
            if target != "/metrics" {
                assert!(unpacked(&answer) == plain.body, "{target} {accept}");
            }
            if coding.is_some() {
                assert!(answer.body.len() < plain.body.len() / 2, "{target} {accept}");
            }
        }
    }
    for target in ["/changes?limit=1", "/changes/1", "/cluster", "/nothing"] {
        let answer = asked(&mut client, target, "gzip, zstd");
        assert_eq!(answer.header("content-encoding"), None, "{target} is small");
    }
    let headers = [("Accept-Encoding", "gzip")];
    let head = {
        client.send_request("HEAD", "/changes", &headers, b"");
        client.answer_to_head()
    };
    let got = client.request("GET", "/changes", &headers, b"");
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!(head.header("content-length"), got.header("content-length"));
}

#[test]
fn a_compressed_stream_gives_each_change_as_it_comes() {
    let node = Node::start();
    let mut client = node.client();
    fill(&mut client, 300);
    for coding in ["gzip", "zstd"] {
        let headers = [("Accept", "text/event-stream"), ("Accept-Encoding", coding)];
        let stream = Stream::open_with(node.client(), "/changes?since=5", &headers);
        assert_eq!(stream.head.header("content-encoding"), Some(coding));
        assert_eq!(stream.head.header("vary"), Some("Accept, Accept-Encoding"));
        let mut stream = match coding {
            "gzip" => stream.decoded(GzDecoder::new),
            _ => stream.decoded(|body| zstd::Decoder::new(body).unwrap()),
        };
        assert_eq!(stream.cursor(), 5);
        let mut last = 5;
        for _ in 0..20 {
            let newest = client.list("?since=now")["last"].as_u64().unwrap();
            while last < newest {
                let event = stream.event().expect("it goes on");
                assert_eq!(event.id, last + 1);
                assert_eq!(event.data, client.get(&format!("/changes/{}", event.id)).text());
                last = event.id;
            }
            client.append(r#"{"data":"one more"}"#);
        }
    }
}

#[test]
fn a_compressed_export_has_an_end_that_its_reader_checks() {
    let node = Node::start();
    let mut client = node.client();
    let headers = |coding| [("Accept", "application/x-ndjson"), ("Accept-Encoding", coding)];
    let decoded = |stream: Stream, coding: &str| match coding {
        "gzip" => stream.decoded(GzDecoder::new).changes(),
        _ => stream.decoded(|body| zstd::Decoder::new(body).unwrap()).changes(),
    };
    for count in [0, 400] {
        fill(&mut client, count);
        let plain = Stream::open(node.client(), "/changes", "application/x-ndjson").changes();
        assert_eq!(plain.len(), count);
        for coding in ["gzip", "zstd"] {
            let stream = Stream::open_with(node.client(), "/changes", &headers(coding));
            assert_eq!(decoded(stream, coding), plain, "{coding}");
        }
    }
}

#[test]
fn curl_reads_what_is_compressed() {
    let node = Node::start();
    fill(&mut node.client(), 50);
    let url = format!("{}/changes", node.url());
    let output = |arguments: &[&str]| {
        let output = std::process::Command::new("curl").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = output(&["-s", &url]);
    assert_eq!(output(&["-s", "--compressed", &url]), plain);
    let lines = ["-s", "-H", "Accept: application/x-ndjson"];
    let plain = output(&[&lines[..], &[&url]].concat());
    assert_eq!(output(&[&lines[..], &["--compressed", &url]].concat()), plain);
    let zstd = ["-H", "Accept-Encoding: zstd", "--compressed"];
    assert_eq!(output(&[&lines[..], &zstd, &[&url]].concat()), plain);
}

#[test]
fn a_body_may_come_compressed() {
    let mut bar = Bar::start();
    let key = bar.key("k");
    let json = ("Content-Type", "application/json");
    let mut lines = String::new();
    for n in 0..200 {
        lines += &format!("{{\"data\":\"{n} {}\"}}\n", "x".repeat(50));
    }
    let client = &mut bar.client;
    let mut last = 0;
    for coding in ["gzip", "x-gzip", "zstd", "ZSTD"] {
        let packed = |body: &[u8]| match coding {
            "gzip" | "x-gzip" => gzipped(body),
            _ => zstd::encode_all(body, 3).unwrap(),
        };
        let header = ("Content-Encoding", coding);
        let body = packed(br#"{"data":{"packed":true}}"#);
        let answer = client.request("POST", "/changes", &[json, header], &body);
        assert_eq!(answer.json(), json!({"_id": last + 1}), "{coding}");
        assert_eq!(client.get(&format!("/changes/{}", last + 1)).json()["data"]["packed"], true);
        let answer = client.request("PUT", &key, &[json, header], &packed(br#"{"data":1}"#));
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let many = [("Content-Type", "application/x-ndjson"), header];
        let answer = client.request("POST", "/changes", &many, &packed(lines.as_bytes()));
        assert_eq!(answer.json()["count"], 200);
        last += 202;
    }
    // What it is packed by makes no other request of it.
    let once = ("Idempotency-Key", "once");
    let body = br#"{"data":"once"}"#;
    let first = client.request("POST", "/changes", &[json, once], body).id();
    let headers = [json, once, ("Content-Encoding", "gzip")];
    assert_eq!(client.request("POST", "/changes", &headers, &gzipped(body)).id(), first);
}

#[test]
fn a_body_that_cannot_be_unpacked_or_is_too_large_then_is_refused() {
    let node = Node::with(&["--max-body", "1MiB"]);
    let mut client = node.client();
    let small = br#"{"data":1}"#;
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(2 << 20));
    let large = large.as_bytes();
    let cut = |mut body: Vec<u8>| {
        body.truncate(body.len() - 5);
        body
    };
    for (coding, body, status, code) in [
        ("gzip", small.to_vec(), 415, "unsupported-media-type"),
        ("zstd", small.to_vec(), 415, "unsupported-media-type"),
        ("gzip", cut(gzipped(small)), 415, "unsupported-media-type"),
        ("zstd", cut(zstd::encode_all(&small[..], 1).unwrap()), 415, "unsupported-media-type"),
        ("br", small.to_vec(), 415, "unsupported-media-type"),
        ("gzip, gzip", gzipped(&gzipped(small)), 415, "unsupported-media-type"),
        ("gzip", gzipped(large), 413, "too-large"),
        ("zstd", zstd::encode_all(large, 1).unwrap(), 413, "too-large"),
    ] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
        let mut client = node.client();
        let problem = client.request("POST", "/changes", &headers, &body).problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        let word = if status == 413 { "1048576" } else { coding };
        assert!(detail.contains(word), "{coding}: {detail}");
    }
    // A few kilobytes that would fill the memory of a node.
    let bomb = zstd::encode_all(std::io::repeat(b' ').take(256 << 20), 1).unwrap();
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let before = node.memory();
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "zstd")];
    client.request("POST", "/changes", &headers, &bomb).problem(413, "too-large");
    assert!(node.memory() < before + (64 << 20), "{} and {before}", node.memory());
    assert_eq!(client.list("")["last"], Value::from(0));
    assert!(!client.hears_within(Duration::from_millis(1)));
}

#[test]
fn what_many_bodies_unpack_to_is_no_more_than_the_node_may_hold() {
    let bounds = ["--max-held", "32MiB", "--max-body", "16MiB", "--segment-size", "64MiB"];
    let node = Node::with(&[&bounds[..], &["--cores", "1"]].concat());
    let body = gzipped(&vec![b' '; 15 << 20]);
    let head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let ask = |target: &str| {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        stream
    };
    let status = |mut stream: TcpStream| {
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        String::from_utf8_lossy(&start[9..]).into_owned()
    };
    let before = node.memory_peak();
    let asked: Vec<TcpStream> = (0..60).map(|_| ask("/changes")).collect();
    let statuses: Vec<String> = asked.into_iter().map(status).collect();
    let (refused, full) = (|s: &String| s == "400", |s: &String| s == "503");
    assert!(statuses.iter().all(|s| refused(s) || full(s)), "{statuses:?}");
    assert!(statuses.iter().any(full), "{statuses:?}");
    // While one grows, it is there twice; and the allocator keeps some of what was freed.
    let taken = node.memory_peak() - before;
    assert!(taken < 256 << 20, "{taken}");
    // What is refused whatever its body is, is not unpacked.
    assert_eq!(status(ask("/nothing")), "404");
    // There is room again.
    assert_eq!(node.client().post(r#"{"data":1}"#).status, 201);
}
