//! What a Raft core needs to know.

use std::time::Duration;

use crate::{
    io::Dialer,
    log::{Identity, Options},
    node::{copy::CopyOf, retention::Retention},
    raft::{Address, Timing},
};

/// Whether a node with an empty disk founds a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Founding {
    /// At once, a cluster of one.
    Now,
    /// Once so many empty nodes, itself among them, have found each other, if it is the one of them to do
    /// so.
    Expect(usize),
    /// Never by itself: another takes it in.
    No,
}

/// The settings of a Raft core.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the node is reached, and whether it is to vote.
    pub address: Address,
    /// How soon the loss of a leader is noticed.
    pub timing: Timing,
    /// The size of one file of the log.
    pub segment_bytes: u64,
    /// How much history is kept, unless all is.
    pub retention: Option<Retention>,
    /// How often all complete segments are verified.
    pub scrub_period: Duration,
    /// With an empty disk: whether it founds a cluster.
    pub founding: Founding,
    /// Likewise: the nodes that are asked to take this one in.
    pub join: Vec<String>,
    /// How it connects to other nodes, and lets them in.
    pub dialer: Dialer,
    /// It is a copy of this.
    pub copy: Option<CopyOf>,
}

impl Settings {
    /// Whether a node that belongs to no cluster would wait for one in vain.
    pub(super) fn has_no_cluster(&self) -> bool {
        self.founding == Founding::No && self.join.is_empty() && self.copy.is_none()
    }

    pub(super) fn log_options(&self, identity: Identity) -> Options {
        Options { segment_bytes: self.segment_bytes, ..Options::new(identity) }
    }
}
