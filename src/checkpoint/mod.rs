//! Checkpoints: the state at a position of the log, as files, which stand for history that is
//! purged. [`mod@format`] says what is in one, [`store`] how it comes to its name and goes.

mod alter;
#[cfg(test)]
mod crash_tests;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod part;
pub mod scrub;
pub mod store;
mod text;

pub use alter::{given_to, redact};
pub use format::{Checkpoint, Head};
pub use part::write_part;
pub use store::CheckpointFile;
