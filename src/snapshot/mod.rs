//! A history as files, from the node that has it to one that lacks it: complete segments of the
//! log with their indexes, the newest whole state, and the checkpoint where history is purged.
//! [`manifest`] says which these are, [`staged`] takes them in, [`install`] has them take the place
//! of the log that was there.

mod file;
pub mod install;
pub mod manifest;
pub mod staged;

pub use file::STAGED;
pub use install::{finish, install_log, verify};
pub use manifest::{Held, Manifest};
pub use staged::{PART_BYTES_MAX, Staging, Transmission, Wanted};
