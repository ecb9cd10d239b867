//! The account of the bytes that requests and unsent answers hold: of all
//! connections of a node together, kept without a lock and without an atomic
//! step for what is small.
//!
//! ```text
//!  0 ────────────────────────────── tight ─────── full
//!  │ everything                     │ reserve: only │ only what the reserve
//!  │                                │ what is small │ still has room for
//! ```

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::limits::SMALL_HELD_BYTES;

/// The part of the bound that is kept for what is small: one in so many.
const RESERVE_SHARE: usize = 8;
/// What is small fits the reserve at least so often.
const SMALL_SHARE: usize = 4;
/// A core tells the others when its sums have moved by one part in so many of
/// the bound, and at least by this.
const GRAIN_SHARE: usize = 64;
const GRAIN_BYTES_MAX: usize = 64 << 10;

/// What all cores of a node hold, and may hold.
#[derive(Debug)]
pub struct HeldByNode {
    bytes_max: usize,
    /// Bytes held. Invariant: at least `small`, once every core has told all.
    all: AtomicUsize,
    /// Bytes of those who hold little each.
    small: AtomicUsize,
}

impl HeldByNode {
    /// An account that may come to `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, all: AtomicUsize::new(0), small: AtomicUsize::new(0) }
    }

    /// Bytes held, as far as the cores have told.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    const fn reserve(&self) -> usize {
        self.bytes_max / RESERVE_SHARE
    }
}

/// Sums of bytes held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    all: usize,
    small: usize,
}

/// What the connections of one core hold, as a part of what its node does.
#[derive(Debug)]
pub struct HeldByCore {
    node: Arc<HeldByNode>,
    own: Cell<Sums>,
    /// What of `own` the node knows.
    told: Cell<Sums>,
    grain: usize,
}

impl HeldByCore {
    /// A core's part, with nothing held.
    #[must_use]
    pub fn new(node: Arc<HeldByNode>) -> Self {
        let grain = (node.bytes_max / GRAIN_SHARE).min(GRAIN_BYTES_MAX);
        Self { node, own: Cell::default(), told: Cell::default(), grain }
    }

    /// Up to how many bytes one connection holds little.
    #[must_use]
    pub fn small_bytes(&self) -> usize {
        SMALL_HELD_BYTES.min(self.node.reserve() / SMALL_SHARE)
    }

    /// Bytes that the whole node holds.
    #[must_use]
    pub fn node_bytes(&self) -> usize {
        self.sums().all
    }

    /// Whether only what is small has room.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.is_tight_besides(0)
    }

    /// The same without `own` bytes of those that are held.
    #[must_use]
    pub fn is_tight_besides(&self, own: usize) -> bool {
        self.sums().all.saturating_sub(own) > self.node.bytes_max - self.node.reserve()
    }

    /// Whether not even what is small has room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Sums { all, small } = self.sums();
        all >= self.node.bytes_max && small >= self.node.reserve()
    }

    /// How many bytes must go so that large answers have room again; 0 while they
    /// have.
    #[must_use]
    pub fn excess(&self) -> usize {
        if !self.is_tight() {
            return 0;
        }
        self.sums().all.saturating_sub(self.node.bytes_max - 2 * self.node.reserve())
    }

    /// What the node holds, this core's latest included.
    fn sums(&self) -> Sums {
        let (own, told) = (self.own.get(), self.told.get());
        let sum = |node: &AtomicUsize, own: usize, told: usize| {
            (node.load(Ordering::Relaxed) + own).saturating_sub(told)
        };
        Sums {
            all: sum(&self.node.all, own.all, told.all),
            small: sum(&self.node.small, own.small, told.small),
        }
    }

    /// Counts that one connection holds `now` bytes instead of `before`.
    fn change(&self, before: usize, now: usize) {
        let small = |bytes: usize| if bytes > self.small_bytes() { 0 } else { bytes };
        let Sums { all, small: all_small } = self.own.get();
        // A connection gives back only what it has.
        let own = Sums { all: all - before + now, small: all_small - small(before) + small(now) };
        self.own.set(own);
        let told = self.told.get();
        let moved = own.all.abs_diff(told.all).max(own.small.abs_diff(told.small));
        if moved > self.grain || (own == Sums::default() && moved > 0) {
            add(&self.node.all, told.all, own.all);
            add(&self.node.small, told.small, own.small);
            self.told.set(own);
        }
    }
}

