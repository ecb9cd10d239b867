//! The time of day behind a trait, so that simulated runs set their own.

use std::{
    cell::Cell,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of wall-clock time. It may step back; who needs order keeps the
/// highest value seen.
pub trait Clock: Clone + 'static {
    /// Microseconds since 1970-01-01 UTC.
    fn now_micros(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is set; clones share the time.
#[derive(Clone, Debug, Default)]
pub struct SetClock(Rc<Cell<u64>>);

impl SetClock {
    /// A clock that shows `micros` since 1970.
    #[must_use]
    pub fn new(micros: u64) -> Self {
        Self(Rc::new(Cell::new(micros)))
    }

    /// Sets the time, in either direction.
    pub fn set(&self, micros: u64) {
        self.0.set(micros);
    }

    /// Moves the time ahead by `micros`.
    pub fn advance(&self, micros: u64) {
        self.0.set(self.0.get().saturating_add(micros));
    }
}

impl Clock for SetClock {
    fn now_micros(&self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_set_clock_share_the_time() {
        let clock = SetClock::new(5);
        let other = clock.clone();
        clock.advance(2);
        assert_eq!(other.now_micros(), 7);
        other.set(1);
        assert_eq!(clock.now_micros(), 1);
    }

    #[test]
    fn the_system_clock_counts_microseconds() {
        let year_2025_micros = 1_735_689_600_000_000;
        let year_2200_micros = 7_258_118_400_000_000;
        assert!((year_2025_micros..year_2200_micros).contains(&SystemClock.now_micros()));
    }
}
