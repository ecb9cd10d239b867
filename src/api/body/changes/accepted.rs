//! What reading the body of a write gives.

use std::sync::Arc;

use crate::{base::batch::Append, state::index::Meter};

/// What kind of answer a body asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A single object: the answer names its id.
    One,
    /// An array or lines, even of one object: the answer names a range of ids.
    Many,
}

/// A tenant that changes of a body belong to.
#[derive(Clone, Debug)]
pub struct Payer {
    /// What it uses.
    pub meter: Arc<Meter>,
    /// How many changes.
    pub changes: u64,
    /// Bytes that they are stored as.
    pub bytes: u64,
}

impl PartialEq for Payer {
    fn eq(&self, other: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.meter, &other.meter);
        is_same && (self.changes, self.bytes) == (other.changes, other.bytes)
    }
}

impl Eq for Payer {}

/// An accepted body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBody {
    /// Whether it was sent as one change or as a batch.
    pub shape: Shape,
    /// Whether it names a tenant by its name, which may become another's.
    pub by_name: bool,
    /// Its changes, rendered.
    pub append: Append,
    /// Whose they are, each once, where the path does not tell.
    pub payers: Vec<Payer>,
}
