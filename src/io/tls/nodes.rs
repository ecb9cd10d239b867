//! TLS between the nodes of a cluster: both sides show a certificate of the cluster's own roots.

use std::{io, path::PathBuf, sync::Arc};

use super::{
    caller::Caller,
    certificate::{Pair, TlsError},
    entrance::Entrance,
};

/// TLS of a node with the others. All that use it share it.
pub struct NodeTls {
    entrance: Arc<Entrance>,
    /// The name that all certificates have, instead of each that of its node's host.
    name: Option<String>,
    is_optional: bool,
}

impl NodeTls {
    /// Shows `pair`, and trusts who shows a certificate of a root in the file `ca` that has the name of its
    /// host, or else `name`. One that `is_optional` also speaks to nodes that do not speak TLS.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(
        pair: Pair,
        ca: PathBuf,
        name: Option<String>,
        is_optional: bool,
    ) -> Result<Self, TlsError> {
        let entrance = Arc::new(Entrance::of_nodes(pair, ca)?);
        Ok(Self { entrance, name, is_optional })
    }

    /// The side that is connected to.
    #[must_use]
    pub const fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Whether nodes that do not speak TLS are spoken to as well.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.is_optional
    }

    /// The name that all certificates have; without it each has that of its node's host.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The side that connects.
    pub(in crate::io) fn caller(&self) -> Caller {
        self.entrance.caller(self.name.clone())
    }

    /// Checks that the node's own certificate has the name by which others reach it, and takes up no
    /// other without it.
    ///
    /// # Errors
    /// Where it has not: they would refuse it.
    pub fn check_own_name(&self, host: &str) -> Result<(), TlsError> {
        self.entrance.demand_name(self.name().unwrap_or(host))
    }
}

/// Whether a handshake failed as it does with a node that knows nothing of TLS: it closes the connection, since
/// what it hears is no greeting.
pub(in crate::io) fn speaks_no_tls(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
