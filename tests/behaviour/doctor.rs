//! `changeagent doctor`: what it says of this machine.

use std::{fs, net::TcpListener};

use serde_json::Value;
use testkit::{Node, run, temporary};

/// What it finds, by what it looked at.
fn findings(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn it_tells_of_all_and_leaves_nothing_behind() {
    let (directory, node) = (temporary(), Node::start());
    let data = directory.path().to_str().unwrap();
    let url = node.url();
    let flags = ["doctor", "--json", "--data", data, "--peer", &url];
    let ended = run(&url, &flags);
    let found = findings(&ended.stdout);
    let whats: Vec<_> = found.iter().map(|it| it["what"].as_str().unwrap()).collect();
    for what in ["kernel", "io_uring", "open files", "clock", "file system", "room", "peer"] {
        assert!(whats.contains(&what), "{what} is missing: {ended:?}");
    }
    let of = |what: &str| found.iter().find(|it| it["what"] == what).unwrap();
    assert_eq!(of("peer")["verdict"], "ok");
    assert!(of("disk writes")["seen"].as_str().unwrap().contains("durable writes of 4 KiB"));
    for it in &found {
        assert_eq!(it["verdict"] == "ok", it["remedy"].is_null(), "{it}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_does_not_answer_and_what_cannot_be_written_is_bad() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let peer = format!("http://{closed}");
    // It writes nothing where a node would not, either.
    let ended = run(&peer, &["doctor", "--data", "/proc/none", "--peer", &peer]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no node runs well here: disk, peer"), "{ended:?}");
    let said: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("bad ")).collect();
    assert!(said.len() == 2 && said[1].contains(&closed.to_string()), "{ended:?}");
}
