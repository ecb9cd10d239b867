//! A node under systemd: it says when it listens and when it stops, by datagrams to the socket that it is given.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use testkit::{Node, NodeBuilder, PATIENCE};

/// The next datagram, as its lines.
fn next(socket: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 1024];
    let length = socket.recv(&mut bytes).expect("the node says something");
    String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
}

/// Starts a node that is told of the socket, and stops it.
fn tells_of_itself(socket: &UnixDatagram, name: &str, builder: NodeBuilder) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let node = builder.environment("NOTIFY_SOCKET", name).start();
    let listening = format!("STATUS=listening {}", node.url());
    assert_eq!(next(socket), ["READY=1", &listening]);
    node.holds(0);
    // Nothing more is said while it runs: what comes next is the stop.
    node.stop();
    assert_eq!(next(socket), ["STOPPING=1", "STATUS=stopping"]);
    socket.set_nonblocking(true).unwrap();
    let more = socket.recv(&mut [0; 1024]).unwrap_err();
    assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_supervisor_hears_that_the_node_listens_and_that_it_stops() {
    let builder = NodeBuilder::new();
    let path = builder.directory().path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    tells_of_itself(&socket, path.to_str().unwrap(), builder);
}

#[test]
fn a_supervisor_may_have_an_abstract_socket() {
    let name = format!("changeagent-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    tells_of_itself(&socket, &format!("@{name}"), NodeBuilder::new().flags(&["--cores", "2"]));
}

#[test]
fn a_supervisor_that_is_not_there_is_told_of_in_the_log_and_does_no_harm() {
    let node = NodeBuilder::new().environment("NOTIFY_SOCKET", "/nowhere/notify").start();
    node.holds(0);
    let said = "the supervisor that NOTIFY_SOCKET names cannot be told";
    testkit::eventually("it is told of", || node.stderr().contains(said));
    assert_eq!(Node::stop(node).start().client().get("/health").status, 200);
}
