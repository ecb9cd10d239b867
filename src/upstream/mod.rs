//! Requests to another node over HTTP/1.1, as any client sends them, without holding up the core
//! that asks. Connections are kept for the next request; what is read is bounded, and every request
//! has its time: to the head of its answer, and for bytes as long as they come.

mod answer;
mod arriving;
mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod pace;
mod passing;

pub use answer::Answer;
pub use client::{AskError, IDLE_MAX, Opened, Question, SECURED, Upstream};
pub use passing::{Passed, Passing};
