//! What a tenant uses of this node, and may use. What it may is replicated; what it uses is each
//! node's own count, since its start.

use std::{
    num::NonZeroU64,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::base::{
    bucket::{Bucket, Short},
    ids::Timestamp,
    quota::TenantQuota,
};

/// Seconds of its quota of writes that a tenant may have ordered at once through several nodes: as long as writes may be
/// held up and then be ordered together.
const ORDERED_SECONDS: u64 = 5;
/// How far clocks may differ for what was ordered elsewhere to be counted.
const CLOCKS_DIFFER_MAX: u64 = 1_000_000;

/// One of the things that a quota limits, by its number among [`TenantQuota::MEMBERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Changes written each second.
    Writes,
    /// Requests that read each second.
    Reads,
    /// Long-polls and streams.
    Waits,
    /// Bytes each second.
    Bytes,
}

/// A quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which one.
    pub quota: Quota,
    /// What it allows.
    pub allows: u64,
    /// Nanoseconds until it may do.
    pub wait: u64,
}

/// What a tenant used since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Changes that it asked this node to write.
    pub writes: u64,
    /// Requests that read.
    pub reads: u64,
    /// Bytes of its bodies, and of answers to it.
    pub bytes: u64,
    /// Requests refused for its quota.
    pub refused: u64,
    /// Long-polls and streams that stand now.
    pub waits: u64,
    /// Its changes that were applied, whichever node took them.
    pub changes: u64,
}

impl Use {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.refused += other.refused;
        self.waits += other.waits;
        self.changes += other.changes;
    }
}

#[derive(Debug, Default)]
struct Counts {
    writes: AtomicU64,
    reads: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    waits: AtomicU64,
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Limits {
    /// By [`Quota`]; 0 for none.
    allowed: [AtomicU64; 4],
    writes: Bucket<1>,
    reads: Bucket<1>,
    bytes: Bucket<1>,
    /// What was ordered, here or elsewhere, by the timestamps of batches.
    ordered: Bucket<ORDERED_SECONDS>,
    /// The last of these.
    newest: AtomicU64,
}

impl Limits {
    fn allowed(&self, quota: Quota) -> Option<NonZeroU64> {
        self.allowed.get(quota as usize).and_then(|it| NonZeroU64::new(it.load(Ordering::Relaxed)))
    }
}

/// Counts what one tenant uses: 32 bytes, 48 more once it was used, 72 more once it had a quota. Counting and checking take no
/// lock. Moments are nanoseconds since the first that [`Catalog::moment`](super::Catalog::moment) was asked for.
#[derive(Debug, Default)]
pub struct Meter {
    counts: OnceLock<Box<Counts>>,
    limits: OnceLock<Box<Limits>>,
}

impl Meter {
    fn counts(&self) -> &Counts {
        self.counts.get_or_init(Box::default)
    }

    /// Fails with what a bucket is short of, and counts that.
    fn refuse<T>(
        &self,
        quota: Quota,
        allows: NonZeroU64,
        found: Result<T, Short>,
    ) -> Result<T, Exceeded> {
        found.map_err(|Short(wait)| {
            self.counts().refused.fetch_add(1, Ordering::Relaxed);
            Exceeded { quota, allows: allows.get(), wait }
        })
    }

    /// What the tenant may use.
    #[must_use]
    pub fn quota(&self) -> TenantQuota {
        let Some(limits) = self.limits.get() else { return TenantQuota::default() };
        let all = [Quota::Writes, Quota::Reads, Quota::Waits, Quota::Bytes];
        TenantQuota::of_members(all.map(|quota| limits.allowed(quota)))
    }

    /// Says what the tenant may use from now on, as if it had used nothing.
    pub(super) fn limit(&self, quota: TenantQuota) {
        if quota.is_unlimited() && self.limits.get().is_none() {
            return;
        }
        let limits = self.limits.get_or_init(Box::default);
        limits.writes.fill();
        limits.reads.fill();
        limits.bytes.fill();
        limits.ordered.fill();
        for (allowed, member) in limits.allowed.iter().zip(quota.members()) {
            allowed.store(member.map_or(0, NonZeroU64::get), Ordering::Relaxed);
        }
    }

    /// Counts a change of the tenant that was applied, stamped `at`.
    pub(in crate::state) fn applied(&self, at: Timestamp) {
        self.counts().changes.fetch_add(1, Ordering::Relaxed);
        if let Some(limits) = self.limits.get()
            && let Some(rate) = limits.allowed(Quota::Writes)
        {
            limits.ordered.debit(1, rate, nanoseconds(at));
            limits.newest.store(at.0, Ordering::Relaxed);
        }
    }

