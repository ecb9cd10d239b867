//! What the program says as a client: of each further try, and of what to do next.

use std::{
    net::TcpListener,
    thread::spawn,
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{Fake, Fault, NodeBuilder, eventually, file, run, temporary};

use crate::tokens::Site;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn each_further_try_is_said_and_that_a_refused_connection_changed_nothing() {
    let ended = run(NOBODY, &["post", "--data", "1", "--retries", "2"]);
    ended.fails_saying(&[NOBODY, "refused", "it did not happen"]);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, number) in lines.iter().zip(["1 of 2", "2 of 2"]) {
        assert!(line.contains(NOBODY) && line.contains("refused"), "{line}");
        assert!(line.contains("; trying again in ") && line.ends_with(number), "{line}");
    }
}

#[test]
fn what_is_known_of_a_write_is_said_with_its_failure() {
    let directory = temporary();
    let path = file(directory.path(), "in", "{\"data\":1}\n");
    let import = ["import", path.to_str().unwrap(), "--retries", "0"];
    let token = ["token", "create", "--name", "n", "--role", "read", "--retries", "0"];
    for (arguments, fault, words) in [
        (&import[..], Fault::Busy, "it did not happen"),
        (&import, Fault::HangUp, "it may have happened: the same command settles it"),
        (&token, Fault::Busy, "503 overloaded"),
    ] {
        let fake = Fake::start(&[(1, fault)]);
        let _ = std::fs::remove_file(directory.path().join("in.import"));
        run(fake.url(), arguments).fails_saying(&[words]);
    }
    run(NOBODY, &token).fails_saying(&["refused", "it did not happen"]);
}

#[test]
fn a_change_of_the_members_keeps_to_its_time_whatever_it_waits_for() {
    let begun = Instant::now();
    let timeout = ["--timeout", "300ms"];
    let ended = run(NOBODY, &[&["members", "remove", "3"], &timeout[..]].concat());
    ended.fails_saying(&["refused", "--timeout leaves no time", "it did not happen"]);
    let fake = Fake::start(&[(1, Fault::Stall)]);
    fake.membership(|cluster| cluster.put(2, true, 9));
    let ended = run(fake.url(), &[&["members", "remove", "2"], &timeout[..]].concat());
    ended.fails_saying(&["DELETE ", "no answer in time", "not done after 300ms"]);
    let fake = Fake::start(&[]);
    fake.membership(|cluster| cluster.leader = None);
    let ended = run(fake.url(), &[&["members", "remove", "1"], &timeout[..]].concat());
    ended.fails_saying(&["no leader within --timeout", "it did not happen"]);
    let first = ended.stderr.lines().next().unwrap();
    assert!(first.contains("no leader; trying again for 0.3 s"), "{first}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_token_of_a_tenant_hears_that_it_needs_a_tenant() {
    let site = Site::start();
    let directory = temporary();
    let token = site.token("admin", &json!({"tenant": "acme"})).token;
    let token = file(directory.path(), "token", &token);
    let shown = ["--token-file", token.to_str().unwrap()];
    let url = site.node.url();
    let says = |arguments: &[&str], word: &str| {
        run(&url, &[arguments, &shown].concat()).fails_saying(&["404 not-found", word]);
    };
    for arguments in [&["tail"][..], &["export"], &["post", "--data", "1"]] {
        says(arguments, "a token of a tenant needs --tenant T");
    }
    says(&["members", "list"], "not good for what concerns the whole node");
    run(&url, &[&["tail", "--tenant", "acme"], &shown[..]].concat()).ok();
    // What there is to see of the node at all is shown.
    let status = run(&url, &[&["status"], &shown[..]].concat()).ok();
    assert!(status.contains("ready      yes"), "{status}");
}

#[test]
fn a_node_that_joins_where_no_node_is_says_what_answers_there() {
    let cluster = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let join = format!("{},{}", cluster.local_addr().unwrap(), web.local_addr().unwrap());
    // A cluster port ends connections that do not begin as those of nodes do.
    spawn(move || cluster.incoming().for_each(drop));
    spawn(move || {
        for stream in web.incoming() {
            use std::io::{Read as _, Write as _};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 404 Not Found\r\nServer: other/1.0\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: 0\r\n\r\n");
        }
    });
    let node = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0", "--join", &join]);
    let node = node.start();
    for words in [
        "as a cluster port does: give the address where clients reach a node",
        "an HTTP server (other/1.0) that is no ChangeAgent answers 404 there",
    ] {
        eventually(words, || node.stderr().contains(words));
    }
}
