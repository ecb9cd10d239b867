//! What the composition root hands to each core.

use std::sync::Arc;

use super::{config::Config, tls::Tls};
use crate::{
    api::{access::Access, audit::Audit, browser::BrowserPolicy, metrics::Metrics},
    base::held::HeldByNode,
    node::Wiring,
    raft::Address,
    serving::Connections,
};

/// What all cores of a node share.
#[derive(Clone)]
pub(super) struct NodeContext {
    pub(super) config: Arc<Config>,
    /// Where clients and other nodes are told to reach the node.
    pub(super) address: Address,
    pub(super) wiring: Wiring,
    pub(super) connections: Arc<Connections>,
    pub(super) held: Arc<HeldByNode>,
    pub(super) access: Arc<Access>,
    pub(super) browsers: Arc<BrowserPolicy>,
    pub(super) audit: Arc<Audit>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Tls,
}
