//! The Raft core of a node, composed: the log is recovered, Raft and the sequencer run on
//! it, and what has to be watched is watched. The same on a real disk and a simulated one;
//! signals, threads and sockets are its caller's.

mod check;
mod error;
mod recovery;
mod running;
mod settings;
mod spare;
mod start;
mod survivor;
mod watch;

pub use check::{Checked, Damage, Sound, check};
pub use error::StartError;
#[cfg(test)]
pub use recovery::has_begun_anew;
pub use running::{Cause, End, Running, StopError};
pub use settings::{Founding, Settings};
pub use start::start;
pub use survivor::recover;
