//! The account of the bytes that requests and unsent answers hold: of all
//! connections of a node together, kept without a lock and without an atomic
//! step for what is small.
//!
//! ```text
//!  0 ──────────────── wide ───────────── tight ─────── full
//!  │ everything        │ nothing large   │ reserve: only │ only what the reserve
//!  │                   │                 │ what is small │ still has room for
//! ```
//!
//! What is large stays below the mark by its size, so that it never takes the
//! room of what is of middling size.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::limits::{MIDDLING_HELD_BYTES, SMALL_HELD_BYTES};

/// The part of the bound that is kept for what is small: one in so many.
const RESERVE_SHARE: usize = 8;
/// What is small fits the reserve at least so often.
const SMALL_SHARE: usize = 4;
/// What is of middling size fits between the room for what is large and the
/// reserve at least so often.
const MIDDLING_SHARE: usize = 2;
/// For how long somebody who was refused is thought to want room still: longer
/// than he is told to wait.
const WANTED: Duration = Duration::from_secs(2);
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
    /// How often there was no room for what is not small.
    refused: AtomicUsize,
}

impl HeldByNode {
    /// An account that may come to `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let none = || AtomicUsize::new(0);
        Self { bytes_max, all: none(), small: none(), refused: none() }
    }

    /// Bytes held, as far as the cores have told.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    const fn reserve(&self) -> usize {
        self.bytes_max / RESERVE_SHARE
    }

    /// What all may come to with something large.
    const fn wide(&self) -> usize {
        self.bytes_max - 2 * self.reserve()
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
    /// Refusals of the node that are known, and when they had become more.
    refused: Cell<(usize, Option<Instant>)>,
}

impl HeldByCore {
    /// A core's part, with nothing held.
    #[must_use]
    pub fn new(node: Arc<HeldByNode>) -> Self {
        let grain = (node.bytes_max / GRAIN_SHARE).min(GRAIN_BYTES_MAX);
        let (own, told, refused) = (Cell::default(), Cell::default(), Cell::default());
        Self { node, own, told, grain, refused }
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

    /// From how many bytes on one connection holds much.
    fn middling_bytes(&self) -> usize {
        MIDDLING_HELD_BYTES.min(self.node.reserve() / MIDDLING_SHARE)
    }

    /// Whether only what is small has room.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.sums().all > self.node.bytes_max - self.node.reserve()
    }

    /// Whether one that is counted with `own` bytes may hold `bytes`, which need
    /// not be small. A refusal is remembered, so that slow clients make room.
    #[must_use]
    pub fn admits(&self, own: usize, bytes: usize) -> bool {
        let admitted = bytes <= self.small_bytes() || self.has_room(own, bytes);
        if !admitted {
            self.node.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn has_room(&self, own: usize, bytes: usize) -> bool {
        let others = self.sums().all.saturating_sub(own);
        if others > self.node.bytes_max - self.node.reserve() {
            return false;
        }
        // One that would never fit has its turn when hardly anything is held.
        bytes <= self.middling_bytes()
            || others <= self.node.reserve()
            || others + bytes <= self.node.wide()
    }

    /// Whether not even what is small has room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Sums { all, small } = self.sums();
        all >= self.node.bytes_max && small >= self.node.reserve()
    }

    /// How many bytes must go so that all who want room find some; 0 while they
    /// do. To be called now and then.
    #[must_use]
    pub fn excess(&self, now: Instant) -> usize {
        let (known, mut when) = self.refused.get();
        let refused = self.node.refused.load(Ordering::Relaxed);
        if refused != known {
            when = Some(now);
        }
        self.refused.set((refused, when));
        let wanted = when.is_some_and(|when| now.saturating_duration_since(when) < WANTED);
        if !wanted && !self.is_tight() {
            return 0;
        }
        // Where more is wanted, it comes free step by step.
        self.sums().all.saturating_sub(self.node.wide()).max(self.middling_bytes())
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
        let now = Instant::now();
        assert!(!cores[0].is_tight());
        assert_eq!(cores[0].excess(now), 0);
        large.set(10 * MAX);
        assert_eq!(cores[1].excess(now), 10 * MAX - MAX * 3 / 4);
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
    fn what_is_large_leaves_room_for_what_is_of_middling_size() {
        let (_, cores) = cores(2);
        let core = &cores[0];
        let large = MAX / 5;
        let fill = |bytes: usize| {
            let mut shares = Vec::new();
            while core.admits(0, bytes) {
                let mut share = HeldShare::new(Rc::clone(core));
                share.set(bytes);
                shares.push(share);
            }
            shares
        };
        let mut shares = fill(large);
        assert_eq!(shares.len(), 3, "of three quarters");
        // One that is admitted may grow as far as there is room.
        assert!(core.admits(large, MAX * 3 / 4 - 2 * large));
        assert!(!core.admits(large, MAX * 3 / 4 - 2 * large + 1));
        let middling = fill(core.middling_bytes());
        assert!(middling.len() >= MIDDLING_SHARE && core.is_tight());
        assert!(!core.admits(0, core.small_bytes() + 1) && core.admits(0, core.small_bytes()));
        drop(middling);
        shares.clear();
        assert!(core.admits(0, MAX), "it would never fit otherwise");
    }

    #[test]
    fn room_is_made_while_somebody_is_refused_for_want_of_it() {
        let (_, cores) = cores(2);
        let mut large = HeldShare::new(Rc::clone(&cores[0]));
        large.set(MAX / 2);
        let start = Instant::now();
        let excess = |after| cores.iter().map(move |core| core.excess(start + after));
        assert!(excess(Duration::ZERO).all(|bytes| bytes == 0));
        assert!(!cores[1].admits(0, MAX / 2));
        assert!(excess(Duration::ZERO).all(|bytes| bytes > 0));
        assert!(excess(WANTED / 2).all(|bytes| bytes > 0));
        assert!(excess(WANTED).all(|bytes| bytes == 0));
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
