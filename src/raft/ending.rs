//! Why a node does not go on as it is: it was removed, it must start anew from another's
//! checkpoint, what it holds must not be used, or Raft has stopped.

use std::pin::pin;

use futures_util::future::{Either, select};
use openraft::{ServerState, async_runtime::WatchReceiver};

use super::{halt::Halt, replica::Replica};
use crate::io::Disk;

impl<D: Disk> Replica<D> {
    /// Notes that this node is no member any more.
    pub fn note_removed(&self) {
        self.removed.send_replace(true);
    }

    /// Resolves when this node is no member any more: another says so, or it has
    /// applied that itself and leads no longer.
    pub async fn was_removed(&self) {
        let mut told = self.removed.subscribe();
        let mut members = self.machine.membership_changed();
        let mut metrics = self.raft.server_metrics();
        loop {
            members.borrow_and_update();
            let leads = metrics.borrow_and_update().state == ServerState::Leader;
            let member = self.machine.has_member(self.id());
            let was = self.id() > 0 && self.machine.highest() >= self.id();
            if *told.borrow_and_update() || (was && !member && !leads) {
                return;
            }
            let (members, told) = (pin!(members.changed()), pin!(told.changed()));
            let applied = select(members, told);
            if let Either::Left((Err(_), _)) = select(pin!(metrics.changed()), applied).await {
                // Raft has stopped: nothing more will be heard.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves when a snapshot from another node is to take the place of all that is
    /// here: the node must start anew.
    pub async fn was_superseded(&self) {
        self.machine.was_superseded().await;
    }

    /// Has this node start anew, since what is to take the place of all that is here is marked on the
    /// disk.
    pub fn supersede(&self) {
        self.machine.supersede();
    }

    /// Removes what was taken in of a snapshot that is not needed any more.
    pub async fn discard_snapshots(&self) {
        if !self.machine.is_superseded()
            && let Err(error) = self.machine.staging().discard().await
        {
            tracing::warn!(%error, "a snapshot that is not needed is left for now");
        }
    }

    /// Resolves when this node must not go on with what it holds.
    pub async fn halted(&self) -> Halt {
        let mut halt = self.halt.subscribe();
        let halt = halt.wait_for(Option::is_some).await.ok().and_then(|halt| halt.clone());
        match halt {
            Some(halt) => halt,
            // Its sender is here.
            None => std::future::pending().await,
        }
    }

    /// Resolves when Raft has stopped, with the reason unless it was told to.
    pub async fn failed(&self) -> Option<String> {
        let mut metrics = self.raft.metrics();
        loop {
            let ended =
                metrics.borrow_watched().running_state.as_ref().err().map(ToString::to_string);
            let reason = match ended {
                Some(reason) => reason,
                None if metrics.changed().await.is_err() => "its tasks ended".into(),
                None => continue,
            };
            self.has_stopped.set(true);
            // What the log says of itself is the cause, where it has failed.
            let reason = self.log.poison().unwrap_or(reason);
            return (!self.stopping.get()).then_some(reason);
        }
    }
}
