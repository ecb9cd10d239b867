//! The HTTP API, one file per resource: requests come in, answers or things to
//! wait for go out. It knows nothing of sockets.

pub mod answer;
pub mod change_body;
mod changes;
pub mod content_type;
pub mod error;
pub mod json;
mod node;
mod openapi;
mod page;
mod page_reader;
pub mod query;
mod reply;
mod route;
pub mod tag_filter;

use std::{cell::RefCell, sync::Arc};

pub use reply::{Parked, Reply, Write};

use crate::{base::limits::Limits, node::Handle, state::Verified};

/// The API of one serving core.
pub struct Api {
    node: Handle,
    limits: Arc<Limits>,
    shared: changes::SharedAnswer,
    verified: RefCell<Verified>,
}

impl Api {
    /// An API in front of `node` that keeps to `limits`.
    #[must_use]
    pub fn new(node: Handle, limits: Arc<Limits>) -> Self {
        Self {
            node,
            limits,
            shared: changes::SharedAnswer::default(),
            verified: RefCell::default(),
        }
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Handle {
        &self.node
    }
}
