//! A Raft core that runs: why it does not go on as it was, and how it stops in order.
//!
//! ```text
//! leadership handed over · no new connections · what is under way finished · writes answered ·
//! Raft stopped · log closed · (the disk made that of a member of another cluster)
//! ```

use std::{future::pending, io, pin::pin, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use super::{settings::Settings, spare::log_waits_for_room};
use crate::{
    base::timing::{DRAIN, DRAIN_SUPERSEDED, HAND_OVER, STOP},
    io::{Disk, cores},
    log::{Identity, Log, OpenError},
    node::{Wiring, members::Adopted},
    raft::{Ailment, Leadership, Replica},
};

/// Why a node does not go on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was told to stop.
    Told,
    /// It is no member of its cluster any more.
    Removed,
    /// It is to become a member of another.
    Adopted(Adopted),
    /// A snapshot of another node takes the place of what it had.
    Superseded,
}

impl Cause {
    /// What the node does after it has stopped.
    #[must_use]
    pub fn end(self) -> End {
        match self {
            Self::Told | Self::Removed => End::Stop,
            Self::Adopted(_) | Self::Superseded => End::Again,
        }
    }
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It stops.
    Stop,
    /// It starts again on the same disk, as another than it was.
    Again,
}

/// Why a node did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The log reported a failure as it was closed.
    #[error("the log was not closed cleanly: {0}")]
    NotClosed(io::Error),
    /// Not everything that was under way ended in time.
    #[error("the node did not stop within {0:?}")]
    NotInTime(Duration),
    /// The log of the member that it is to become cannot take the place of its own.
    #[error(transparent)]
    NotReplaced(OpenError),
    /// That log could not be begun.
    #[error("the log was not begun: {0}")]
    NotBegun(io::Error),
}

/// A Raft core that runs, until it is told to stop.
pub struct Running<D: Disk> {
    pub(super) disk: D,
    pub(super) settings: Settings,
    pub(super) wiring: Wiring,
    pub(super) replica: Rc<Replica<D>>,
    pub(super) sequencer: cores::JoinHandle<()>,
    /// Prepares segments of the log until that is closed.
    pub(super) spare: cores::JoinHandle<()>,
    /// Says whom this node is to become.
    pub(super) adopted: mpsc::Receiver<Adopted>,
}

impl<D: Disk> Running<D> {
    /// The replica itself.
    #[must_use]
    pub fn replica(&self) -> &Rc<Replica<D>> {
        &self.replica
    }

    /// Resolves when the node does not go on as it was, by what happens to it.
    pub async fn ended(&mut self) -> Cause {
        let replica = &self.replica;
        let adopted = pin!(async {
            match self.adopted.recv().await {
                Some(adopted) => Cause::Adopted(adopted),
                // Nobody can ask.
                None => pending().await,
            }
        });
        let removed = pin!(replica.was_removed());
        let superseded = pin!(replica.was_superseded());
        let cause = match select(adopted, select(removed, superseded)).await {
            Either::Left((cause, _)) => cause,
            Either::Right((Either::Left(_), _)) => Cause::Removed,
            Either::Right((Either::Right(_), _)) => Cause::Superseded,
        };
        match cause {
            Cause::Adopted(Adopted { cluster, node }) => {
                tracing::info!(%cluster, node, "this empty node becomes a member of a cluster");
            }
            Cause::Superseded => tracing::info!("this node goes on from a snapshot of another"),
            Cause::Removed => tracing::info!("this node was removed from its cluster; it stops"),
            Cause::Told => {}
        }
        cause
    }

    /// Begins a stop: another node leads afterwards, where one can.
    pub async fn hand_over(&self, cause: Cause) {
        if let Cause::Adopted(_) = cause {
            // Nothing may be written that would be lost.
            self.wiring.inbox.close();
        }
        tracing::info!("stopping");
        hand_over_leadership(&self.replica).await;
    }

    /// Stops the serving cores, and Raft and the log once they have; `served` resolves
    /// then.
    ///
    /// # Errors
    /// [`StopError`]
    pub async fn stop(
        self,
        cause: Cause,
        served: impl Future<Output = ()>,
    ) -> Result<End, StopError> {
        let Self { disk, settings, wiring, replica, sequencer, spare, .. } = self;
        wiring.status.set_ready(false);
        wiring.fanout.stop(match cause {
            // Nothing is applied any more, so most of what waits would wait in vain, and meanwhile the
            // others go on.
            Cause::Superseded => DRAIN_SUPERSEDED,
            _ => DRAIN,
        });
        let stop = async {
            served.await;
            wiring.inbox.close();
            sequencer.await;
            // A write may have been under way.
            let is_empty = replica.is_empty();
            stop_raft(&replica, log_waits_for_room(&replica, &wiring.status))
                .await
                .map(|()| is_empty)
        };
        let stopped = cores::within(STOP, stop).await.ok_or(StopError::NotInTime(STOP))?;
        let is_empty = stopped.map_err(StopError::NotClosed)?;
        if let Cause::Adopted(Adopted { cluster, node }) = cause
            && is_empty
        {
            // It would go on with files that are about to be removed.
            spare.await;
            let options = settings.log_options(Identity { cluster, node });
            let log = Log::replace(disk, options).await.map_err(StopError::NotReplaced)?;
            cores::spawn(log.run());
            log.close().await.map_err(StopError::NotBegun)?;
        }
        Ok(cause.end())
    }
}

/// Stops Raft and closes the log. Where that has `no_room` for what Raft waits for, it is
/// closed first.
async fn stop_raft<D: Disk>(
    replica: &Replica<D>,
    no_room: impl Future<Output = ()>,
) -> io::Result<()> {
    match select(pin!(replica.stop()), pin!(no_room)).await {
        Either::Left(((), _)) => replica.log().close().await,
        Either::Right(((), stopped)) => {
            let closed = replica.log().close().await;
            stopped.await;
            closed
        }
    }
}

/// Has another node lead before this one stops.
async fn hand_over_leadership<D: Disk>(replica: &Replica<D>) {
    if replica.leadership() != Leadership::Here {
        return;
    }
    let Some(to) = replica.heir(Ailment::Stalled).await else { return };
    tracing::info!(to, "leadership is handed over");
    let other = replica.leadership_is(|leader| matches!(leader, Leadership::At(..)));
    if replica.transfer(to).await.is_ok() && cores::within(HAND_OVER, other).await.is_none() {
        tracing::warn!(to, "it did not take over in time");
    }
}
