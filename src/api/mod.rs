//! The HTTP API, one file per resource: requests come in, answers or things to
//! wait for go out. It knows nothing of sockets.

mod accept;
pub mod answer;
pub mod browser;
pub mod change_body;
mod changes;
mod cluster;
mod collections;
mod conditions;
pub mod content_type;
pub mod error;
mod head;
mod idempotency;
pub mod json;
mod keys;
mod list;
pub mod metrics;
mod name_body;
mod name_list;
mod node;
mod object_body;
mod openapi;
mod page;
mod page_reader;
pub mod query;
mod rendered;
mod reply;
mod route;
mod stream;
pub mod tag_filter;
mod tenants;
mod write;
mod written;

use std::{cell::RefCell, rc::Rc, sync::Arc};

pub use rendered::FULL;
pub use reply::{Parked, Reply, Told, Write};
pub use route::ROUTES;
pub use stream::{Next, Stream};

use crate::{
    base::{held::HeldByCore, limits::Limits},
    node::Handle,
    state::Verified,
};

/// The API of one serving core.
pub struct Api {
    node: Handle,
    limits: Arc<Limits>,
    shared: list::SharedAnswer,
    verified: RefCell<Verified>,
    browsers: Arc<browser::BrowserPolicy>,
    held: Rc<HeldByCore>,
    metrics: Arc<metrics::Metrics>,
}

impl Api {
    /// An API in front of `node` that keeps to `limits`, lets pages of the web do
    /// what `browsers` allows and counts in `metrics`, and in `held` what the
    /// answers hold that it renders.
    #[must_use]
    pub fn new(
        node: Handle,
        limits: Arc<Limits>,
        browsers: Arc<browser::BrowserPolicy>,
        held: Rc<HeldByCore>,
        metrics: Arc<metrics::Metrics>,
    ) -> Self {
        let shared = list::SharedAnswer::default();
        Self { node, limits, shared, verified: RefCell::default(), browsers, held, metrics }
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &metrics::Metrics {
        &self.metrics
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Handle {
        &self.node
    }
}
