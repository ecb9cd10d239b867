//! The bodies of requests: changes, and small objects.

mod changes;
pub(super) mod name;
pub(super) mod object;
pub(super) mod quota;
pub(super) mod retention;
pub(super) mod ticket;
pub(super) mod token;

pub use changes::{BodyError, ChangeBody, Fault, Members, Payer, Scope, Shape, parse};
