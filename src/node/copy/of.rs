//! Of what a node is a copy, and who is who there.

use std::time::Duration;

use crate::{
    base::{ids::NodeId, secret::Secret},
    io::tls::Caller,
};

/// The number of every copy: no member ever gets it, and it is exact in a JavaScript number.
pub const COPY_NODE: NodeId = (1 << 53) - 1;
/// Who a copy takes its entries to be from. No member has this number.
pub(super) const ORIGIN_NODE: NodeId = 0;

/// Of what a node is a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// Where its origins are, `host:port` or `https://host:port`: one is asked, and the next where that fails. At least one.
    pub origins: Vec<String>,
    /// How TLS is spoken to those that speak it; there where one of them does.
    pub caller: Option<Caller>,
    /// The tenants that it is of, by names or UUIDs as they were given; none for a whole history. At
    /// most [`QUERY_LISTS_MAX`](crate::base::limits::QUERY_LISTS_MAX).
    pub tenants: Vec<String>,
    /// For how long it is read after it last knew that it had all of its origin.
    pub stale_max: Duration,
    /// What it shows to its origins.
    pub token: Option<Secret>,
}
