//! Caches whose connections to their origin are cut.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use testkit::{Node, PATIENCE};

use super::cache_of;
use crate::caches::started;

/// A way to a node on which connections are cut that ask where a strong read stands, so often. Until then
/// nothing comes of what happens there.
#[derive(Default)]
struct Cutting {
    left: Mutex<u32>,
    changed: Condvar,
}

impl Cutting {
    /// That way, and where it begins.
    fn start(target: SocketAddr) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let way = Arc::<Self>::default();
        let of_thread = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (way, node) = (Arc::clone(&of_thread), TcpStream::connect(target).unwrap());
                thread::spawn(move || {
                    let _ = way.pass(&client, &node);
                    let _ = (client.shutdown(Shutdown::Both), node.shutdown(Shutdown::Both));
                });
            }
        });
        (way, url)
    }

    fn left(&self) -> MutexGuard<'_, u32> {
        self.left.lock().unwrap()
    }

    /// Passes requests on, each of which comes in one piece and is answered before the next.
    fn pass(&self, mut client: &TcpStream, mut node: &TcpStream) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let count = client.read(&mut bytes)?;
            let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if count == 0 || (request.contains("consistency=strong") && self.cuts()) {
                return Ok(());
            }
            node.write_all(&bytes[..count])?;
            let count = node.read(&mut bytes)?;
            if request.contains("/cluster/log") {
                let held = self.changed.wait_timeout_while(self.left(), PATIENCE, |left| *left > 0);
                assert!(!held.unwrap().1.timed_out(), "nothing asks any more");
            }
            client.write_all(&bytes[..count])?;
        }
    }

    fn cuts(&self) -> bool {
        let mut left = self.left();
        let cuts = *left > 0;
        *left = left.saturating_sub(1);
        self.changed.notify_all();
        cuts
    }
}

#[test]
fn a_write_can_be_read_at_once_also_where_connections_to_the_origin_are_cut() {
    let origin = Node::start();
    let (way, url) = Cutting::start(origin.address());
    let cache = started(cache_of(&url));
    let mut client = cache.client();
    for id in 1..=3 {
        *way.left() = 4;
        assert_eq!(client.append(format!("{{\"data\":{id}}}")), id);
        assert_eq!(client.get(&format!("/changes/{id}")).status, 200);
        assert_eq!(*way.left(), 0, "it asked until it was told");
    }
}
