//! How Raft is stopped.

use openraft::Raft;

use super::{state_machine::StateMachine, types::TypeConfig};
use crate::io::{Disk, cores};

/// Stops Raft, also when nobody waits for that any more: openraft panics where the first
/// who waits for its end is dropped while others wait.
pub(super) async fn shut_down<D: Disk>(raft: &Raft<TypeConfig, StateMachine<D>>) {
    let raft = raft.clone();
    let stopped = cores::spawn(async move { raft.shutdown().await });
    if let Some(Err(error)) = stopped.await {
        tracing::warn!(%error, "raft did not stop cleanly");
    }
}
