//! A serving core's own end of the replica: it proposes writes, keeps the
//! core's view of the history current, and wakes what waits for it.

use std::{
    cell::{Cell, Ref, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use uuid::Uuid;

use super::{
    control::{Control, ReadError},
    inbox::{Full, Inbox, Proposal},
    log_reads::LogReads,
    status::Status,
    writes::{PendingWrite, Writes},
};
use crate::{
    base::{
        batch::Command,
        ids::{ChangeId, ClusterId, NodeId},
        outcome::{StorageProblem, WriteError},
    },
    feed::{Mailbox, Origin, Wait, Waiters},
    io::cores,
    raft::peer::{AdminRefusal, AdminRequest},
    state::{Damaged, History, Index, ListId},
};

struct Inner {
    core: usize,
    cluster: ClusterId,
    status: Arc<Status>,
    inbox: Arc<Inbox>,
    control: Arc<Control>,
    log_reads: Arc<LogReads>,
    mailbox: Arc<Mailbox>,
    history: RefCell<History>,
    index: Arc<Index>,
    waiters: Waiters,
    writes: Writes,
    purged_next: Cell<ChangeId>,
    /// How long connections have to finish, once the node stops.
    stopping: Cell<Option<Duration>>,
    stop_waker: RefCell<Option<Waker>>,
}

/// The replica, as one serving core uses it. Clones share it; it stays on its core.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// What a serving core is built from; may be sent to it.
pub struct CoreContext {
    /// Its number among the serving cores.
    pub core: usize,
    /// The history it serves.
    pub cluster: ClusterId,
    /// The node's condition.
    pub status: Arc<Status>,
    /// The way to the sequencer.
    pub inbox: Arc<Inbox>,
    /// The way to the Raft core for other questions.
    pub control: Arc<Control>,
    /// The way to the Raft core for the log itself.
    pub log_reads: Arc<LogReads>,
    /// The way back.
    pub mailbox: Arc<Mailbox>,
}

impl Handle {
    /// The handle of the core of `context`, which starts out with `history`, the
    /// changes of which are found by `index`.
    #[must_use]
    pub fn new(context: CoreContext, history: History, index: Arc<Index>) -> Self {
        let waiters = Waiters::default();
        waiters.advance(&[], history.last());
        Self(Rc::new(Inner {
            core: context.core,
            cluster: context.cluster,
            status: context.status,
            inbox: context.inbox,
            control: context.control,
            log_reads: context.log_reads,
            mailbox: context.mailbox,
            history: RefCell::new(history),
            index,
            waiters,
            writes: Writes::default(),
            purged_next: Cell::default(),
            stopping: Cell::new(None),
            stop_waker: RefCell::new(None),
        }))
    }

    /// Proposes a write. The result resolves once the write is durable on a
    /// quorum and applied, or certainly or possibly failed.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`] when too many writes wait, and
    /// [`WriteError::Storage`] when this node can make nothing durable; neither
    /// happened.
    pub fn propose(&self, command: Command) -> Result<PendingWrite, WriteError> {
        if self.0.status.halted().is_some() {
            return Err(WriteError::Storage(StorageProblem::Halted));
        }
        if let Some(problem) = self.0.status.storage_problem() {
            return Err(WriteError::Storage(problem));
        }
        let write = self.0.writes.open();
        let proposal = Proposal::new(command, Origin::Core(self.0.core), write.ticket());
        match self.0.inbox.push(proposal) {
            Ok(()) => Ok(write.proposed()),
            Err(Full) => Err(WriteError::Overloaded),
        }
    }

    /// Waits until everything that was acknowledged before, on any node, can be
    /// read here.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn barrier(&self) -> Result<(), ReadError> {
        let outcome = self.0.control.barrier().await;
        self.catch_up();
        outcome
    }

    /// Has the cluster changed, and says which member that concerned.
    ///
    /// # Errors
    /// [`AdminRefusal`]
    pub async fn admin(&self, request: AdminRequest) -> Result<NodeId, AdminRefusal> {
        self.0.control.admin(request).await
    }

    /// The log itself, for whoever keeps a copy of it.
    #[must_use]
    pub fn log_reads(&self) -> &LogReads {
        &self.0.log_reads
    }

    /// The history as this core knows it: after [`catch_up`](Self::catch_up) every change
    /// acknowledged by any core of this node is in it. Must not be held over an await.
    #[must_use]
    pub fn history(&self) -> Ref<'_, History> {
        self.0.history.borrow()
    }

    /// The newest change of that.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.history().last()
    }

    /// What changes are found by. Whoever has looked there calls
    /// [`catch_up_with_index`](Self::catch_up_with_index) before it reads the history or
    /// answers.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// The same, to be taken elsewhere.
    #[must_use]
    pub fn shared_index(&self) -> Arc<Index> {
        Arc::clone(&self.0.index)
    }

    /// Waits until the history of this core goes as far as what was read of the index before:
    /// that is applied to first. On one core, that is at once; else it takes no longer than
    /// applying a batch does.
    pub async fn catch_up_with_index(&self) {
        self.catch_up();
        // What was read came from no later; and the batch ends before what was said when
        // something of it was refused.
        let upto = self.0.index.applying_up_to();
        while self.last() < upto.min(self.0.index.applying_up_to()) {
            cores::yield_now().await;
            self.catch_up();
        }
    }

    /// Waits for a change of `list` after `since`.
    #[must_use]
    pub fn wait_after(&self, list: ListId, since: ChangeId) -> Wait {
        self.0.waiters.wait_after(list, since)
    }

    /// Waits for a change of any of `lists` after `since`; the whole list is none of them.
    #[must_use]
    pub fn wait_after_any(&self, lists: &Arc<[ListId]>, since: ChangeId) -> Wait {
        self.0.waiters.wait_after_any(Arc::clone(lists), since)
    }

    /// Waits for a change of one key after `since`.
    #[must_use]
    pub fn wait_after_key(&self, collection: Uuid, key: &str, since: ChangeId) -> Wait {
        self.0.waiters.wait_after_key(collection, key, since)
    }

    /// Waits until retention comes to a client that goes on after `position`, from
    /// the next purge on.
    #[must_use]
    pub fn until_purged(&self, position: ChangeId) -> Wait {
        self.0.waiters.until_purged(position)
    }

    /// A client that goes on from before it may soon be told that this is purged:
    /// the end of the oldest segment, which goes next. Nothing before the first
    /// purge since the start.
    #[must_use]
    pub fn purged_next(&self) -> ChangeId {
        self.0.purged_next.get()
    }

    /// The identity of the history served here.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    /// The node's condition.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// Tells of stored changes that a read has found damaged, once for each place.
    pub fn tell_damaged(&self, damaged: &Damaged) {
        self.0.status.tell_damaged(&damaged.file, damaged.offset, &damaged.reason);
    }

    /// Whether the node is to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.get().is_some()
    }

    /// Takes what the Raft core has told this core since and acts on it: the history goes on,
    /// writes are resolved, and what waits is woken. Costs one atomic load when there is
    /// nothing. Every request begins with it.
    pub fn catch_up(&self) {
        // Whoever reads the history at this moment goes on with what it sees;
        // the mail waits for the next one.
        let Ok(mut history) = self.0.history.try_borrow_mut() else { return };
        let Some(delivery) = self.0.mailbox.take() else { return };
        for batch in &delivery.batches {
            history.push(batch.clone());
        }
        for segment in delivery.sealed {
            history.add_segment(segment);
        }
        let is_purged = delivery.purged.is_some();
        if let Some((first, checkpointed)) = delivery.purged {
            history.purge(first, checkpointed);
            self.0.purged_next.set(history.purged_next());
        }
        let last = history.last();
        drop(history);
        if let Some(drain) = delivery.stop {
            self.0.stopping.set(Some(drain));
            if let Some(waker) = self.0.stop_waker.take() {
                waker.wake();
            }
        }
        for (ticket, outcome) in delivery.outcomes {
            self.0.writes.resolve(ticket, outcome);
        }
        self.0.waiters.advance(&delivery.batches, last);
        if is_purged {
            self.0.waiters.purge(self.0.purged_next.get());
        }
    }

    /// Keeps this core current, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            poll_fn(|cx| self.0.mailbox.poll_full(cx)).await;
            self.catch_up();
        }
    }

    /// Resolves when the node is to stop, by how long connections have to finish what is under way.
    /// One task at a time may wait for it.
    pub async fn stopped(&self) -> Duration {
        poll_fn(|cx| {
            if let Some(drain) = self.0.stopping.get() {
                return Poll::Ready(drain);
            }
            *self.0.stop_waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
