//! Long-polls and streams parked on one core: each waits for a change beyond its
//! `since` in one list, or for a change of one key, and costs one slot. A commit
//! wakes those it concerns and nobody else.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use uuid::Uuid;

use crate::{
    base::{batch::NumberedBatch, ids::ChangeId, planted::planted},
    state::ListId,
};

/// What is waited for. Keys go by a hash: two that share it wake each other's
/// waiters, which look and wait again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Topic {
    List(ListId),
    Key(u64),
    /// That retention comes to what is waited beyond, and no change.
    Retention,
}

/// Waiters for one topic, by the change that they wait after, then by number.
type Waiting = BTreeMap<(ChangeId, u64), Waker>;

#[derive(Default)]
struct Inner {
    /// The newest change that waiters were told of.
    last: ChangeId,
    /// For any change. Invariant: each key's `since` is at least `last`; whoever
    /// waited for less was woken and taken out.
    all: Waiting,
    /// For changes of a part. Invariant: none is empty.
    scoped: HashMap<Topic, Waiting>,
    /// For retention to come to where their clients are.
    positions: Waiting,
    /// Of those who waited for changes of a part and were woken: the last change
    /// before the one that woke them. Each takes its own out when it is dropped.
    woken_after: HashMap<u64, ChangeId>,
    /// What wakes those who wait for changes of several parts: their slots bear no wakers.
    wakers: HashMap<u64, Waker>,
    next: u64,
    hash: RandomState,
}

impl Inner {
    fn waiting(&mut self, topic: Topic) -> &mut Waiting {
        match topic {
            Topic::List(ListId::All) => &mut self.all,
            Topic::Retention => &mut self.positions,
            topic => self.scoped.entry(topic).or_default(),
        }
    }

    /// Gives a waiter its slot. Whoever polls it puts in a waker of its own.
    fn add(&mut self, topic: Topic, since: ChangeId) -> u64 {
        self.next += 1;
        let number = self.next;
        self.waiting(topic).insert((since, number), Waker::noop().clone());
        number
    }

    /// The same for whoever waits for changes of any of `lists`.
    fn add_to_all(&mut self, lists: &[ListId], since: ChangeId) -> u64 {
        self.next += 1;
        let number = self.next;
        for list in lists {
            assert!(*list != ListId::All, "the whole list is waited for alone");
            self.waiting(Topic::List(*list)).insert((since, number), Waker::noop().clone());
        }
        self.wakers.insert(number, Waker::noop().clone());
        number
    }

    /// Whether a waiter was not woken.
    fn waits(&mut self, on: &On, at: (ChangeId, u64)) -> bool {
        match on {
            On::One(topic) => self.waker(*topic, at).is_some(),
            On::Any(_) => self.wakers.contains_key(&at.1),
        }
    }

    /// What wakes a waiter; nothing once it was woken.
    fn waker(&mut self, topic: Topic, at: (ChangeId, u64)) -> Option<&mut Waker> {
        match topic {
            Topic::List(ListId::All) => self.all.get_mut(&at),
            Topic::Retention => self.positions.get_mut(&at),
            topic => self.scoped.get_mut(&topic)?.get_mut(&at),
        }
    }

    fn remove(&mut self, topic: Topic, at: (ChangeId, u64)) {
        match topic {
            Topic::List(ListId::All) => {
                self.all.remove(&at);
            }
            Topic::Retention => {
                self.positions.remove(&at);
            }
            topic => {
                if let Some(waiting) = self.scoped.get_mut(&topic) {
                    waiting.remove(&at);
                    if waiting.is_empty() {
                        self.scoped.remove(&topic);
                    }
                }
            }
        }
    }

    /// Takes out those who wait for the change `id` of a topic.
    fn take(&mut self, topic: Topic, id: ChangeId, woken: &mut Vec<Waker>) {
        let Some(waiting) = self.scoped.get_mut(&topic) else { return };
        assert!(!waiting.is_empty(), "`scoped` has a part that nobody waits for");
        let rest = waiting.split_off(&(id, 0));
        let taken = std::mem::replace(waiting, rest);
        if waiting.is_empty() {
            self.scoped.remove(&topic);
        }
        self.wake(taken, id, woken);
    }

    /// Has those who waited for changes of a part look at the change `id`.
    fn wake(
        &mut self,
        taken: impl IntoIterator<Item = ((ChangeId, u64), Waker)>,
        id: ChangeId,
        woken: &mut Vec<Waker>,
    ) {
        for ((_, number), waker) in taken {
            // Who waits for several parts is woken once, by the first of them.
            if self.woken_after.contains_key(&number) {
                continue;
            }
            let waker = self.wakers.remove(&number).unwrap_or(waker);
            let examined = if planted!(SkipWhatEndedAWait) { id.0 } else { id.0 - 1 };
            self.woken_after.insert(number, ChangeId(examined));
            woken.push(waker);
        }
    }

    fn take_of(&mut self, batch: &NumberedBatch, woken: &mut Vec<Waker>) {
        if self.scoped.is_empty() || batch.batch.is_plain() {
            return;
        }
        for (id, change) in batch.iter() {
            let Some(tenant) = change.tenant() else { continue };
            self.take(Topic::List(ListId::Tenant(tenant)), id, woken);
            let key = change.key();
            if let Some(collection) = change.collection() {
                self.take(Topic::List(ListId::Collection(collection)), id, woken);
                if let Some(key) = &key {
                    self.take(self.key(collection, key), id, woken);
                }
            }
            if change.is_deletion() && key.is_none() {
                // Rare, and it may concern any part of what it takes away.
                let all = std::mem::take(&mut self.scoped).into_values().flatten();
                // In the order in which they came, which does not depend on hashes.
                let all: BTreeMap<_, _> =
                    all.map(|((at, number), waker)| ((number, at), waker)).collect();
                let all = all.into_iter().map(|((number, at), waker)| ((at, number), waker));
                self.wake(all, id, woken);
            }
        }
    }

