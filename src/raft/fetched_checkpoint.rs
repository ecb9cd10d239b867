//! The checkpoint as of an entry, taken from another member where this node's own rotted. Nobody need
//! be believed but for what nothing is known of any more: the changes that it holds must be those that
//! the rotten one held, each by its checksum, which is in memory; and the whole has a checksum.
//!
//! ```text
//! asked of the members in turn · written under another name, in parts · mapped, the name removed ·
//! verified · written without what is redacted here · synced · renamed · directory synced
//! ```

use std::{collections::BTreeSet, io, io::Write, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    compact::Compacted,
    peer::{Answer, Channel, Request},
    state_machine::StateMachine,
    types::membership_from_json,
};
use crate::{
    base::{
        ids::{ChangeId, ClusterId, LogId, NodeId},
        planted::planted,
        timing::{CHECKPOINT_ASKED, CHECKPOINT_MADE, MEND_ANSWER},
    },
    checkpoint::{Checkpoint, CheckpointFile, format, redact, store},
    io::{Disk, Files, cores, map::Mapping},
    state::{CheckpointedChanges, Index, Position, checkpointed::Line},
};

/// The checkpoint of the entry `at`, mapped as one of `members` gives it, not verified.
///
/// # Errors
/// What each of them answers.
pub(super) async fn fetch<F: Files>(
    files: &F,
    members: Vec<(NodeId, Channel)>,
    at: LogId,
) -> io::Result<Mapping> {
    let mut answers = Vec::new();
    for (node, channel) in members {
        match fetch_from(files, &channel, at).await {
            Ok(map) => return Ok(map),
            Err(error) => answers.push(format!("node {node}: {error}")),
        }
    }
    let answers = if answers.is_empty() { "there is none".into() } else { answers.join("; ") };
    Err(io::Error::other(format!("no other member gives the checkpoint of entry {at}: {answers}")))
}

/// What one member gives. Others may be fetched meanwhile, of other entries: each in a file of its own.
async fn fetch_from<F: Files>(files: &F, channel: &Channel, at: LogId) -> io::Result<Mapping> {
    let (files, name, begun) = (files.clone(), store::fetched_name(at.index), cores::now());
    let (creating, created) = (files.clone(), name.clone());
    let mut out = cores::off_core(move || store::create(&creating, &created)).await?;
    let (mut offset, mut whole) = (0, None);
    let received = loop {
        let (bytes, part) = match part(channel, at, offset, begun).await {
            Ok(part) => part,
            Err(error) => break Err(error),
        };
        offset += part.len() as u64;
        if offset > bytes || part.is_empty() || *whole.get_or_insert(bytes) != bytes {
            break Err(io::Error::other("it became another one meanwhile"));
        }
        let written;
        (written, out) = cores::off_core(move || (out.write_all(&part), out)).await;
        if written.is_err() || offset == bytes {
            break written;
        }
    };
    // Nobody needs it after the process, or by its name.
    cores::off_core(move || {
        let map = received.and_then(|()| out.flush()).and_then(|()| files.map(&name));
        let removed = files.remove(&name);
        map.and_then(|map| removed.map(|()| map))
    })
    .await
}

/// The part at `offset`, and how long all of it is. It may be being made, since `begun`.
async fn part(
    channel: &Channel,
    at: LogId,
    offset: u64,
    begun: Instant,
) -> io::Result<(u64, Bytes)> {
    loop {
        let request = Request::Checkpoint { at, offset };
        let called = channel.call(&request, Bytes::new(), MEND_ANSWER).await;
        let (answer, part) = called.map_err(io::Error::other)?;
        match answer {
            Answer::CheckpointPart { bytes } => return Ok((bytes, part)),
            Answer::Later if cores::elapsed(begun) < CHECKPOINT_MADE => {
                cores::sleep(CHECKPOINT_ASKED).await;
            }
            Answer::Later => return Err(io::Error::other("it is not made in time")),
            Answer::Failed(why) => return Err(io::Error::other(why)),
            _ => return Err(io::Error::other("it does not know what that is")),
        }
    }
}

