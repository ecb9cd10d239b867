//! How fast something may be used: the generic cell rate algorithm in its form of *virtual
//! scheduling* (ITU-T Recommendation I.371, annex A), for what costs more or less each time.
//!
//! A bucket is a single number, the *theoretical arrival time*: when all that was taken so far would have been taken
//! at exactly its rate. It may lie ahead of the present by the burst. A large take needs a bucket that is full, and may leave it in
//! debt: then nothing can be taken until the debt is paid.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

const SECOND: u64 = 1_000_000_000;

/// A bucket that holds what its rate gives in `SECONDS`. Moments are nanoseconds from wherever its
/// owner counts; who takes part gives the rate each time. It is one atomic number, so any core may take from it.
#[derive(Debug, Default)]
pub struct Bucket<const SECONDS: u64>(AtomicU64);

/// Nanoseconds until there is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short(pub u64);

impl<const SECONDS: u64> Bucket<SECONDS> {
    const BURST: u64 = SECONDS * SECOND;

    /// Takes so many at that moment, or nothing. What is more than the bucket holds can be taken when it is full.
    ///
    /// # Errors
    /// [`Short`]
    pub fn take(&self, count: u64, rate: NonZeroU64, now: u64) -> Result<(), Short> {
        let cost = cost(count, rate);
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            Self::fits(before, cost, now)?;
            let after = before.max(now).saturating_add(cost);
            // Nothing else is told by it.
            match self.0.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(other) => before = other,
            }
        }
    }

    /// Whether so many could be taken.
    ///
    /// # Errors
    /// [`Short`]
    pub fn check(&self, count: u64, rate: NonZeroU64, now: u64) -> Result<(), Short> {
        Self::fits(self.0.load(Ordering::Relaxed), cost(count, rate), now)
    }

    /// Takes so many, whatever is left.
    pub fn debit(&self, count: u64, rate: NonZeroU64, now: u64) {
        let cost = cost(count, rate);
        let after = |before: u64| Some(before.max(now).saturating_add(cost));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
    }

    /// How many are taken at the moment: less each second by the rate, more than the bucket holds in debt.
    #[must_use]
    pub fn taken(&self, rate: NonZeroU64, now: u64) -> u64 {
        let ahead = self.0.load(Ordering::Relaxed).saturating_sub(now);
        let taken = u128::from(ahead) * u128::from(rate.get()) / u128::from(SECOND);
        u64::try_from(taken).unwrap_or(u64::MAX)
    }

    /// Fills it.
    pub fn fill(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn fits(before: u64, cost: u64, now: u64) -> Result<(), Short> {
        let after = before.max(now).saturating_add(cost.min(Self::BURST));
        match after.saturating_sub(now.saturating_add(Self::BURST)) {
            0 => Ok(()),
            short => Err(Short(short)),
        }
    }
}

/// Nanoseconds that the rate takes for so many, rounded up.
fn cost(count: u64, rate: NonZeroU64) -> u64 {
    let cost = (u128::from(count) * u128::from(SECOND)).div_ceil(u128::from(rate.get()));
    u64::try_from(cost).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(rate: u64) -> NonZeroU64 {
        NonZeroU64::new(rate).unwrap()
    }

    #[test]
    fn a_second_s_worth_passes_at_once_and_then_the_rate() {
        let (bucket, ten) = (Bucket::<1>::default(), rate(10));
        let now = 7 * SECOND;
        for n in 0..10 {
            assert_eq!(bucket.taken(ten, now), n);
            assert_eq!(bucket.take(1, ten, now), Ok(()));
        }
        assert_eq!(bucket.take(1, ten, now), Err(Short(SECOND / 10)));
        assert_eq!(bucket.check(3, ten, now), Err(Short(3 * SECOND / 10)));
        assert_eq!(bucket.take(1, ten, now + SECOND / 10 - 1), Err(Short(1)));
        assert_eq!(bucket.take(1, ten, now + SECOND / 10), Ok(()));
        assert_eq!(bucket.take(4, ten, now + SECOND / 2), Ok(()));
        // It never holds more.
        assert_eq!(bucket.take(11, ten, now + 99 * SECOND), Ok(()));
        bucket.fill();
        assert_eq!((bucket.taken(ten, now), bucket.take(10, ten, now)), (0, Ok(())));
    }

    #[test]
    fn what_is_larger_than_the_bucket_needs_it_full_and_leaves_a_debt() {
        let (bucket, ten) = (Bucket::<1>::default(), rate(10));
        assert_eq!(bucket.take(1, ten, SECOND), Ok(()));
        assert_eq!(bucket.take(1_000, ten, SECOND), Err(Short(SECOND / 10)));
        let now = SECOND + SECOND / 10;
        assert_eq!(bucket.take(1_000, ten, now), Ok(()));
        assert_eq!(bucket.taken(ten, now), 1_000);
        assert_eq!(bucket.take(1, ten, now), Err(Short(99 * SECOND + SECOND / 10)));
        assert_eq!(bucket.take(1, ten, now + 99 * SECOND + SECOND / 10), Ok(()));
        let debt = Bucket::<5>::default();
        debt.debit(60, ten, 0);
        assert_eq!(
            (debt.check(1, ten, 0), debt.taken(ten, 0)),
            (Err(Short(SECOND + SECOND / 10)), 60)
        );
        debt.debit(u64::MAX, rate(1), 0);
        assert!(debt.check(1, ten, SECOND).is_err(), "a debt has an end");
    }

    proptest! {
        /// In any time no more passes than the rate gives in it, the burst, and one take that was too large for
        /// that; and what is refused passes when it is said that it does.
        #[test]
        fn no_more_than_the_rate_and_a_burst_pass(
            per_second in 1u64..2_000_000,
            asked in proptest::collection::vec((0u64..2 * SECOND, 1u64..5_000), 1..60),
        ) {
            let (bucket, rate) = (Bucket::<1>::default(), rate(per_second));
            let (mut now, mut passed, mut largest) = (SECOND, 0u128, 0u128);
            for (pause, count) in asked {
                now += pause;
                if let Err(Short(short)) = bucket.take(count, rate, now) {
                    prop_assert!(short > 0 && bucket.check(count, rate, now + short - 1).is_err());
                    prop_assert_eq!(bucket.check(count, rate, now + short), Ok(()));
                    continue;
                }
                passed += u128::from(count);
                largest = largest.max(u128::from(count));
                let given = u128::from(per_second) * u128::from(now) / u128::from(SECOND);
                prop_assert!(passed <= given + largest + 1, "{} of {}", passed, given);
            }
        }

        #[test]
        fn whoever_keeps_to_the_rate_is_never_refused(per_second in 1u64..1_000_000, counts in proptest::collection::vec(1u64..100, 1..50)) {
            let (bucket, rate) = (Bucket::<1>::default(), rate(per_second));
            let mut now = 0;
            for count in counts {
                now += cost(count, rate);
                prop_assert_eq!(bucket.take(count, rate, now), Ok(()));
            }
        }
    }
}
