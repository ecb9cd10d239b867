//! Who leads the cluster, as far as a node knows.

use openraft::{Instant as _, ServerState, async_runtime::WatchReceiver};

use super::replica::Replica;
use crate::{
    base::ids::NodeId,
    io::{Disk, cores},
};

/// Who leads the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This node.
    Here,
    /// Another, which the members reach at this address.
    At(NodeId, String),
    /// Nobody, as far as this node knows.
    Unknown,
}

impl<D: Disk> Replica<D> {
    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        if self.has_stopped.get() {
            return Leadership::Unknown;
        }
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let at = |id| match metrics.membership_config.membership().get_node(&id) {
            Some(node) => Leadership::At(id, node.cluster_address.clone()),
            None => Leadership::Unknown,
        };
        // While a new vote waits for the disk, Raft does not say who leads since.
        if let Some((term, id)) = self.newest_leader.get()
            && term > metrics.vote.leader_id.term
        {
            return at(id);
        }
        match metrics.current_leader {
            None => Leadership::Unknown,
            Some(id) if id == metrics.id && metrics.state == ServerState::Leader => {
                Leadership::Here
            }
            Some(id) if id == metrics.id => Leadership::Unknown,
            Some(id) => at(id),
        }
    }

    /// Whether a leader was at work a moment ago: this node with a quorum behind it,
    /// or another that was heard here.
    #[must_use]
    pub fn is_led(&self) -> bool {
        let recent = self.timing.election * 2;
        match self.leadership() {
            Leadership::Here if self.is_alone() => true,
            Leadership::Here => {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let acknowledged = metrics.last_quorum_acked.as_ref();
                acknowledged.is_some_and(|at| at.elapsed() < recent)
            }
            Leadership::At(..) => {
                self.last_contact.get().is_some_and(|at| cores::elapsed(at) < recent)
            }
            Leadership::Unknown => false,
        }
    }

    /// Resolves once `wanted` holds of who leads.
    pub async fn leadership_is(&self, wanted: impl Fn(&Leadership) -> bool) {
        let mut metrics = self.raft.server_metrics();
        while !wanted(&self.leadership()) {
            if metrics.changed().await.is_err() {
                // It has stopped: nobody will lead.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The newest term that this node knows.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    /// Resolves when [`cluster`](Self::cluster) may have changed; `false` when
    /// it will no more.
    pub async fn cluster_changed(&self) -> bool {
        self.raft.metrics().changed().await.is_ok()
    }
}
