//! Checkpoints on their way to nodes that lie behind purged history: a snapshot
//! is the file of a checkpoint, sent in parts and verified as a whole before it
//! takes the place of what the node had. The node then starts anew from it.

use std::{io, sync::Arc};

use bytes::Bytes;
use openraft::storage::SnapshotMeta;

use super::{
    peer::{Answer, CallError, Channel, PART_BYTES_MAX, Request},
    types::{RaftVote, from_raft_vote, membership_from_json, to_raft_id},
};
use crate::{
    checkpoint::{Head, Transmission},
    io::cores,
    log::Vote,
    state::{CheckpointedChanges, Position},
};

/// A position of the log, and the checkpoint of it where there is one.
#[derive(Clone)]
pub struct SnapshotData {
    pub(super) position: Position,
    /// What can be sent of it.
    pub(super) file: Option<Arc<CheckpointedChanges>>,
    /// It was taken in from another node, and is to be installed.
    pub(super) received: Option<Transmission>,
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotData").field("position", &self.position).finish_non_exhaustive()
    }
}

pub(super) type Snapshot = openraft::alias::SnapshotOf<super::types::TypeConfig, SnapshotData>;
pub(super) type Meta = openraft::alias::SnapshotMetaOf<super::types::TypeConfig>;

/// The snapshot that a checkpoint from another node is.
pub(super) fn received(head: &Head, of: Transmission) -> io::Result<Snapshot> {
    let (last_membership, _) = membership_from_json(&head.raft)?;
    let meta = SnapshotMeta { last_log_id: Some(to_raft_id(head.log_id())), last_membership };
    let snapshot = SnapshotData { position: head.position(), file: None, received: Some(of) };
    Ok(Snapshot { meta, snapshot })
}

/// Sends a checkpoint; gives back the vote that stands there.
pub(super) async fn send(
    channel: &Channel,
    vote: &RaftVote,
    snapshot: &Snapshot,
) -> Result<Vote, CallError> {
    let not_sent = |text: &str| CallError::NotSent(text.to_owned());
    let file = snapshot.snapshot.file.as_ref().ok_or_else(|| not_sent("no checkpoint is held"))?;
    let last = snapshot.meta.last_log_id.as_ref().map(super::types::from_raft_id);
    let last = last.ok_or_else(|| not_sent("the checkpoint is that of no entry"))?;
    let bytes = file.map().len();
    let begin = Request::BeginSnapshot { vote: from_raft_vote(vote), last, bytes: bytes as u64 };
    ask(channel, &begin, Bytes::new()).await?;
    tracing::info!(last = last.index, bytes, "a checkpoint is sent to a node");
    let sent = send_parts(channel, file).await;
    if let Err(error) = &sent {
        tracing::warn!(%error, "a checkpoint could not be sent to a node");
    }
    sent
}

async fn send_parts(channel: &Channel, file: &CheckpointedChanges) -> Result<Vote, CallError> {
    let not_sent = |text: &str| CallError::NotSent(text.to_owned());
    let bytes = file.map().len();
    for start in (0..bytes).step_by(PART_BYTES_MAX) {
        let (map, range) = (Arc::clone(file.map()), start..bytes.min(start + PART_BYTES_MAX));
        // It may have to come from the disk.
        let part = cores::off_core(move || map.get(range).map(Bytes::copy_from_slice)).await;
        let part = part.ok_or_else(|| not_sent("the checkpoint is shorter than it was"))?;
        ask(channel, &Request::SnapshotPart, part).await?;
    }
    match ask(channel, &Request::EndSnapshot, Bytes::new()).await? {
        Answer::Snapshot(vote) => Ok(vote),
        other => Err(CallError::NotSent(format!("the checkpoint was not taken in: {other:?}"))),
    }
}

async fn ask(channel: &Channel, request: &Request, body: Bytes) -> Result<Answer, CallError> {
    match channel.ask(request, body).await? {
        Answer::Failed(text) => Err(CallError::NotSent(text)),
        answer => Ok(answer),
    }
}
