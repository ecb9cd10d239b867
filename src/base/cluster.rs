//! What a node knows of its cluster, for those who ask.

use crate::base::ids::{ClusterId, NodeId};

/// The cluster as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// This node.
    pub node: NodeId,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// What this node does: `leader`, `follower`, `candidate` or `learner`.
    pub state: &'static str,
    /// Index of the last committed entry.
    pub committed: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// All members, by number.
    pub members: Vec<Member>,
    /// What it knows of others, where it is empty and waits to found a cluster with them.
    pub gathering: Option<Gathering>,
}

/// What an empty node knows of others that it is to found a cluster with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// So many empty nodes must have found each other.
    pub expect: usize,
    /// What they are told apart by, its own among them, in ascending order; none unless all that it
    /// asks have answered, there are enough, and nobody belongs to a cluster.
    pub met: Vec<ClusterId>,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// Where clients reach it.
    pub address: String,
    /// Where the other members reach it.
    pub cluster_address: String,
    /// Whether it votes; else it is a read-only replica.
    pub voter: bool,
    /// What it does, as far as this node knows.
    pub state: &'static str,
    /// Index of the last entry that it is known to hold.
    pub matched: u64,
}
