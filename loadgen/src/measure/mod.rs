//! What is counted and timed while a command runs, and what it says in the end.

pub(crate) mod errors;
pub(crate) mod generator;
pub(crate) mod hdr;
pub(crate) mod html;
pub(crate) mod latencies;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod results;
pub(crate) mod span;
pub(crate) mod table;
pub(crate) mod tally;
pub(crate) mod verification;
