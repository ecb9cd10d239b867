//! Runs the real program on a directory of its own and talks to it over real
//! sockets.

mod client;
mod disk;
mod fake;
mod installed;
mod node;
mod program;
mod resources;
mod restriction;
mod routes;
mod stream;

pub use client::{Answer, Client};
pub use disk::SmallDisk;
pub use fake::{Fake, Fault};
pub use installed::installed;
pub use node::{Failed, Node, NodeBuilder, Temporary, files, temporary};
pub use program::{Ended, Held, Watched, file, program, run, run_with, without_times};
pub use resources::{Bar, ids, percent, strings};
pub use restriction::Restriction;
pub use routes::{Route, routes};
pub use stream::{Event, Message, Stream};

use std::time::{Duration, Instant};

/// The longest that anything a test waits for may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` until it holds.
///
/// # Panics
/// When it does not hold in time.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
