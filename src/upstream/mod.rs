//! Requests to another node over HTTP/1.1, as any client sends them, without holding up the core
//! that asks. Connections are kept for the next request; what is read is bounded, and every request
//! has its time.

mod answer;
mod client;

pub use answer::Answer;
pub use client::{AskError, Question, SECURED, Upstream};
