//! What the path of a write says of its changes before the body is read.

use uuid::Uuid;

/// The members that the objects of a body may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Members {
    /// A change: `data`, `tenant`, `collection`, `key`, `ttl`, `tags`.
    #[default]
    Change,
    /// An item of a collection: `key`, `ttl`, `data`, `tags`.
    Item,
    /// The value of a key, one object: `data`, `tags`, `ttl`.
    Value,
}

/// What a path says of the changes that are sent to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The members that its objects may have.
    pub members: Members,
    /// The tenant that the changes belong to.
    pub tenant: Option<Uuid>,
    /// The collection that they belong to, one of that tenant.
    pub collection: Option<Uuid>,
    /// The key that they are of.
    pub key: Option<Box<str>>,
}
