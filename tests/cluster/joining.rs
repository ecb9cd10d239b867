//! What a node does with an address that it was given: anybody may give one.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread::{JoinHandle, spawn},
};

use serde_json::json;

use testkit::{Client, Node, NodeBuilder, PATIENCE, cluster::Cluster};

/// Where something answers one connection with these bytes, after it has read a
/// request's head.
fn answering(bytes: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        // Whoever reads no more closes.
        let _ = stream.write_all(&bytes);
    });
    (address, thread)
}

/// Where somebody listens whom nobody should call.
fn uncalled() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn assert_uncalled(listener: &TcpListener) {
    let error = listener.accept().expect_err("somebody called");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// A node, and the refusal of what is at `address`, without that.
fn refusal(client: &mut Client, address: SocketAddr) -> (u16, String) {
    let body = json!({"address": address.to_string()}).to_string();
    let answer = client.json("POST", "/cluster/members", body);
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    (answer.status, detail.replace(&address.to_string(), "HERE"))
}

fn node(environment: &[(&str, String)]) -> Node {
    let builder = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]);
    let with =
        |builder: NodeBuilder, (name, value): &(&str, String)| builder.environment(name, value);
    environment.iter().fold(builder, with).start()
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

#[test]
fn a_refusal_tells_nothing_of_what_is_at_an_address() {
    let node = node(&[]);
    let mut client = node.client();
    let elsewhere = uncalled();
    let location = format!("Location: http://{}/cluster\r\n", elsewhere.local_addr().unwrap());
    let probe = json!({"cluster": uuid::Uuid::new_v4(), "node": 1, "members": []}).to_string();
    let large = format!("{{\"x\":\"{}\",{}", "x".repeat(1 << 20), &probe[1..]);
    let answers = [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        Vec::new(),
        http("302 Found", &location, ""),
        http("307 Temporary Redirect", &location, ""),
        http("401 Unauthorized", "", &probe),
        http("200 OK", "", "<html>a secret</html>"),
        http("200 OK", "", &large),
    ];
    let closed = uncalled().local_addr().unwrap();
    let (status, want) = refusal(&mut client, closed);
    assert_eq!(status, 400);
    for bytes in answers {
        let (address, thread) = answering(bytes);
        assert_eq!(refusal(&mut client, address), (status, want.clone()));
        thread.join().unwrap();
    }
    assert_uncalled(&elsewhere);
    let said = node.stderr();
    assert!(said.contains("the node there does not say who it is"), "{said}");
}

#[test]
fn a_refusal_tells_nothing_of_a_cluster_address_either() {
    let node = node(&[]);
    let mut client = node.client();
    let mut refused = |cluster_address: SocketAddr| {
        let member = json!({"id": 1, "cluster_address": cluster_address.to_string()});
        let probe = json!({"cluster": uuid::Uuid::new_v4(), "node": 1, "members": [member]});
        let (address, thread) = answering(http("200 OK", "", &probe.to_string()));
        let (status, detail) = refusal(&mut client, address);
        thread.join().unwrap();
        (status, detail)
    };
    let (banner, thread) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let banner = b"SSH-2.0-OpenSSH_9.2 and more text than the first words of a node have\r\n";
        (address, spawn(move || listener.accept().unwrap().0.write_all(banner).unwrap()))
    };
    let closed = uncalled().local_addr().unwrap();
    let want = refused(closed);
    assert_eq!(want.0, 412, "{want:?}");
    assert_eq!(refused(banner), want);
    thread.join().unwrap();
}

#[test]
fn nodes_are_asked_without_a_proxy() {
    let proxy = uncalled();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    let node = node(&names.map(|name| (name, url.clone())));
    let closed = uncalled().local_addr().unwrap();
    assert_eq!(refusal(&mut node.client(), closed).0, 400);
    assert_uncalled(&proxy);
}

#[test]
fn an_address_has_a_host_and_a_port_alone() {
    let node = node(&[]);
    let mut client = node.client();
    for address in ["h:1/path", "u@h:1", "h:1?q", "h:1#f", "a b:1", "h", "h:0"] {
        let answer =
            client.json("POST", "/cluster/members", json!({"address": address}).to_string());
        assert_eq!(answer.status, 400, "{address}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("HOST:PORT"), "{address}: {detail}");
    }
}

#[test]
fn nodes_that_find_each_other_and_join_log_no_warning() {
    let cluster = Cluster::start(3);
    let mut client = cluster.client(0);
    client.append(r#"{"data":1}"#);
    for number in 0..3 {
        cluster.catches_up(number);
        let said = cluster.node(number).stderr();
        let loud = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        assert_eq!(said.lines().find(loud), None, "node {number}: {said}");
    }
}

/// Two places that answer differently, again and again.
#[test]
fn why_a_node_is_not_taken_in_is_logged_once_for_each_place() {
    let answers = ["one", "other"].map(|name| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, times) = mpsc::channel();
        spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("Server: {name}\r\nConnection: close\r\n");
                let _ = stream.write_all(&http("404 Not Found", &head, ""));
                if asked.send(()).is_err() {
                    return;
                }
            }
        });
        (address, times)
    });
    let join = answers.each_ref().map(|(address, _)| address.to_string()).join(",");
    let node = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0", "--join", &join]);
    let node = node.start();
    for (_, times) in &answers {
        (0..3).for_each(|_| times.recv_timeout(PATIENCE).unwrap());
    }
    let said = node.stderr();
    for name in ["(one)", "(other)"] {
        assert_eq!(said.matches(name).count(), 1, "{said}");
    }
}
