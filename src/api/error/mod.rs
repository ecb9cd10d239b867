//! What a request is refused with: the table of codes, and one refusal.

mod code;
mod problem;

pub use code::Code;
pub use problem::{ApiError, Member};
pub(super) use problem::{claimed, excerpt, purged, unreadable};
