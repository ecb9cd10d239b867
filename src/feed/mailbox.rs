//! The way from the Raft core to a serving core: a mailbox whose content is
//! merged until it is taken, so posting never waits and never fails.
//!
//! A write must be readable on every core of the node before it is
//! acknowledged on one. So a batch is posted to all mailboxes first, its
//! outcomes after that, and a reader takes its mailbox before it reads.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    base::{batch::NumberedBatch, ids::ChangeId, outcome::Outcome},
    state::{CheckpointedChanges, SealedSegment},
};

/// Names a waiting write on the core that proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u32);

/// Who waits for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The serving core of that number.
    Core(usize),
    /// Another node, which handed it to this one.
    Peer,
}

/// What a serving core is told. Each kind is in the order in which it happened. The order
/// between kinds is lost, so a core takes in the batches first: the rest may be about them.
#[derive(Default)]
pub struct Delivery {
    /// Applied batches that have accepted changes.
    pub batches: Vec<NumberedBatch>,
    /// Segments sealed since; all their batches are in this delivery or in one before.
    pub sealed: Vec<Arc<SealedSegment>>,
    /// Changes below this one are purged, but for some that are kept in a checkpoint.
    pub purged: Option<(ChangeId, Arc<CheckpointedChanges>)>,
    /// What became of writes that this core proposed. At most as many as it
    /// has writes waiting.
    pub outcomes: Vec<(Ticket, Outcome)>,
    /// The node stops: finish what is under way, in this time.
    pub stop: Option<Duration>,
}

#[derive(Default)]
struct Inner {
    delivery: Delivery,
    waker: Option<Waker>,
}

/// What one serving core has yet to take in. Posted to by the Raft core, taken by that core.
#[derive(Default)]
pub struct Mailbox {
    /// Whether there is something to take; read without the lock.
    full: AtomicBool,
    /// Bytes of the batches that wait in it.
    bytes: AtomicUsize,
    inner: Mutex<Inner>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock means a panic on another core, which ends the
        // process; what it guards is whole at every point of the code below.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits here and wakes the core that takes it.
    fn post(&self, add: impl FnOnce(&mut Delivery)) {
        let mut inner = self.lock();
        add(&mut inner.delivery);
        // Release: whoever sees it full also sees what was added.
        self.full.store(true, Ordering::Release);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all that waits; `None`, at the cost of one atomic load, when
    /// nothing does.
    #[must_use]
    pub fn take(&self) -> Option<Delivery> {
        if !self.full.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.lock();
        self.full.store(false, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        Some(std::mem::take(&mut inner.delivery))
    }

    /// Ready once there is something to take.
    pub fn poll_full(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if self.full.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => inner.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// All mailboxes of a node, as the Raft core posts to them. Cloned freely.
#[derive(Clone)]
pub struct Fanout {
    cores: Arc<[Arc<Mailbox>]>,
    /// Gets what became of the writes of other nodes, and nothing else.
    peers: Arc<Mailbox>,
}

impl Fanout {
    /// One mailbox for each of `cores` serving cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { cores: (0..cores).map(|_| Arc::default()).collect(), peers: Arc::default() }
    }

    /// How many serving cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// The mailbox for the writes of other nodes.
    #[must_use]
    pub fn peers(&self) -> Arc<Mailbox> {
        Arc::clone(&self.peers)
    }

    /// The mailbox of one core.
    ///
    /// # Panics
    /// If there is no such core.
    #[must_use]
    pub fn mailbox(&self, core: usize) -> Arc<Mailbox> {
        Arc::clone(&self.cores[core])
    }

    /// Tells every core of an applied batch that has accepted changes.
    pub fn publish(&self, batch: &NumberedBatch) {
        for mailbox in &*self.cores {
            mailbox.post(|delivery| {
                mailbox.bytes.fetch_add(batch.batch.bytes().len(), Ordering::Relaxed);
                delivery.batches.push(batch.clone());
            });
        }
    }

    /// Tells every core of a sealed segment, all of whose batches were
    /// published before.
    pub fn publish_segment(&self, segment: &Arc<SealedSegment>) {
        for mailbox in &*self.cores {
            mailbox.post(|delivery| delivery.sealed.push(Arc::clone(segment)));
        }
    }

    /// Tells every core that changes below `first` are purged, but for those in
    /// `checkpointed`.
    pub fn purge(&self, first: ChangeId, checkpointed: &Arc<CheckpointedChanges>) {
        for mailbox in &*self.cores {
            mailbox.post(|delivery| delivery.purged = Some((first, Arc::clone(checkpointed))));
        }
    }

    /// Tells whoever waits for them what became of writes.
    pub fn resolve(&self, origin: Origin, outcomes: impl IntoIterator<Item = (Ticket, Outcome)>) {
        let mailbox = match origin {
            Origin::Core(core) => &self.cores[core],
            Origin::Peer => &self.peers,
        };
        mailbox.post(|delivery| delivery.outcomes.extend(outcomes));
    }

    /// Tells every core to stop: connections have so much time to finish what is under way.
    pub fn stop(&self, drain: Duration) {
        for mailbox in &*self.cores {
            mailbox.post(|delivery| delivery.stop = Some(drain));
        }
    }

    /// Bytes that wait in the fullest mailbox: how far the slowest core is
    /// behind. Whoever proposes writes keeps it bounded.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.cores.iter().map(|mailbox| mailbox.bytes.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{batch::NumberedBatch, outcome::WriteError},
        state::testing::{batch, numbered},
    };
    use std::{sync::atomic::AtomicU32, task::Wake};

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(id: u64) -> NumberedBatch {
        numbered(id, batch(1, b'x'))
    }

    #[test]
    fn what_is_posted_before_a_take_arrives_in_it_in_order() {
        let fanout = Fanout::new(2);
        let (one, two) = (fanout.mailbox(0), fanout.mailbox(1));
        assert!(one.take().is_none());
        fanout.publish(&change(1));
        fanout.publish(&change(2));
        fanout.resolve(Origin::Core(1), [(Ticket(7), Err(WriteError::NoLeader))]);
        assert_eq!(fanout.backlog_bytes(), 2 * change(1).batch.bytes().len());
        let taken = one.take().unwrap();
        assert_eq!(taken.batches.iter().map(|batch| batch.first.0).collect::<Vec<_>>(), [1, 2]);
        assert!(taken.outcomes.is_empty() && one.take().is_none());
        let taken = two.take().unwrap();
        assert_eq!((taken.batches.len(), taken.outcomes[0].0), (2, Ticket(7)));
        assert_eq!(fanout.backlog_bytes(), 0);
    }

    #[test]
    fn a_waiting_core_is_woken_once_for_what_it_has_not_taken() {
        let fanout = Fanout::new(1);
        let mailbox = fanout.mailbox(0);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(mailbox.poll_full(&mut cx).is_pending());
        fanout.publish(&change(1));
        fanout.publish(&change(2));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(mailbox.poll_full(&mut cx).is_ready());
        drop(mailbox.take());
        assert!(mailbox.poll_full(&mut cx).is_pending());
        fanout.stop(Duration::ZERO);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
