//! What tests of real nodes share: the program as a process on a directory of its
//! own, spoken to over real sockets.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`Node`], [`NodeBuilder`] | one process: started, stopped, killed, refused |
//! | [`Client`], [`Stream`], [`Bar`] | what is asked of a node |
//! | [`program()`], [`run`], [`Fake`] | commands of the program, and a node that only pretends |
//! | [`Relay`] | what stands between a client and a node: it counts, and holds up |
//! | [`Link`] | a bad way between two nodes: slow, cut, lying |
//! | [`cluster`] | several processes, added, killed, paused, taken out |
//! | [`network`] | network namespaces that are cut off from each other |
//! | [`workload`] | clients that go on through all of it, and what must be true afterwards |
//! | [`linearizable`] | whether what was seen of one key has an order |
//!
//! Everything panics where a test would fail. The program is the one that was
//! built with the tests: it is found beside them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
pub mod cluster;
mod disk;
mod failed;
mod fake;
mod installed;
pub mod linearizable;
mod link;
pub mod network;
mod node;
mod program;
mod relay;
mod resources;
mod restriction;
mod routes;
mod stream;
pub mod workload;

pub use client::{Answer, Client};
pub use disk::SmallDisk;
pub use failed::Failed;
pub use fake::{Every, Fake, Fault};
pub use installed::installed;
pub use link::{Link, Wrong};
pub use node::{Node, NodeBuilder, SHORT_SEGMENTS, Temporary, files, temporary};
pub use program::{Ended, Held, Watched, executable, file, program, run, run_with, without_times};
pub use relay::Relay;
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

/// Waits until `condition` holds, for that long at most.
pub fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < end, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
