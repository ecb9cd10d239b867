//! What applied batches amount to: the ids they got, and where each change is
//! found again. Pure: it decides and remembers, others do the I/O.

pub mod checkpointed;
mod damaged;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod history;
pub mod index;
pub mod machine;
#[cfg(test)]
pub(crate) mod model_tests;
pub mod sealed;
#[cfg(test)]
pub(crate) mod testing;
mod verified;

pub use checkpointed::CheckpointedChanges;
pub use damaged::Damaged;
pub use history::{History, Located};
pub use index::{Cursor, Index, ListId};
pub use machine::{Applied, Position, Removed, State};
pub use sealed::{SealedBatch, SealedSegment};
pub use verified::{Read, Verified};
