//! The vocabulary every layer shares: identifiers, bounds, outcomes, and the
//! byte form of a batch of changes.

pub mod batch;
pub mod ids;
pub mod limits;
pub mod outcome;
