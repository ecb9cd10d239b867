//! What a serving core may ask of the replica, the sequencer that turns its writes into
//! batches or hands them to the leader, what other nodes ask, and the policy of membership.

mod completions;
pub mod control;
pub mod copy;
mod expiry;
pub mod forwarded;
mod forwarder;
pub mod halt;
pub mod handle;
mod healing;
pub mod health;
pub mod inbox;
mod leader_term;
pub mod log_reads;
pub mod members;
pub mod peers;
pub mod replica;
pub mod retention;
mod retry;
mod scrub;
mod scrubbed;
pub mod sequencer;
pub mod status;
mod tenant_retention;
mod wiring;
pub mod writes;

pub use control::Control;
pub use forwarded::ForwardedWrites;
pub use handle::Handle;
pub use inbox::Inbox;
pub use log_reads::LogReads;
pub use scrubbed::{DamagedPlace, Scrubbed};
pub use status::Status;
pub use wiring::{Ready, Wiring};
