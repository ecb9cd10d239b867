//! Entries on their way to another node, and its answer, as messages.

use bytes::Bytes;
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError},
};

use super::{
    peer::{AppendAnswer, Parts, Request},
    types::{Command, Entry, RaftLogId, TypeConfig, from_raft_id, from_raft_vote, to_log},
};
use crate::log::entry_head;

/// A request to append, and the bytes of its entries.
pub(super) fn append_message(
    rpc: AppendEntriesRequest<TypeConfig>,
) -> std::io::Result<(Request, Parts)> {
    let request = Request::Append {
        vote: from_raft_vote(&rpc.vote),
        previous: rpc.prev_log_id.as_ref().map(from_raft_id),
        committed: rpc.leader_commit.as_ref().map(from_raft_id),
        entries: u32::try_from(rpc.entries.len()).map_err(std::io::Error::other)?,
    };
    let mut parts = Parts::new();
    for entry in rpc.entries {
        let entry = to_log(entry)?;
        parts.push(Bytes::copy_from_slice(&entry_head(&entry)));
        if !entry.payload.is_empty() {
            parts.push(entry.payload);
        }
    }
    Ok((request, parts))
}

/// The bytes of an entry, as far as they matter to how many are sent at once.
fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Command(batch)) => batch.bytes().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Cuts a request so that its entries have at most so many bytes, one entry at least; whether there
/// were more.
pub(super) fn cut(rpc: &mut AppendEntriesRequest<TypeConfig>, bytes_max: usize) -> bool {
    let mut bytes = 0;
    let mut fits = |entry: &Entry| {
        bytes += entry_bytes(entry);
        bytes <= bytes_max
    };
    let count = rpc.entries.iter().take_while(|entry| fits(entry)).count().max(1);
    let is_longer = count < rpc.entries.len();
    rpc.entries.truncate(count);
    is_longer
}

/// The answer of this node to what it was asked to append; `room` is what its log has where
/// that lacks a segment.
pub(super) fn append_answer(
    response: AppendEntriesResponse<TypeConfig>,
    previous: Option<RaftLogId>,
    last: Option<RaftLogId>,
    room: Option<u64>,
) -> AppendAnswer {
    match response.into_stream_result(previous, last) {
        Ok(last) => AppendAnswer::Held { last: last.as_ref().map(from_raft_id), room },
        Err(StreamAppendError::Conflict(at)) => AppendAnswer::Conflict(from_raft_id(&at)),
        Err(StreamAppendError::HigherVote(vote)) => AppendAnswer::HigherVote(from_raft_vote(&vote)),
    }
}
