//! The clock of one process: how its own time follows from the time of the run.

use std::time::Duration;

/// The time of day at which every run begins: 2026-01-01.
const WALL_BEGINNING_MICROS: i64 = 1_767_225_600_000_000;

/// What a process takes for the time. Its monotonic clock runs at a rate of its
/// own and never goes back; its time of day may be set to anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessClock {
    /// When the rate was last set, in the time of the run.
    since: Duration,
    /// What the monotonic clock showed then.
    shown: Duration,
    /// By how many millionths it runs faster than the time of the run.
    drift_ppm: i32,
    /// By how much its time of day is ahead.
    wall_offset_micros: i64,
}

impl ProcessClock {
    /// What it shows at `now` of the run.
    pub fn at(&self, now: Duration) -> Duration {
        self.shown + scaled(now.saturating_sub(self.since), self.drift_ppm)
    }

    /// The time of the run at which it shows `shown` at the soonest.
    pub fn when(&self, shown: Duration) -> Duration {
        let ahead = shown.saturating_sub(self.shown).as_nanos();
        let rate = u128::from(rate(self.drift_ppm));
        let nanos = (ahead * 1_000_000).div_ceil(rate);
        self.since + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Changes the rate from `now` on.
    pub fn set_drift(&mut self, now: Duration, drift_ppm: i32) {
        *self = Self { since: now, shown: self.at(now), drift_ppm, ..*self };
    }

    /// Sets the time of day ahead by so much, or back.
    pub fn step_wall(&mut self, micros: i64) {
        self.wall_offset_micros += micros;
    }

    /// The time of day, when so much has passed on this clock since the run began.
    pub fn wall_micros(&self, passed: Duration) -> u64 {
        let passed = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        let micros = WALL_BEGINNING_MICROS.saturating_add(passed) + self.wall_offset_micros;
        u64::try_from(micros).unwrap_or(0)
    }
}

/// Steps of a clock for each million of the run's.
fn rate(drift_ppm: i32) -> u64 {
    u64::try_from(1_000_000 + i64::from(drift_ppm)).expect("a clock does not run back")
}

fn scaled(time: Duration, drift_ppm: i32) -> Duration {
    if drift_ppm == 0 {
        return time;
    }
    let nanos = time.as_nanos() * u128::from(rate(drift_ppm)) / 1_000_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_that_runs_fast_is_ahead_by_its_drift_and_does_not_jump_when_that_changes() {
        let mut clock = ProcessClock::default();
        clock.set_drift(10 * SECOND, 500_000);
        assert_eq!(clock.at(10 * SECOND), 10 * SECOND);
        assert_eq!(clock.at(12 * SECOND), 13 * SECOND);
        clock.set_drift(12 * SECOND, -500_000);
        assert_eq!(clock.at(12 * SECOND), 13 * SECOND);
        assert_eq!(clock.at(14 * SECOND), 14 * SECOND);
    }

    #[test]
    fn a_time_is_reached_when_the_clock_shows_it_and_not_before() {
        let mut clock = ProcessClock::default();
        for drift in [0, 1, -1, 333, -999_999, 7_777] {
            clock.set_drift(3 * SECOND, drift);
            for shown in [clock.at(3 * SECOND), Duration::from_nanos(3_000_000_017)] {
                let when = clock.when(shown);
                assert!(clock.at(when) >= shown, "{drift}: {shown:?}");
            }
        }
    }

    #[test]
    fn the_time_of_day_steps_and_the_monotonic_clock_does_not() {
        let mut clock = ProcessClock::default();
        let (shown, wall) = (clock.at(SECOND), clock.wall_micros(SECOND));
        clock.step_wall(-5_000_000);
        assert_eq!(clock.at(SECOND), shown);
        assert_eq!(clock.wall_micros(SECOND), wall - 5_000_000);
    }
}