    fn key(&self, collection: Uuid, key: &str) -> Topic {
        Topic::Key(self.hash.hash_one((collection, key)))
    }
}

/// The waiters of one core.
#[derive(Clone, Default)]
pub struct Waiters(Rc<RefCell<Inner>>);

impl Waiters {
    /// Waits for a change of `list` with an id above `since`. It may resolve for
    /// nothing, at most once for each change after `since` that there is: who
    /// waits looks again.
    #[must_use]
    pub fn wait_after(&self, list: ListId, since: ChangeId) -> Wait {
        self.wait(Topic::List(list), since)
    }

    /// The same for a change of any of several lists.
    #[must_use]
    pub fn wait_after_any(&self, lists: Arc<[ListId]>, since: ChangeId) -> Wait {
        let mut inner = self.0.borrow_mut();
        let is_new = inner.last <= since;
        let number = is_new.then(|| inner.add_to_all(&lists, since));
        Wait { waiters: self.clone(), on: On::Any(lists), since, number }
    }

    /// Waits for a change of one key with an id above `since`, likewise.
    #[must_use]
    pub fn wait_after_key(&self, collection: Uuid, key: &str, since: ChangeId) -> Wait {
        let topic = self.0.borrow().key(collection, key);
        self.wait(topic, since)
    }

    /// Waits until retention comes to a client that goes on after `position`, from
    /// the next purge on.
    #[must_use]
    pub fn until_purged(&self, position: ChangeId) -> Wait {
        let topic = Topic::Retention;
        let number = self.0.borrow_mut().add(topic, position);
        Wait { waiters: self.clone(), on: On::One(topic), since: position, number: Some(number) }
    }

    /// Wakes those whose clients would miss changes if all up to `upto` were purged.
    pub fn purge(&self, upto: ChangeId) {
        let woken = {
            let positions = &mut self.0.borrow_mut().positions;
            let rest = positions.split_off(&(upto, 0));
            std::mem::replace(positions, rest)
        };
        woken.into_values().for_each(Waker::wake);
    }

    fn wait(&self, topic: Topic, since: ChangeId) -> Wait {
        let mut inner = self.0.borrow_mut();
        // Else something may have come since it was looked for.
        let is_new = inner.last <= since;
        // From here on no change goes by unnoticed, however late it is polled.
        let number = is_new.then(|| inner.add(topic, since));
        Wait { waiters: self.clone(), on: On::One(topic), since, number }
    }

    /// Wakes all that wait for something in `batches`, or for something up to
    /// `last` of the whole list.
    pub fn advance(&self, batches: &[NumberedBatch], last: ChangeId) {
        let mut woken = Vec::new();
        {
            let mut inner = self.0.borrow_mut();
            inner.last = inner.last.max(last);
            batches.iter().for_each(|batch| inner.take_of(batch, &mut woken));
            // Those with a `since` of `last` or more go on waiting.
            let told = inner.last;
            let waiting = inner.all.split_off(&(told, 0));
            woken.extend(std::mem::replace(&mut inner.all, waiting).into_values());
            let first = inner.all.first_key_value().map(|((since, _), _)| *since);
            assert!(
                first.is_none_or(|since| since >= told),
                "whoever of `all` waited for less is woken"
            );
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

/// What one waits for.
enum On {
    One(Topic),
    /// Any of these, none of which is the whole list.
    Any(Arc<[ListId]>),
}

/// Resolves once it is worth looking for a change after its `since`. Dropping
/// it frees its slot at once.
pub struct Wait {
    waiters: Waiters,
    on: On,
    since: ChangeId,
    /// Its slot; nothing when there was something to look at from the start.
    number: Option<u64>,
}

impl Wait {
    /// The last change up to which there certainly was none that is waited for:
    /// whoever waited goes on from there, whatever was purged meanwhile.
    #[must_use]
    pub fn examined(&self) -> ChangeId {
        let Some(number) = self.number else { return self.since };
        let mut inner = self.waiters.0.borrow_mut();
        let waits = inner.waits(&self.on, (self.since, number));
        let examined = match waits {
            true => inner.last,
            false => inner.woken_after.get(&number).copied().unwrap_or(self.since),
        };
        examined.max(self.since)
    }

    /// What it waits beyond.
    #[must_use]
    pub fn since(&self) -> ChangeId {
        self.since
    }

    /// Whether it is worth looking.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let Some(number) = self.number else { return true };
        !self.waiters.0.borrow_mut().waits(&self.on, (self.since, number))
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(number) = this.number else { return Poll::Ready(()) };
        let mut inner = this.waiters.0.borrow_mut();
        let waker = match this.on {
            On::One(topic) => inner.waker(topic, (this.since, number)),
            On::Any(_) => inner.wakers.get_mut(&number),
        };
        match waker {
            Some(waker) => waker.clone_from(cx.waker()),
            // Taken out is woken.
            None => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut inner = self.waiters.0.borrow_mut();
            match &self.on {
                On::One(topic) => inner.remove(*topic, (self.since, number)),
                On::Any(lists) => {
                    for list in &**lists {
                        inner.remove(Topic::List(*list), (self.since, number));
                    }
                    inner.wakers.remove(&number);
                }
            }
            inner.woken_after.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests;
