//! The vocabulary every layer shares: identifiers, bounds, outcomes, decimal
//! text, and the byte form of a batch of changes.

pub mod batch;
pub mod decimal;
pub mod ids;
pub mod limits;
pub mod outcome;
