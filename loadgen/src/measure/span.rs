//! Which part of a run counts, and how it is cut into intervals. Pure: `now` comes from outside.

use std::time::{Duration, Instant};

/// The shortest interval that figures over time are given for, and the most of them.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVALS_MAX: u32 = 3_600;
/// Longer than any run.
const OPEN_TIME: Duration = Duration::from_secs(1_000_000_000);

/// The span of a run. Requests intended within the measured part count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// When the warm-up ends and measuring begins.
    pub(crate) measure: Instant,
    /// When the last request may begin.
    pub(crate) end: Instant,
    /// What the measured part is cut into.
    pub(crate) interval: Duration,
}

impl Span {
    /// A run that starts at `start`.
    pub(crate) fn new(start: Instant, warmup: Duration, duration: Duration) -> Self {
        Self {
            measure: start + warmup,
            end: start + warmup + duration,
            interval: interval(duration),
        }
    }

    /// A run without an end of its own, without a warm-up.
    pub(crate) fn open(start: Instant) -> Self {
        Self { measure: start, end: start + OPEN_TIME, interval: INTERVAL_MIN }
    }

    /// Brings the end forward to this moment.
    pub(crate) fn end_by(&mut self, moment: Instant) {
        self.end = self.end.min(moment);
    }

    /// Whether nothing is left to do at this moment: the end has come, and with it all answers or
    /// the end of the time that they have for it.
    pub(crate) fn is_over(&self, moment: Instant, is_waiting: bool, drain: Duration) -> bool {
        moment >= self.end && (!is_waiting || moment >= self.end + drain)
    }

    /// Whether this moment is within the measured part.
    pub(crate) fn measures(&self, moment: Instant) -> bool {
        (self.measure..self.end).contains(&moment)
    }

    /// Which interval, from 0, this moment is in.
    pub(crate) fn interval_at(&self, moment: Instant) -> u32 {
        let elapsed = moment.saturating_duration_since(self.measure);
        let at = elapsed.as_nanos() / self.interval.as_nanos().max(1);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// How long was measured, up to an end that may have come early.
    pub(crate) fn measured(&self) -> Duration {
        self.end.saturating_duration_since(self.measure)
    }
}

/// How long an interval is: whole seconds and not too many of them, or all of a shorter run.
pub(crate) fn interval(duration: Duration) -> Duration {
    let least = duration.as_secs().div_ceil(u64::from(INTERVALS_MAX));
    INTERVAL_MIN.min(duration).max(Duration::from_secs(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_counts() {
        let start = Instant::now();
        let span = Span::new(start, Duration::from_secs(1), Duration::from_secs(2));
        assert!(!span.measures(start));
        assert!(span.measures(start + Duration::from_secs(1)));
        assert!(!span.measures(start + Duration::from_secs(3)));
        assert_eq!(span.measured(), Duration::from_secs(2));
    }

    #[test]
    fn who_waits_for_answers_has_a_while_after_the_end() {
        let start = Instant::now();
        let mut span = Span::new(start, Duration::ZERO, Duration::from_secs(5));
        let (two, three) = (start + Duration::from_secs(2), start + Duration::from_secs(3));
        let drain = Duration::from_secs(1);
        assert!(!span.is_over(three, false, drain));
        span.end_by(two);
        span.end_by(three);
        assert_eq!(span.end, two);
        assert!(span.is_over(two, false, drain) && !span.is_over(two, true, drain));
        assert!(span.is_over(three, true, drain));
    }

    #[test]
    fn intervals_are_seconds_until_there_are_too_many() {
        let start = Instant::now();
        let span = Span::new(start, Duration::from_secs(1), Duration::from_secs(20));
        let at = |ms| span.interval_at(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(1_999), at(2_000), at(4_500)], [0, 0, 1, 3]);
        assert_eq!(interval(Duration::from_secs(36_000)), Duration::from_secs(10));
    }
}
