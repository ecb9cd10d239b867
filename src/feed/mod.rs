//! From the one writer to the many readers: mailboxes that carry applied
//! batches and outcomes to each serving core, and the waiters there.

pub mod mailbox;
pub mod waiters;

pub use mailbox::{Delivery, Fanout, Mailbox, Origin, Ticket};
pub use waiters::{Wait, Waiters};
