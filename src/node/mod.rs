//! What a serving core may ask of the replica, and the sequencer that turns
//! its writes into batches.

pub mod handle;
pub mod inbox;
pub mod sequencer;
pub mod status;
pub mod writes;

pub use handle::Handle;
pub use inbox::Inbox;
pub use status::Status;