    /// Whether more bytes may come and go.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn check_bytes(&self, now: u64) -> Result<(), Exceeded> {
        let Some(limits) = self.limits.get() else { return Ok(()) };
        let Some(rate) = limits.allowed(Quota::Bytes) else { return Ok(()) };
        self.refuse(Quota::Bytes, rate, limits.bytes.check(1, rate, now))
    }

    /// How long to wait until more bytes may go, if that is so.
    #[must_use]
    pub fn bytes_due_in(&self, now: u64) -> Option<u64> {
        let limits = self.limits.get()?;
        let rate = limits.allowed(Quota::Bytes)?;
        limits.bytes.check(1, rate, now).err().map(|Short(wait)| wait)
    }

    /// Counts bytes that came or went.
    pub fn count_bytes(&self, bytes: u64, now: u64) {
        self.counts().bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(limits) = self.limits.get()
            && let Some(rate) = limits.allowed(Quota::Bytes)
        {
            limits.bytes.debit(bytes, rate, now);
        }
    }

    /// Counts a request that reads.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn read(&self, now: u64) -> Result<(), Exceeded> {
        if let Some(limits) = self.limits.get()
            && let Some(rate) = limits.allowed(Quota::Reads)
        {
            self.refuse(Quota::Reads, rate, limits.reads.take(1, rate, now))?;
        }
        self.counts().reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether so many changes could be written. `wall` gives the present as batches are stamped.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn check_writes(
        &self,
        count: u64,
        now: u64,
        wall: impl FnOnce() -> Timestamp,
    ) -> Result<(), Exceeded> {
        let Some(limits) = self.limits.get() else { return Ok(()) };
        let Some(rate) = limits.allowed(Quota::Writes) else { return Ok(()) };
        let wall = wall();
        if limits.newest.load(Ordering::Relaxed) > wall.0.saturating_add(CLOCKS_DIFFER_MAX) {
            // Where stamps run ahead of the clock, they do not tell how fast time passes.
            limits.ordered.fill();
        }
        let ordered = limits.ordered.check(1, rate, nanoseconds(wall));
        let own = limits.writes.check(count, rate, now);
        // Both are to be waited for.
        let both = match (ordered, own) {
            (Err(Short(one)), Err(Short(other))) => Err(Short(one.max(other))),
            (one, other) => one.and(other),
        };
        self.refuse(Quota::Writes, rate, both)
    }

    /// Counts changes that are about to be written.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn write(&self, count: u64, now: u64) -> Result<(), Exceeded> {
        if let Some(limits) = self.limits.get()
            && let Some(rate) = limits.allowed(Quota::Writes)
        {
            self.refuse(Quota::Writes, rate, limits.writes.take(count, rate, now))?;
        }
        self.counts().writes.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Counts one more wait; [`end_wait`](Self::end_wait) takes it back.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn begin_wait(&self) -> Result<(), Exceeded> {
        let waits = &self.counts().waits;
        let standing = waits.fetch_add(1, Ordering::Relaxed);
        let allowed = self.limits.get().and_then(|limits| limits.allowed(Quota::Waits));
        match allowed {
            Some(allowed) if standing >= allowed.get() => {
                waits.fetch_sub(1, Ordering::Relaxed);
                self.refuse(Quota::Waits, allowed, Err(Short(0)))
            }
            _ => Ok(()),
        }
    }

    /// Counts one wait less.
    pub fn end_wait(&self) {
        let before = self.counts().waits.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "each wait ends once");
    }

    /// What the tenant used so far; nothing where it used nothing.
    #[must_use]
    pub fn used(&self) -> Option<Use> {
        let counts = self.counts.get()?;
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Some(Use {
            writes: number(&counts.writes),
            reads: number(&counts.reads),
            bytes: number(&counts.bytes),
            refused: number(&counts.refused),
            waits: number(&counts.waits),
            changes: number(&counts.changes),
        })
    }

    /// How much of what each member of its quota allows is taken, in the same unit.
    #[must_use]
    pub fn taken(&self, now: u64) -> TenantTaken {
        let Some(limits) = self.limits.get() else { return [None; 4] };
        let waits = self.used().unwrap_or_default().waits;
        let taken =
            |quota, bucket: &Bucket<1>| limits.allowed(quota).map(|rate| bucket.taken(rate, now));
        [
            taken(Quota::Writes, &limits.writes),
            taken(Quota::Reads, &limits.reads),
            limits.allowed(Quota::Waits).map(|_| waits),
            taken(Quota::Bytes, &limits.bytes),
        ]
    }
}

