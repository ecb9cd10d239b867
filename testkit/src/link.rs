//! A bad way to a node: what other nodes send it entries by is slow, breaks, changes what it carries,
//! or holds it back. All else that they say to it, heartbeats above all, passes.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::PATIENCE;

/// The first words of a connection of nodes, of which bytes 12 to 15 say what it is for.
const HELLO_BYTES: usize = 56;
/// What is for entries.
const ENTRIES: [u8; 4] = 1_u32.to_le_bytes();
/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 8 << 10;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// No more than so many bytes pass in a second.
    Slow(u32),
    /// A connection breaks when so many bytes passed.
    Cut(usize),
    /// A bit of every full piece is another.
    Flip,
    /// Nothing passes.
    Hold,
}

struct State {
    wrong: Wrong,
    /// How often something was wrong: connections that broke, pieces that were changed or held back.
    times: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A way to a node, which ends with the process.
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// A way to the cluster address of a node.
    pub fn start(target: SocketAddr, wrong: Wrong) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { wrong, times: 0 });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || {
                    // Whoever asks sees that nobody is there.
                    let _ =
                        TcpStream::connect(target).and_then(|node| serve(&from, &node, &shared));
                    let _ = from.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has something else be wrong from now on.
    pub fn set(&self, wrong: Wrong) {
        self.shared.lock().wrong = wrong;
        self.shared.changed.notify_all();
    }

    /// Waits until something was wrong so often.
    pub fn was_wrong(&self, times: u64) {
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.times < times);
        assert!(!waited.unwrap().1.timed_out(), "it was not wrong {times} times");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn note(&self) {
        self.lock().times += 1;
        self.changed.notify_all();
    }

    /// Hands on a piece, behind `passed` bytes; whether the connection goes on.
    fn pass(&self, piece: &mut [u8], passed: usize, to: &mut &TcpStream) -> io::Result<bool> {
        let wrong = self.lock().wrong;
        match wrong {
            Wrong::Nothing => {}
            Wrong::Slow(bytes) => {
                let time = piece.len() as f64 / f64::from(bytes);
                thread::sleep(Duration::from_secs_f64(time));
            }
            Wrong::Cut(bytes) if passed + piece.len() >= bytes => {
                to.write_all(&piece[..bytes.saturating_sub(passed)])?;
                self.note();
                return Ok(false);
            }
            Wrong::Cut(_) => {}
            Wrong::Flip if piece.len() == PIECE_BYTES => {
                piece[PIECE_BYTES / 2] ^= 1;
                self.note();
            }
            Wrong::Flip => {}
            Wrong::Hold => {
                self.note();
                let held = |state: &mut State| state.wrong == Wrong::Hold;
                drop(self.changed.wait_while(self.lock(), held).unwrap());
            }
        }
        to.write_all(piece).map(|()| true)
    }
}

fn serve(from: &TcpStream, node: &TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut answers, mut back) = (node.try_clone()?, from.try_clone()?);
    thread::spawn(move || {
        // Whoever closed it knows.
        let _ = io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (from, node);
    let mut hello = [0; HELLO_BYTES];
    from.read_exact(&mut hello)?;
    to.write_all(&hello)?;
    let handed_on = match hello[12..16] == ENTRIES {
        true => pass_all(from, to, shared),
        false => io::copy(&mut from, &mut to).map(drop),
    };
    to.shutdown(Shutdown::Both)?;
    handed_on
}

/// Hands on what comes until it ends. What is on its way then is lost, and not handed on by whoever
/// gave up long ago, as it would be if it waited in the memory of sockets.
fn pass_all(from: &TcpStream, mut to: &TcpStream, shared: &Shared) -> io::Result<()> {
    let (coming, pieces) = mpsc::channel::<Vec<u8>>();
    let has_ended = Arc::new(AtomicBool::new(false));
    let (mut source, ended) = (from.try_clone()?, Arc::clone(&has_ended));
    thread::spawn(move || {
        let mut piece = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = source.read(&mut piece) {
            if coming.send(piece[..count].to_vec()).is_err() {
                break;
            }
        }
        ended.store(true, Ordering::Release);
    });
    let mut passed = HELLO_BYTES;
    for mut piece in pieces {
        if has_ended.load(Ordering::Acquire) || !shared.pass(&mut piece, passed, &mut to)? {
            break;
        }
        passed += piece.len();
    }
    from.shutdown(Shutdown::Both)
}
