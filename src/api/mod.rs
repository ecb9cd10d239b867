//! The HTTP API, one file per resource: requests come in, answers or things to
//! wait for go out. It knows nothing of sockets.

mod accept;
pub mod answer;
pub mod change_body;
mod changes;
mod cluster;
mod collections;
mod conditions;
pub mod content_type;
pub mod error;
mod idempotency;
pub mod json;
mod keys;
mod list;
mod name_body;
mod node;
mod page_reader;
pub mod query;
mod reply;
mod route;
mod stream;
pub mod tag_filter;
mod tenants;
mod write;
mod written;

use std::{cell::RefCell, sync::Arc};

pub use reply::{Parked, Reply, Write};
pub use route::ROUTES;
pub use stream::{Next, Stream};

use crate::{base::limits::Limits, node::Handle, state::Verified};

/// The API of one serving core.
pub struct Api {
    node: Handle,
    limits: Arc<Limits>,
    shared: list::SharedAnswer,
    verified: RefCell<Verified>,
}

impl Api {
    /// An API in front of `node` that keeps to `limits`.
    #[must_use]
    pub fn new(node: Handle, limits: Arc<Limits>) -> Self {
        Self { node, limits, shared: list::SharedAnswer::default(), verified: RefCell::default() }
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Handle {
        &self.node
    }
}
