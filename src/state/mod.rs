//! What applied batches amount to: the ids they got, and where each change is
//! found again. Pure: it decides and remembers, others do the I/O.

mod applied;
pub mod checkpointed;
mod damaged;
mod decided;
pub mod delta;
mod erased;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod history;
pub mod index;
pub mod machine;
#[cfg(test)]
pub(crate) mod model_tests;
pub mod open;
#[cfg(test)]
mod part_tests;
mod position;
mod previous;
pub mod sealed;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
pub mod unread;
mod verified;
mod writer;

pub use applied::{Applied, Removed};
pub use checkpointed::CheckpointedChanges;
pub use damaged::Damaged;
pub use decided::decided;
pub use erased::ToErase;
pub use history::{History, Located};
pub use index::{Cursor, Index, ListId};
pub use machine::State;
pub use open::Noted;
pub use position::Position;
pub use sealed::{SealedBatch, SealedSegment};
pub use verified::{Read, Verified, Wanted};