/// What a fetched checkpoint must be.
pub(super) struct Wanted {
    pub(super) cluster: ClusterId,
    /// The last entry that it stands for.
    pub(super) at: LogId,
    /// How far the list goes there, where that is known.
    pub(super) position: Option<Position>,
    /// What this node has in memory of the one that rotted, and the last change that is purged with it.
    pub(super) rotten: Option<(Arc<CheckpointedChanges>, ChangeId)>,
    /// What is redacted here by now.
    pub(super) index: Arc<Index>,
}

/// Verifies a checkpoint that was fetched, and has it take the place of the one of the same entry, if
/// there is one. Durable on return.
///
/// # Errors
/// It is not sound, or another than is wanted; or what the disk reports.
pub(super) fn install(files: &impl Files, map: &Mapping, wanted: &Wanted) -> io::Result<Compacted> {
    let unsound = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    map.populate(0..map.len())?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    let Checkpoint { head, lines, .. } = format::read(bytes).map_err(unsound)?;
    let (log_id, cluster, position) = (head.log_id(), ClusterId(head.cluster), head.position());
    if (log_id, cluster) != (wanted.at, wanted.cluster) {
        return Err(unsound(format!("it is that of entry {log_id} of cluster {cluster}")));
    }
    let (membership, _) = membership_from_json(&head.raft)?;
    let redacted: BTreeSet<ChangeId> =
        lines.iter().map(|line| line.id).filter(|id| wanted.is_redacted(*id)).collect();
    if !planted!(TakeAnyCheckpoint) {
        wanted.compare(&lines, &redacted, position).map_err(unsound)?;
    }
    let to_erase = if planted!(KeepRedactedOfCheckpoint) { BTreeSet::new() } else { redacted };
    let (lines, map) = store::replace(files, log_id.index, |out| redact(out, bytes, &to_erase))?;
    let name = store::file_name(log_id.index);
    let file = CheckpointFile { name: name.clone(), bytes: map.len() as u64, log_id, cluster };
    let checkpointed = Arc::new(CheckpointedChanges::new(name, lines, map));
    Ok(Compacted { file, log_id, position, membership, checkpointed })
}

impl Wanted {
    /// What `machine` knows of the checkpoint of the entry `at`: of the one that rotted, or of the end of a
    /// segment. Nothing when it is neither.
    pub(super) fn of<D: Disk>(machine: &StateMachine<D>, at: LogId) -> Option<Self> {
        let end = || machine.ended().0.into_iter().find(|end| end.index == at.index);
        let position = match machine.checkpoint_id() {
            Some(id) if id == at => machine.purged_position(),
            _ => end().map(|end| end.position),
        };
        Some(Self {
            cluster: machine.log().identity().cluster,
            at,
            position: Some(position?),
            rotten: machine.checkpointed().map(|(_, held)| (held, machine.purged_upto())),
            index: machine.index(),
        })
    }

    fn is_redacted(&self, id: ChangeId) -> bool {
        self.index.redactions.contains(id)
    }

    /// Holds a checkpoint that goes up to `position` against what is known of it, and its changes against
    /// those of the rotten one.
    fn compare(
        &self,
        lines: &[Line],
        redacted: &BTreeSet<ChangeId>,
        position: Position,
    ) -> Result<(), String> {
        if self.position.is_some_and(|wanted| wanted != position) {
            return Err("the list goes another way there than here".to_owned());
        }
        let Some((rotten, purged)) = &self.rotten else { return Ok(()) };
        let of_rotten = lines.iter().filter(|line| line.id <= *purged);
        let mut ids = BTreeSet::new();
        for line in of_rotten {
            let is_redacted = redacted.contains(&line.id) && rotten.range(line.id).is_some();
            if !is_redacted && !rotten.has(line) {
                return Err(format!("change {} is not in it as it was here", line.id));
            }
            ids.insert(line.id);
        }
        // Of a later entry, some may have been replaced or deleted.
        match rotten.ids().find(|id| !ids.contains(id)) {
            Some(id) if position.last == *purged => Err(format!("change {id} is not in it")),
            _ => Ok(()),
        }
    }
}
