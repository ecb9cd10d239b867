//! From sealed segments that are to be purged to a checkpoint of the state at
//! their end: everything that later entries, and readers of keys, need of them.
//!
//! The state is rebuilt from the checkpoint before and the segments, apart from
//! the one that goes on being written, so this runs beside everything else.

use std::{
    io::{self, Write},
    ops::RangeInclusive,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    replay::Replay,
    types::{StoredMembership, from_raft_id, membership_to_json},
};
use crate::{
    base::{
        batch::put_change,
        ids::{ChangeId, ClusterId, LogId},
    },
    io::map::Mapping,
    log::offline,
    state::{Carried, History, Located, Position, checkpoint},
};

/// A checkpoint that was written.
#[derive(Clone)]
pub struct Compacted {
    /// The last entry that is in it.
    pub log_id: LogId,
    /// How far the list goes in it: what is up to there may be purged.
    pub position: Position,
    pub(super) membership: StoredMembership,
    pub(super) carried: Arc<Carried>,
}

/// What the disk does for a compaction.
pub struct Files<L, M, W, E> {
    /// Reads a whole segment.
    pub load: L,
    /// Maps a segment.
    pub open_mapping: M,
    /// Where the checkpoint goes.
    pub out: W,
    /// Makes the checkpoint durable and maps it.
    pub end: E,
}

/// Writes the checkpoint of `cluster` that stands for `segments`, to be read after `before`;
/// nothing when they hold no entry that is surely committed.
///
/// # Errors
/// When a segment is damaged, or the disk fails.
pub fn compact<W: Write>(
    cluster: ClusterId,
    mut before: Replay,
    segments: RangeInclusive<u64>,
    files: Files<
        impl Fn(u64) -> io::Result<Bytes>,
        impl Fn(u64) -> io::Result<Mapping>,
        W,
        impl FnOnce(W) -> io::Result<Mapping>,
    >,
) -> io::Result<Option<Compacted>> {
    let Files { load, open_mapping, mut out, end } = files;
    let skip = before.applied().map(|id| id.index);
    offline::replay(segments, skip, load, &mut |entry, place| {
        before.entry(entry, place).map_err(|error| error.to_string())
    })
    .map_err(io::Error::other)?;
    let applied = before.applied().filter(|id| Some(id.index) > skip);
    let Some(applied) = applied else { return Ok(None) };
    let history = before.finish(u64::MAX, open_mapping)?.history();
    let log_id = from_raft_id(&applied);
    let raft = membership_to_json(before.membership(), before.highest())?;
    let change = |id| sent(&history, id);
    let lines = checkpoint::write(&mut out, before.state(), cluster, log_id, raft, change)?;
    let map = end(out)?;
    let (membership, position) = (before.membership().clone(), before.state().position());
    let carried = Arc::new(Carried::new(lines, map));
    Ok(Some(Compacted { log_id, position, membership, carried }))
}

/// The change `id` as it is sent.
fn sent(history: &History, id: ChangeId) -> io::Result<Vec<u8>> {
    let missing = || io::Error::other(format!("change {id} is missing"));
    let mut out = Vec::new();
    match history.locate(id).ok_or_else(missing)? {
        Located::Recent(batch) => {
            put_change(&mut out, id, batch.batch.at(), batch.change(id).tail);
        }
        Located::Sealed(segment, n) => {
            let batch = segment.batch(n).map_err(io::Error::other)?;
            put_change(&mut out, id, batch.batch.at(), batch.change(id).tail);
        }
        Located::Carried(carried, range) => {
            out.extend_from_slice(carried.change(range).ok_or_else(missing)?);
        }
    }
    Ok(out)
}
