//! What applying a batch comes to.

use std::sync::Arc;

use super::index::{Collection, Tenant};
use crate::base::{batch::NumberedBatch, outcome::Decision};

/// What applying a batch came to.
#[derive(Debug)]
pub struct Applied<B> {
    /// The batch with its ids.
    pub batch: NumberedBatch<B>,
    /// How each command was decided, in order; `None` when all are appends and
    /// all were accepted.
    pub decisions: Option<Vec<Decision>>,
    /// What was taken out of the state and may take long to free.
    pub removed: Vec<Removed>,
}

/// A part of the state that nothing refers to any more.
#[derive(Debug)]
pub enum Removed {
    /// With all its collections.
    Tenant(Arc<Tenant>),
    /// With all its keys.
    Collection(Arc<Collection>),
}
