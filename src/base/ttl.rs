//! How long a version of a key is to live.

use super::ids::Timestamp;

/// The longest time to live, in seconds: a hundred years of 365 days.
pub const TTL_SECONDS_MAX: u32 = 100 * 365 * 24 * 60 * 60;

/// The time to live of one version of a key: 1 to [`TTL_SECONDS_MAX`] seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    /// So many seconds; nothing when a key cannot live so long, or not at all.
    #[must_use]
    pub fn new(seconds: u64) -> Option<Self> {
        let seconds = u32::try_from(seconds).ok()?;
        (1..=TTL_SECONDS_MAX).contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// When a version expires that was written `at`.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(u64::from(self.0) * 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_counts_from_the_write() {
        let max = u64::from(TTL_SECONDS_MAX);
        for (seconds, is_one) in
            [(0, false), (1, true), (max, true), (max + 1, false), (1 << 32 | 1, false)]
        {
            assert_eq!(Ttl::new(seconds).map(|ttl| u64::from(ttl.seconds())).is_some(), is_one);
        }
        let ttl = Ttl::new(2).unwrap();
        assert_eq!(ttl.after(Timestamp(7)), Timestamp(2_000_007));
        assert_eq!(ttl.after(Timestamp(u64::MAX)), Timestamp(u64::MAX));
    }
}
