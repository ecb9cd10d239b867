//! A read-only copy of a history, or of some tenants of it, elsewhere: an ordinary node whose entries come from its
//! origin over HTTP instead of from a leader.
//!
//! A copy of some tenants gets every entry of the log, under the same index, but of each batch only the
//! part that concerns these, with the ids that it has.
//!
//! The origin gives applied, hence committed, entries alone (the feeder asks for them), so all that
//! stands in the log of a copy is committed. Raft runs on it as a learner that is in no membership:
//! it votes for nobody, leads nothing, and calls no member. What the log cannot go on from, because
//! the origin has purged it or has another history by now, is replaced as a whole; and so is what is
//! damaged here and cannot be mended.

mod age;
mod anew;
mod beside;
mod feeder;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod mending;
mod of;
mod origins;
mod part;
mod pause;
mod said;
mod standing;
mod tenants;

pub use age::CopyAge;
pub use of::{COPY_NODE, CopyOf};
pub use origins::Origins;
pub(super) use {
    anew::{clear, identity},
    feeder::{begin, feed},
    mending::FromOrigin,
};
