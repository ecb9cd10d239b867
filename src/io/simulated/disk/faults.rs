//! What a simulated disk does wrong.

use std::time::Duration;

/// What the device writes as a whole or not at all.
pub const SECTOR: usize = 512;

/// What goes wrong, and how often. The default is a disk without faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The chance that a write fails, having written any part of itself.
    pub write_error: f64,
    /// The chance that a write is told as done and changed nothing.
    pub lost_write: f64,
    /// The chance that a write is told as done and went to another place, of this file or of
    /// another.
    pub misdirected_write: f64,
    /// The chance that a sync fails, of a file or of the directory. Any part of what was to
    /// become durable did; the rest never will by a later sync, which may succeed.
    pub sync_error: f64,
    /// The chance that a sync of the directory fails, besides.
    pub directory_sync_error: f64,
    /// The chance that a file is not removed.
    pub remove_error: f64,
    /// The chance that a file is not renamed.
    pub rename_error: f64,
    /// The chance that a read fails.
    pub read_error: f64,
    /// Bytes that all files together may take, if bounded.
    pub capacity: Option<u64>,
    /// The process has no descriptor left: nothing can be opened, listed or mapped.
    pub no_descriptors: bool,
    /// The most often that one operation pends before it goes on.
    pub pending_max: u32,
    /// The longest that one operation takes.
    pub latency_max: Duration,
    /// Nothing goes on, for as long as this holds.
    pub hangs: bool,
}

impl Faults {
    /// What of them a restart of the machine leaves: the disk is as large and as slow.
    pub(super) fn after_restart(&self) -> Self {
        Self {
            capacity: self.capacity,
            pending_max: self.pending_max,
            latency_max: self.latency_max,
            ..Self::default()
        }
    }
}

/// Which volatile state a power loss keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Everything volatile is lost.
    All,
    /// Everything happens to survive.
    Nothing,
    /// Each sector and each directory entry for itself.
    Random,
}
