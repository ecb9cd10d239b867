//! Writing: what all writes have in common, and the answers to them.

mod append;
mod pending;
mod propose;
mod written;

pub(super) use self::{
    append::append,
    propose::{delete, propose, repeated, repeated_or},
    written::{AnswerKind, collection_json, quota_json, retention_json},
};
pub use pending::{Told, Write};
