//! The durable log: Raft entries, votes and marks in segment files, written by
//! group commit and verified in full when opened. The format and the recovery
//! rules stand in [`mod@format`] and `docs/disk-format.md`.
//!
//! A [`Log`] belongs to one core and knows no runtime: the owner spawns the
//! futures it hands out, [`Log::run`] above all, without which nothing becomes
//! durable. Only [`crate::io::Disk`] is used to reach the disk.

mod arriving;
mod check;
mod compose;
mod contents;
mod cursor;
mod durable;
mod error;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod given;
mod handle;
pub mod index;
mod lay_out;
mod mend;
mod open;
mod purged;
mod queue;
mod read;
pub mod recover;
mod reread;
mod rewrite;
mod scrub;
mod sealed;
mod segment;
mod spare;
mod state;
mod survey;
pub mod table;
mod types;
mod writer;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod lay_out_tests;
#[cfg(test)]
mod mend_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod planted_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
mod testing;

pub use arriving::Arriving;
pub use check::{Behind, Verified, behind, check, give_to, is_file, segments};
pub use compose::{Composed, Composer};
pub use contents::Contents;
pub use error::{LogError, OpenError};
pub use format::{Frame, HardState, decode_frame, entry_head, frame_range};
pub use given::{give_to_node, hard_state, header, header_of, verify_segment};
pub use handle::Log;
pub use lay_out::lay_out;
pub use mend::{entries_end, is_whole, put_entry, unsound};
pub use open::Reader;
pub use reread::{Reread, reread};
pub use rewrite::{Replacement, holds_purged, without_purged};
pub use sealed::Sealed;
pub use segment::{SUFFIX, file_name, number};
pub use types::{
    Entry, Identity, Options, Place, Progress, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Vote,
};
