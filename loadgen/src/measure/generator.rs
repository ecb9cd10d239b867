//! What this program itself took of the machine, so that it can be seen when the load generator
//! rather than the server was the limit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::measure::latencies::{Latencies, LatencySummary};

/// A thread that worked for so many thousandths of its time had none left for more.
const BUSY_MAX: u32 = 900;
/// Lateness counts where it is so large a share of the latencies that it is part of.
const LATENESS_SHARE_MAX: f64 = 0.25;

/// The busiest thread so far, in thousandths of the time that it ran.
static BUSIEST: AtomicU32 = AtomicU32::new(0);

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
    /// The share of its time that the busiest thread of them worked.
    #[serde(default)]
    pub(crate) busiest: f64,
    /// Why the figures may be those of the load generator rather than the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
}

/// The time of one thread, from its beginning on.
#[derive(Debug)]
pub(crate) struct ThreadTime {
    begun: Instant,
    cpu: Duration,
}

impl ThreadTime {
    /// Begins to count the thread that calls it.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time(ClockId::ThreadCPUTime) }
    }

    /// Notes how busy it was; to be called by the same thread.
    pub(crate) fn end(&self) {
        let cpu = cpu_time(ClockId::ThreadCPUTime).saturating_sub(self.cpu);
        let share = cpu.as_secs_f64() / self.begun.elapsed().as_secs_f64().max(1e-9);
        BUSIEST.fetch_max((share.min(1.0) * 1e3).round() as u32, Ordering::Relaxed);
    }
}

impl Usage {
    /// Begins to count.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time(ClockId::ProcessCPUTime) }
    }

    /// What was taken since, by a run whose lowest p99 was this many milliseconds.
    pub(crate) fn taken(&self, lateness: &Latencies, p99_ms: f64) -> Generator {
        let cpu_s = cpu_time(ClockId::ProcessCPUTime).saturating_sub(self.cpu).as_secs_f64();
        let wall_s = self.begun.elapsed().as_secs_f64();
        let cpus = if wall_s > 0.0 { cpu_s / wall_s } else { 0.0 };
        let busiest = BUSIEST.load(Ordering::Relaxed);
        let lateness = lateness.summary();
        let warning = warning(busiest, &lateness, p99_ms);
        Generator { cpu_s, cpus, lateness, busiest: f64::from(busiest) / 1e3, warning }
    }
}

/// Why a run may have measured this program, if it may.
fn warning(busiest: u32, lateness: &LatencySummary, p99_ms: f64) -> Option<String> {
    let mut reasons = Vec::new();
    if busiest >= BUSY_MAX {
        let percent = f64::from(busiest) / 10.0;
        reasons.push(format!("a thread of it worked for {percent:.0} % of its time"));
    }
    if lateness.count > 0 && lateness.p99_ms > p99_ms * LATENESS_SHARE_MAX {
        let share = lateness.p99_ms;
        reasons
            .push(format!("it sent late by {share:.3} ms (p99), beside a p99 of {p99_ms:.3} ms"));
    }
    let reasons = (!reasons.is_empty()).then(|| reasons.join(", and "))?;
    Some(format!("the load generator may have been the limit: {reasons}"))
}

/// Processor time of this process or thread.
fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_warns_of_a_busy_thread_and_of_requests_that_were_late() {
        let late = |p99_ms| LatencySummary { count: 1, p99_ms, ..LatencySummary::default() };
        assert_eq!(warning(899, &late(0.2), 1.0), None);
        assert_eq!(warning(0, &LatencySummary::default(), 0.0), None);
        let busy = warning(970, &LatencySummary::default(), 1.0).expect("busy");
        assert!(busy.contains("97 % of its time") && !busy.contains("late"), "{busy}");
        let both = warning(900, &late(0.3), 1.0).expect("busy and late");
        assert!(both.contains("90 %") && both.contains("late by 0.300 ms"), "{both}");
    }
}
