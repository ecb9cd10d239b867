//! What a node asks of nodes that do not belong to its cluster, at the addresses that
//! clients know: who they are, and to be taken in.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::base::{
    cluster::Gathering,
    ids::{ClusterId, NodeId},
    names::is_host_and_port,
};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeId,
    /// Where clients reach the members that it knows, itself among them.
    pub addresses: Vec<(NodeId, String)>,
    /// The cluster addresses of the members that it knows, itself among them.
    pub cluster_addresses: Vec<(NodeId, String)>,
    /// What it knows of others that it is to found a cluster with.
    pub gathering: Option<Gathering>,
}

impl Introduction {
    /// The node's own cluster address; empty when it has none that can be used.
    #[must_use]
    pub fn cluster_address(&self) -> String {
        let own = self.cluster_addresses.iter().find(|(id, _)| *id == self.node);
        let own = own.map(|(_, text)| text.as_str()).filter(|text| is_host_and_port(text));
        own.unwrap_or_default().to_owned()
    }

    /// Where clients reach the node itself, as it says; empty when it does not say.
    #[must_use]
    pub fn address(&self) -> String {
        let own = self.addresses.iter().find(|(id, _)| *id == self.node);
        own.map(|(_, address)| address.clone()).unwrap_or_default()
    }

    /// The member of its cluster that is reached at either of these addresses, if there is one.
    #[must_use]
    pub fn member_at(&self, address: &str, cluster_address: &str) -> Option<NodeId> {
        let at = |all: &[(NodeId, String)], place: &str| {
            all.iter().find(|(_, known)| known == place).map(|(id, _)| *id)
        };
        let found = at(&self.cluster_addresses, cluster_address);
        found.or_else(|| at(&self.addresses, address)).filter(|_| self.node != 0)
    }
}

/// A node that asks to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Where clients reach it.
    pub address: String,
    /// Whether it is to vote.
    pub voter: bool,
}

/// The way to such nodes.
pub trait Introductions: 'static {
    /// Asks the node that clients reach at `address` who it is. Why it does not say within
    /// `limit` is for the log alone: anybody may have named the address.
    fn who_is(
        &self,
        address: &str,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<Introduction, String>>;

    /// Asks the node that clients reach at `address` to take `applicant` into its cluster,
    /// and says what it answered instead, or why it did not within `limit`.
    fn ask_to_be_taken_in(
        &self,
        address: &str,
        applicant: &Applicant,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<(), String>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_can_be_called_is_believed() {
        let said = |text: &str| Introduction {
            cluster: ClusterId(uuid::Uuid::nil()),
            node: 2,
            addresses: Vec::new(),
            cluster_addresses: vec![(1, "other:1".to_owned()), (2, text.to_owned())],
            gathering: None,
        };
        assert_eq!(said("host:9001").cluster_address(), "host:9001");
        assert_eq!(said("no address").cluster_address(), "");
        let unnamed = Introduction { node: 3, ..said("host:9001") };
        assert_eq!(unnamed.cluster_address(), "");
    }
}
