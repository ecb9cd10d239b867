//! What reading the body of a write gives.

use crate::base::batch::Append;

/// What kind of answer a body asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A single object: the answer names its id.
    One,
    /// An array or lines, even of one object: the answer names a range of ids.
    Many,
}

/// An accepted body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBody {
    /// Whether it was sent as one change or as a batch.
    pub shape: Shape,
    /// Whether it names a tenant by its name, which may become another's.
    pub by_name: bool,
    /// Its changes, rendered.
    pub append: Append,
}
