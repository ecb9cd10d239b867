//! What this program itself took of the machine, so that it can be seen when the load generator
//! rather than the server was the limit.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::measure::latencies::{Latencies, LatencySummary};

/// When a run began, by the clock and by the processor time of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    begun: Instant,
    cpu: Duration,
}

/// What the load generator took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Processor time of all its threads, in seconds, and how many processors that is.
    pub(crate) cpu_s: f64,
    pub(crate) cpus: f64,
    /// How late requests of an open loop were sent for which a connection was free.
    pub(crate) lateness: LatencySummary,
}

impl Usage {
    /// Begins to count.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time() }
    }

    /// What was taken since.
    pub(crate) fn taken(&self, lateness: &Latencies) -> Generator {
        let cpu_s = cpu_time().saturating_sub(self.cpu).as_secs_f64();
        let wall_s = self.begun.elapsed().as_secs_f64();
        let cpus = if wall_s > 0.0 { cpu_s / wall_s } else { 0.0 };
        Generator { cpu_s, cpus, lateness: lateness.summary() }
    }
}

/// Processor time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
