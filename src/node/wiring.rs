//! What the cores of a node share: the ways between the Raft core and the serving cores.

use std::sync::Arc;

use super::{Control, Handle, Inbox, LogReads, Status, handle::CoreContext};
use crate::{base::ids::ClusterId, feed::Fanout, raft::Recovered};

/// The ways between the Raft core and the serving cores. Clones share them.
#[derive(Clone)]
pub struct Wiring {
    /// What was applied and decided goes to the serving cores this way.
    pub fanout: Fanout,
    /// Writes come to the Raft core this way.
    pub inbox: Arc<Inbox>,
    /// Other questions come to the Raft core this way.
    pub control: Arc<Control>,
    /// What copies of the log are made of comes from the Raft core this way.
    pub log_reads: Arc<LogReads>,
    /// The node's condition, written by the Raft core.
    pub status: Arc<Status>,
}

/// What serving cores start with, once the replica is there.
#[derive(Clone)]
pub struct Ready {
    /// The history so far, and what it is found by.
    pub recovered: Recovered,
    /// The cluster that it is of.
    pub cluster: ClusterId,
}

impl Wiring {
    /// Between the Raft core and so many serving cores.
    #[must_use]
    pub fn new(serving_cores: usize) -> Self {
        Self {
            fanout: Fanout::new(serving_cores),
            inbox: Arc::default(),
            control: Arc::default(),
            log_reads: Arc::default(),
            status: Arc::default(),
        }
    }

    /// The end of serving core number `core`. To be called there; [`Handle::run`] keeps it
    /// current.
    ///
    /// # Panics
    /// If there is no such core.
    #[must_use]
    pub fn handle(&self, core: usize, ready: Ready) -> Handle {
        let Ready { recovered, cluster } = ready;
        let context = CoreContext {
            core,
            cluster,
            status: Arc::clone(&self.status),
            inbox: Arc::clone(&self.inbox),
            control: Arc::clone(&self.control),
            log_reads: Arc::clone(&self.log_reads),
            mailbox: self.fanout.mailbox(core),
        };
        let index = recovered.index();
        Handle::new(context, recovered.history(), index)
    }
}
