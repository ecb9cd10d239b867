//! What a serving core may ask of the replica, and the sequencer that turns
//! its writes into batches or hands them to the leader.

pub mod control;
mod forwarder;
pub mod handed;
pub mod handle;
pub mod health;
pub mod inbox;
pub mod sequencer;
pub mod status;
pub mod writes;

pub use control::Control;
pub use handed::Handed;
pub use handle::Handle;
pub use inbox::Inbox;
pub use status::Status;