fn add(sum: &AtomicUsize, before: usize, now: usize) {
    if now >= before {
        sum.fetch_add(now - before, Ordering::Relaxed);
    } else {
        sum.fetch_sub(before - now, Ordering::Relaxed);
    }
}

/// What one connection holds; given back when dropped.
#[derive(Debug)]
pub struct HeldShare {
    core: Rc<HeldByCore>,
    bytes: usize,
}

impl HeldShare {
    /// A share of `core`'s account, empty.
    #[must_use]
    pub fn new(core: Rc<HeldByCore>) -> Self {
        Self { core, bytes: 0 }
    }

    /// Counts `bytes` instead of what was counted before.
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.core.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    /// Bytes counted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const MAX: usize = 64 << 10;

    fn cores(count: usize) -> (Arc<HeldByNode>, Vec<Rc<HeldByCore>>) {
        let node = Arc::new(HeldByNode::new(MAX));
        let cores = (0..count).map(|_| Rc::new(HeldByCore::new(Arc::clone(&node)))).collect();
        (node, cores)
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_shares_after_every_step(
            steps in vec((0..6_usize, prop_oneof![Just(0), 0..5_000_usize, 0..MAX]), 0..60),
        ) {
            let (node, cores) = cores(2);
            let mut shares: Vec<_> =
                (0..6).map(|n| HeldShare::new(Rc::clone(&cores[n % 2]))).collect();
            for (n, bytes) in steps {
                shares[n].set(bytes);
                let all: usize = shares.iter().map(HeldShare::bytes).sum();
                let of = |core: usize| shares.iter().skip(core).step_by(2).map(HeldShare::bytes);
                for (n, core) in cores.iter().enumerate() {
                    prop_assert_eq!(core.own.get().all, of(n).sum::<usize>());
                    let small = of(n).filter(|&bytes| bytes <= core.small_bytes());
                    prop_assert_eq!(core.own.get().small, small.sum::<usize>());
                    // The other core may have kept a grain to itself.
                    prop_assert!(core.sums().all.abs_diff(all) <= core.grain);
                }
                prop_assert!(node.bytes().abs_diff(all) <= 2 * cores[0].grain);
            }
            drop(shares);
            prop_assert_eq!(node.bytes(), 0);
            prop_assert_eq!(node.small.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn what_is_small_has_a_reserve_that_nothing_large_takes() {
        let (_, cores) = cores(2);
        let share = || HeldShare::new(Rc::clone(&cores[0]));
        let mut large = share();
        large.set(MAX - MAX / RESERVE_SHARE);
        assert!(!cores[0].is_tight());
        assert_eq!(cores[0].excess(), 0);
        large.set(10 * MAX);
        assert_eq!(cores[1].excess(), 10 * MAX - MAX * 3 / 4);
        assert!(cores.iter().all(|core| core.is_tight() && !core.is_full()));
        let small = cores[0].small_bytes();
        let mut several: Vec<_> = (0..SMALL_SHARE).map(|_| share()).collect();
        for share in &mut several {
            assert!(!cores[0].is_full());
            share.set(small);
        }
        assert!(cores[0].is_full());
        drop(large);
        assert!(!cores[0].is_tight());
    }

    #[test]
    fn what_is_small_may_have_all_that_is_free() {
        let (_, cores) = cores(1);
        let mut several = Vec::new();
        while !cores[0].is_full() {
            let mut share = HeldShare::new(Rc::clone(&cores[0]));
            share.set(cores[0].small_bytes());
            several.push(share);
        }
        assert_eq!(several.len(), RESERVE_SHARE * SMALL_SHARE);
    }
}
