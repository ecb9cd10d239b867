//! What a leader knows of the term in which it leads, and of the batch that it has in flight.

use std::{cell::Cell, pin::pin, rc::Rc, time::Instant};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use crate::{
    base::{
        ids::Timestamp,
        outcome::WriteError,
        timing::{COMMIT_WAIT, DEPOSED_WAIT, FLIGHT_WATCH},
    },
    io::{Disk, cores},
    raft::{Applied, Leadership, Replica},
};

/// A leader's own term.
pub(super) struct LeaderTerm {
    /// The term in which it leads, once everything before that is applied.
    pub(super) term: Option<u64>,
    /// The newest stamp that it gave: none that follows is before it.
    newest: Timestamp,
    flight: Rc<Flight>,
}

/// The batch that is in flight.
#[derive(Default)]
struct Flight {
    /// When it was proposed, while it is.
    since: Cell<Option<Instant>>,
    /// It is not waited for any longer.
    given_up: Notify,
}

impl LeaderTerm {
    /// Before it leads. Batches are watched as long as it is kept.
    pub(super) fn new<D: Disk>(replica: &Rc<Replica<D>>) -> Self {
        let flight = Rc::default();
        cores::spawn(watch(Rc::clone(&flight), Rc::clone(replica)));
        Self { term: None, newest: Timestamp(0), flight }
    }

    /// The stamp of the next batch, which is made at `now`: not before any other.
    pub(super) fn next_stamp(&mut self, now: Timestamp) -> Timestamp {
        self.newest = self.newest.max(now);
        self.newest
    }

    /// What `propose` comes to, unless it takes too long: then nobody knows.
    pub(super) async fn fly(
        &self,
        propose: impl Future<Output = Result<Applied, WriteError>>,
    ) -> Result<Applied, WriteError> {
        assert!(self.flight.since.get().is_none(), "one batch is in flight at a time");
        self.flight.since.set(Some(cores::now()));
        let applied = match select(pin!(propose), pin!(self.flight.given_up.notified())).await {
            Either::Left((applied, _)) => applied,
            Either::Right(_) => Err(WriteError::Unknown),
        };
        self.flight.since.set(None);
        applied
    }
}

/// Gives batches up that are not committed in time, or whose node was deposed. A
/// timer for each would cost more than the rest of a small batch.
async fn watch<D: Disk>(flight: Rc<Flight>, replica: Rc<Replica<D>>) {
    // The leader's term holds the other, as long as it is kept.
    while Rc::strong_count(&flight) > 1 {
        cores::sleep(FLIGHT_WATCH).await;
        let Some(since) = flight.since.get() else { continue };
        let deposed = replica.leadership() != Leadership::Here;
        if cores::elapsed(since) > if deposed { DEPOSED_WAIT } else { COMMIT_WAIT } {
            // Once: the next batch is not meant.
            flight.since.set(None);
            flight.given_up.notify_waiters();
        }
    }
}
