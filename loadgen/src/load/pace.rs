//! When requests are due: at once, or by the schedule of an open loop. Pure: `now` comes from outside.

use std::time::{Duration, Instant};

/// How requests are paced.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// Closed loop: a connection sends as soon as its last answer came.
    AsFastAsPossible,
    /// Open loop: requests are due at fixed moments, whether or not answers came.
    Scheduled(Schedule),
}

impl Pace {
    /// The share of one of `threads` in a rate over all of them, or no rate.
    pub(crate) fn of(rate: Option<f64>, start: Instant, thread: usize, threads: usize) -> Self {
        match rate {
            None => Self::AsFastAsPossible,
            Some(rate) => Self::Scheduled(Schedule::new(start, rate, thread, threads)),
        }
    }

    /// The intended moment of a request that may be sent now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        match self {
            Self::AsFastAsPossible => Some(now),
            Self::Scheduled(schedule) => schedule.take(now),
        }
    }

    /// When the next request is due; `None` when that depends on connections alone.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::AsFastAsPossible => None,
            Self::Scheduled(schedule) => Some(schedule.due()),
        }
    }

    /// How many requests were due before `end` that nobody took.
    pub(crate) fn overdue(&self, end: Instant) -> u64 {
        match self {
            Self::AsFastAsPossible => 0,
            Self::Scheduled(schedule) => schedule.overdue(end),
        }
    }
}

/// Evenly spaced moments: of a common sequence over all threads, this thread has every n-th.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start: Instant,
    /// Seconds between two requests over all threads.
    interval_s: f64,
    /// Position of the next request in the common sequence.
    next: u64,
    stride: u64,
}

impl Schedule {
    /// The share of `thread` in `rate` requests a second over `threads`.
    pub(crate) fn new(start: Instant, rate: f64, thread: usize, threads: usize) -> Self {
        Self { start, interval_s: 1.0 / rate, next: thread as u64, stride: threads as u64 }
    }

    /// When the next request is due. Computed from its number, so that no error adds up.
    pub(crate) fn due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.next as f64 * self.interval_s)
    }

    /// The moment of the next request, if it has come: it then counts as taken.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due();
        (due <= now).then(|| {
            self.next += self.stride;
            due
        })
    }

    /// How many requests are due before `end` and not taken.
    pub(crate) fn overdue(&self, end: Instant) -> u64 {
        let late = end.saturating_duration_since(self.due()).as_secs_f64();
        (late / (self.interval_s * self.stride as f64)).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_one_even_sequence() {
        let start = Instant::now();
        let mut moments = Vec::new();
        for thread in 0..3 {
            let mut schedule = Schedule::new(start, 3_000.0, thread, 3);
            while let Some(moment) = schedule.take(start + Duration::from_millis(999)) {
                moments.push(moment - start);
            }
        }
        moments.sort_unstable();
        assert_eq!(moments.len(), 2_998);
        for (index, moment) in moments.iter().enumerate() {
            let exact = index as f64 / 3_000.0;
            assert!((moment.as_secs_f64() - exact).abs() < 1e-6, "{index}: {moment:?}");
        }
    }

    #[test]
    fn a_stall_leaves_the_intended_moments_where_they_were() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 10.0, 0, 1);
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + Duration::from_millis(99)), None);
        let late = start + Duration::from_secs(1);
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(taken.len(), 10);
        assert_eq!(taken[0], start + Duration::from_millis(100));
        assert_eq!(schedule.overdue(start + Duration::from_secs(2)), 9);
        assert_eq!(schedule.overdue(start), 0);
    }
}
