//! A relay in front of a node: it counts what comes from there, and holds it up when told to.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use super::PATIENCE;

struct State {
    target: SocketAddr,
    /// Bytes that came from the node and were handed on.
    passed: u64,
    /// Nothing more is handed on from here on.
    hold_at: u64,
    is_holding: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A relay that runs until the process ends.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// In front of the node at `target`.
    pub fn start(target: SocketAddr) -> Self {
        Self::cutting(target, u64::MAX)
    }

    /// In front of the node at `target`: a connection breaks when so many bytes went there.
    pub fn cutting(target: SocketAddr, bytes_max: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { target, passed: 0, hold_at: u64::MAX, is_holding: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || {
                    let target = shared.lock().target;
                    // Whoever asks sees that nobody is there.
                    let _ = TcpStream::connect(target)
                        .and_then(|node| serve(&client, node, bytes_max, &shared));
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that came from the node so far.
    pub fn passed(&self) -> u64 {
        self.shared.lock().passed
    }

    /// Hands on so many bytes more, and nothing after them.
    pub fn hold_after(&self, bytes: u64) {
        let mut state = self.shared.lock();
        state.hold_at = state.passed + bytes;
    }

    /// Waits until there is something that is not handed on.
    pub fn holds(&self) {
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.is_holding);
        assert!(!waited.unwrap().1.timed_out(), "nothing was held up");
    }

    /// Hands on again, and what is new to another node.
    pub fn go_on(&self, target: SocketAddr) {
        let mut state = self.shared.lock();
        (state.target, state.hold_at, state.is_holding) = (target, u64::MAX, false);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until these bytes may be handed on.
    fn pass(&self, bytes: u64) {
        let mut state = self.lock();
        while state.passed + bytes > state.hold_at {
            state.is_holding = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
        state.passed += bytes;
    }
}

fn serve(client: &TcpStream, node: TcpStream, bytes_max: u64, shared: &Shared) -> io::Result<()> {
    let (from_client, mut to_node) = (client.try_clone()?, node.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut (&from_client).take(bytes_max), &mut to_node);
        if copied.is_ok_and(|bytes| bytes == bytes_max) {
            let _ = from_client.shutdown(Shutdown::Both);
        }
        let _ = to_node.shutdown(Shutdown::Write);
    });
    let (mut from_node, mut to_client) = (node, client);
    let mut bytes = [0; 16 << 10];
    loop {
        let count = from_node.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        shared.pass(count as u64);
        to_client.write_all(&bytes[..count])?;
    }
}
