//! The vocabulary every layer shares: identifiers, bounds, outcomes, decimal
//! text, times, secrets, and the byte form of a batch of changes.

pub mod batch;
pub mod bucket;
pub mod cluster;
pub mod decimal;
pub mod held;
pub mod hex;
pub mod ids;
pub mod json_string;
pub mod limits;
pub mod moment;
pub mod names;
pub mod outcome;
pub mod planted;
pub mod protocol;
pub mod quota;
pub mod retention;
pub mod secret;
pub mod tags;
pub mod tenants;
pub mod times;
pub mod timing;
pub mod tokens;
pub mod ttl;
