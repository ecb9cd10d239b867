//! What is counted and timed while a command runs, and what it says in the end.

pub(crate) mod report;
pub(crate) mod tally;
