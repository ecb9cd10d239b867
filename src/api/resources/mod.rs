//! What can be asked for, one file a resource.

pub(super) mod changes;
pub(super) mod cluster;
pub(super) mod collections;
pub(super) mod docs;
pub(super) mod keys;
pub(super) mod log;
pub(super) mod members;
pub(super) mod metrics;
pub(super) mod node;
pub(super) mod openapi;
pub(super) mod page;
pub(super) mod quota;
pub(super) mod session;
pub(super) mod state;
pub(super) mod tenants;
pub(super) mod tickets;
pub(super) mod tokens;
