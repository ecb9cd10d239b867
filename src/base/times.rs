//! A histogram of times that one core fills and any may read, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The longest time of the first bucket; each further one goes twice as far.
const FIRST: Duration = Duration::from_micros(50);
/// Buckets with a longest time: up to 13 seconds.
const BOUNDED: usize = 19;

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Times {
    /// The last one is for what is longer than all bounds.
    buckets: [AtomicU64; BOUNDED + 1],
    nanoseconds: AtomicU64,
}

/// What a histogram held when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// For each bucket its longest time in seconds, and how many fell into it.
    pub buckets: [(f64, u64); BOUNDED + 1],
    /// The number of times that were counted.
    pub count: u64,
    /// Their sum in seconds.
    pub sum_seconds: f64,
}

impl Times {
    /// Counts a time.
    pub fn add(&self, time: Duration) {
        let mut bound = FIRST;
        let mut bucket = 0;
        while bucket < BOUNDED && time > bound {
            bound *= 2;
            bucket += 1;
        }
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What was counted so far. The sum may lack, or be ahead by, what is counted
    /// meanwhile; the count is always that of the buckets.
    #[must_use]
    pub fn read(&self) -> Counted {
        let mut bound = FIRST;
        let buckets = std::array::from_fn(|bucket| {
            let longest = if bucket < BOUNDED { bound.as_secs_f64() } else { f64::INFINITY };
            bound *= 2;
            (longest, self.buckets[bucket].load(Ordering::Relaxed))
        });
        let count = buckets.iter().map(|(_, count)| count).sum();
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        Counted { buckets, count, sum_seconds: Duration::from_nanos(nanoseconds).as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_reaches_it() {
        let times = Times::default();
        let us = Duration::from_micros;
        for time in [us(0), us(50), us(51), us(100), us(101), Duration::from_secs(60)] {
            times.add(time);
        }
        let Counted { buckets, count, sum_seconds } = times.read();
        assert_eq!(buckets[..4], [(50e-6, 2), (100e-6, 2), (200e-6, 1), (400e-6, 0)]);
        assert_eq!(buckets[BOUNDED], (f64::INFINITY, 1));
        assert_eq!(buckets[BOUNDED - 1], (13.1072, 0));
        assert_eq!((count, sum_seconds), (6, 60.000_302));
    }
}
