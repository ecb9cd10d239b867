//! What a Raft core needs to know.

use std::time::Duration;

use crate::{
    io::Dialer,
    log::{Identity, Options},
    node::{copy::CopyOf, retention::Retention},
    raft::{Address, Timing},
};

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
    /// With an empty disk: the nodes that are asked to take this one in.
    pub join: Vec<String>,
    /// How it connects to other nodes, and lets them in.
    pub dialer: Dialer,
    /// It is a copy of this.
    pub copy: Option<CopyOf>,
}

impl Settings {
    pub(super) fn log_options(&self, identity: Identity) -> Options {
        Options { segment_bytes: self.segment_bytes, ..Options::new(identity) }
    }
}
