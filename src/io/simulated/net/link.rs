//! What holds of one direction between two processes.

use std::{ops::RangeInclusive, time::Duration};

use crate::io::simulated::executor::Process;

/// One direction: from the first to the second.
pub type Way = (Process, Process);

/// How bytes travel on a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// How long they take, by chance.
    pub delay: RangeInclusive<Duration>,
    /// How much longer all bytes of a connection may take than those of another: drawn
    /// once for each.
    pub lag_max: Duration,
    /// How many of one connection pass in a second at most.
    pub bytes_per_second: u64,
}

impl Default for Link {
    /// As within a machine room.
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(50)..=Duration::from_micros(500),
            lag_max: Duration::from_micros(500),
            bytes_per_second: 1 << 30,
        }
    }
}

impl Link {
    /// How long so many bytes keep the way busy.
    pub(super) fn passage(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.max(1) as f64)
    }
}