/// By [`Quota`]; nothing where there is none.
pub type TenantTaken = [Option<u64>; 4];

fn nanoseconds(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn of(members: [u64; 4]) -> Meter {
        let meter = Meter::default();
        meter.limit(TenantQuota::of_members(members.map(NonZeroU64::new)));
        meter
    }

    #[test]
    fn without_a_quota_everything_is_counted_and_nothing_refused() {
        let meter = of([0; 4]);
        assert!(meter.limits.get().is_none() && meter.used().is_none());
        for _ in 0..1_000 {
            meter.read(0).unwrap();
            meter.write(1_000, 0).unwrap();
            meter.count_bytes(1 << 40, 0);
            meter.begin_wait().unwrap();
            meter.check_bytes(0).unwrap();
            meter.check_writes(1, 0, || unreachable!("nobody asks the clock")).unwrap();
        }
        let used = meter.used().unwrap();
        assert_eq!((used.reads, used.writes, used.bytes), (1_000, 1_000_000, 1_000 << 40));
        assert_eq!((used.waits, used.refused), (1_000, 0));
        assert_eq!(meter.taken(0), [None; 4]);
    }

    #[test]
    fn each_quota_is_kept_by_itself_and_forgotten_with_its_debt() {
        let meter = of([5, 2, 1, 100]);
        meter.read(0).unwrap();
        meter.read(0).unwrap();
        let exceeded = meter.read(0).unwrap_err();
        assert_eq!((exceeded.quota, exceeded.allows, exceeded.wait), (Quota::Reads, 2, SECOND / 2));
        meter.begin_wait().unwrap();
        assert_eq!(meter.begin_wait().unwrap_err().quota, Quota::Waits);
        meter.count_bytes(500, 0);
        assert_eq!(meter.check_bytes(0).unwrap_err().quota, Quota::Bytes);
        assert_eq!(meter.bytes_due_in(0), Some(4 * SECOND + SECOND / 100));
        assert_eq!(meter.taken(0), [Some(0), Some(2), Some(1), Some(500)]);
        assert_eq!(meter.used().unwrap().refused, 3);
        meter.limit(TenantQuota { bytes_per_second: NonZeroU64::new(9), ..TenantQuota::default() });
        assert_eq!(meter.bytes_due_in(0), None);
        meter.read(0).unwrap();
        meter.begin_wait().unwrap();
        meter.limit(TenantQuota::default());
        assert!(meter.quota().is_unlimited());
    }

    #[test]
    fn what_was_ordered_through_other_nodes_counts() {
        let meter = of([10, 0, 0, 0]);
        let at = |seconds: u64| Timestamp(seconds * 1_000_000);
        let check = |wall: u64| meter.check_writes(1, 0, || at(wall));
        // Five seconds' worth may be ordered at once.
        (0..50).for_each(|_| meter.applied(at(100)));
        assert_eq!(check(100).unwrap_err().wait, SECOND / 10);
        assert_eq!(check(101), Ok(()));
        assert!(check(99).is_err());
        // Stamps that run ahead of the clock tell nothing.
        assert_eq!(check(98), Ok(()));
        assert_eq!(check(99), Ok(()));
        // Whoever keeps to the rate is not refused, and writes are counted apart from that.
        (101..120).for_each(|second| {
            (0..10).for_each(|_| meter.applied(at(second)));
            assert_eq!(check(second + 1), Ok(()));
        });
        assert_eq!(meter.used().unwrap().changes, 50 + 190);
        assert_eq!(meter.used().unwrap().writes, 0);
    }

    #[test]
    fn who_is_refused_is_told_when_both_counts_have_room_again() {
        let (meter, at) = (of([100, 0, 0, 0]), Timestamp(100_000_000));
        meter.write(1_000, 0).unwrap();
        (0..1_000).for_each(|_| meter.applied(at));
        let wait = meter.check_writes(1, 0, || at).unwrap_err().wait;
        assert_eq!(wait, 9 * SECOND + SECOND / 100);
        let later = || Timestamp(at.0 + wait / 1_000);
        assert_eq!(meter.check_writes(1, wait, later), Ok(()));
    }
}
