//! When the changes of a load were due, for those who wait for them: threads that write note it,
//! threads that read look it up by the origin that a change names.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::load::payload::Origin;
use crate::measure::span::Span;

/// How many of its last changes are remembered for each connection that writes. One that arrives
/// later than so many of the same connection is not timed.
const REMEMBERED: usize = 1024;

/// What is shared between those who write and those who wait.
#[derive(Debug)]
pub(crate) struct Sends {
    epoch: Instant,
    /// Number of the first connection that writes.
    worker_base: u16,
    /// For each connection that writes its last changes: sequence number, and nanoseconds since
    /// `epoch`.
    rings: Vec<Vec<[AtomicU64; 2]>>,
    /// The span of the load, once it has begun.
    span: OnceLock<Span>,
    /// Changes that were acknowledged, and arrivals of any.
    acknowledged: AtomicU64,
    arrived: AtomicU64,
    /// Polls that stand, before the load begins.
    standing: AtomicU64,
    is_over: AtomicBool,
}

impl Sends {
    /// For a load whose connections have these numbers.
    pub(crate) fn new(worker_base: u16, connections: u16) -> Self {
        let ring = || (0..REMEMBERED).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect();
        Self {
            epoch: Instant::now(),
            worker_base,
            rings: (0..connections).map(|_| ring()).collect(),
            span: OnceLock::new(),
            acknowledged: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            standing: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// The load begins.
    pub(crate) fn begin(&self, span: Span) {
        // Every thread of the load has the same.
        let _ = self.span.set(span);
    }

    /// The span of the load, once it has begun.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.get()
    }

    /// A change is sent that was due at `intended`.
    pub(crate) fn sent(&self, origin: Origin, intended: Instant) {
        let Some([sequence, moment]) = self.slot(origin) else { return };
        let ns = intended.saturating_duration_since(self.epoch).as_nanos();
        moment.store(u64::try_from(ns).unwrap_or(u64::MAX), Ordering::Relaxed);
        sequence.store(u64::from(origin.sequence) + 1, Ordering::Release);
    }

    /// When a change was due that has arrived; none for one that was not remembered so long.
    pub(crate) fn intended(&self, origin: Origin) -> Option<Instant> {
        let [sequence, moment] = self.slot(origin)?;
        let is_this = sequence.load(Ordering::Acquire) == u64::from(origin.sequence) + 1;
        is_this.then(|| self.epoch + Duration::from_nanos(moment.load(Ordering::Relaxed)))
    }

    fn slot(&self, origin: Origin) -> Option<&[AtomicU64; 2]> {
        let worker = usize::from(origin.worker.checked_sub(self.worker_base)?);
        self.rings.get(worker)?.get(origin.sequence as usize % REMEMBERED)
    }

    /// So many changes were acknowledged.
    pub(crate) fn acknowledge(&self, changes: u64) {
        self.acknowledged.fetch_add(changes, Ordering::Relaxed);
    }

    /// So many changes of the load have arrived.
    pub(crate) fn arrive(&self, changes: u64) {
        self.arrived.fetch_add(changes, Ordering::Relaxed);
    }

    /// One more poll stands, before the load has begun.
    pub(crate) fn stand(&self) {
        self.standing.fetch_add(1, Ordering::Relaxed);
    }

    /// How many polls stood before the load has begun.
    pub(crate) fn standing(&self) -> u64 {
        self.standing.load(Ordering::Relaxed)
    }

    /// Nothing more will be sent.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// How many arrivals are missing when each acknowledged change is to arrive so many times.
    pub(crate) fn missing(&self, times: u64) -> u64 {
        let acknowledged = times * self.acknowledged.load(Ordering::Relaxed);
        acknowledged.saturating_sub(self.arrived.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_timed_as_long_as_it_is_remembered() {
        let sends = Sends::new(10, 2);
        let origin = |worker, sequence| Origin { worker, sequence };
        let due = sends.epoch + Duration::from_millis(5);
        sends.sent(origin(11, 3), due);
        assert_eq!(sends.intended(origin(11, 3)), Some(due));
        assert_eq!(sends.intended(origin(10, 3)), None);
        assert_eq!(sends.intended(origin(12, 3)), None);
        assert_eq!(sends.intended(origin(9, 3)), None);
        sends.sent(origin(11, 3 + REMEMBERED as u32), due);
        assert_eq!(sends.intended(origin(11, 3)), None);
    }
}
