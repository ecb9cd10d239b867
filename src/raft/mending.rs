//! What is damaged is healed: what is derived of the log is made anew of it, and a complete segment that
//! rotted, or is missing, is put together again. Entries that are not sound in its file come from what
//! is still in memory of it, or from other members. What that amounts to is held against the checksums
//! of the segment and of its index, so it is byte for byte what it was. Where more than entries rotted
//! it is laid out anew, with all entries where they were, so that its index and the segments around it
//! fit as before; or it is left as it is.
//!
//! ```text
//! entries that are not sound · asked of the members · the whole verified ·
//! written under another name · synced · renamed · directory synced · readers told
//! ```

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    Replica,
    compact::Compacted,
    fetched_checkpoint::{self, Wanted, discard, install},
    given_checkpoint,
    healing::{self, Healed, give},
    peer::{Answer, Channel, Lane, Request},
    segment_index::{WHOLE_SUFFIX, opened},
    types::Address,
    unsound::Unsound,
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::MEND_ANSWER,
    },
    checkpoint::store,
    io::{Disk, cores, map::Mapping},
    log::{self, Entry, Frame, decode_frame},
};

/// Entries that are asked of other members at once: each may have some megabytes.
const ASKED_AT_ONCE: usize = 4;

/// Whether a file of that name can be made anew of others.
#[must_use]
pub fn is_derived(name: &str) -> bool {
    [log::index::SUFFIX, WHOLE_SUFFIX].iter().any(|end| log::number(name, end).is_some())
}

/// Whether something may be done for a file of that name when it is damaged.
#[must_use]
pub fn is_healable(name: &str) -> bool {
    is_derived(name) || store::is_checkpoint(name) || log::number(name, log::SUFFIX).is_some()
}

/// Makes the file `name` sound: one that [is derived](is_derived) of what is before it, a checkpoint of
/// what is in memory, a segment of what is left of it; and both, where it is `asking` those, of what
/// other members have.
///
/// # Errors
/// What the disk reports, or what it would be made of is damaged or missing, too: it is as it was.
pub async fn heal<D: Disk>(replica: &Replica<D>, name: &str, asking: bool) -> io::Result<Healed> {
    let machine = &replica.machine;
    let of = |suffix| log::number(name, suffix);
    let outcome = match (of(log::index::SUFFIX), of(WHOLE_SUFFIX), of(log::SUFFIX)) {
        (Some(sequence), ..) => healing::index(machine, sequence).await,
        (None, Some(segment), _) => healing::state(machine, segment, name).await,
        (None, None, Some(sequence)) => segment(replica, sequence, asking).await,
        (None, None, None) if store::is_checkpoint(name) => {
            let members = if asking { replica.others() } else { Vec::new() };
            healing::checkpoint(machine, name, members).await
        }
        (None, None, None) => return Err(io::Error::other("it cannot be made of anything")),
    };
    if let Err(error) = &outcome {
        machine.log().mind_directory(error);
    }
    outcome
}

/// Mends the complete segment `sequence`.
async fn segment<D: Disk>(replica: &Replica<D>, sequence: u64, asking: bool) -> io::Result<Healed> {
    let (machine, log) = (&replica.machine, &replica.log);
    // What is erased meanwhile would be in it.
    let _alone = machine.indexing().replacing().lock().await;
    if sequence < log.oldest_segment() || machine.is_superseded() {
        return Ok(Healed::Gone);
    }
    // Its index may be being made; one of which all is purged, or that never had entries, needs none.
    let awaits_index = log.entries_in(sequence).is_some() && !machine.has_ended(sequence);
    if sequence >= log.active_segment() || awaits_index {
        return Ok(Healed::Later);
    }
    let before = Some(sequence - 1).filter(|before| *before >= log.oldest_segment());
    let given = [before, Some(sequence)].map(|it| it.and_then(|it| machine.given(it)));
    let files = log.files();
    let look = move || Unsound::look(&files, sequence, before, &given);
    let mut found = cores::on_own_thread("mend", look).await.flatten()?;
    let purged = log.purged().map(|id| id.index);
    let lacking = std::mem::take(&mut found.entries);
    let mut came = stream::iter(lacking)
        .map(|(id, place)| async move {
            match (Some(id.index) <= purged, asking) {
                // Nobody is to read it any more.
                (true, _) => (id, place, Some(Entry::void(id, place.bytes))),
                (false, true) => (id, place, fetch(replica, id).await),
                (false, false) => (id, place, None),
            }
        })
        .buffered(ASKED_AT_ONCE);
    while let Some((id, place, entry)) = came.next().await {
        let missing = || io::Error::other(format!("no member that is reached has entry {id}"));
        if !found.put(place, &entry.ok_or_else(missing)?) {
            return Err(io::Error::other(format!("entry {id} of another member is another one")));
        }
    }
    let files = log.files();
    let sound = move || found.sound(&files);
    let bytes = cores::on_own_thread("mend", sound).await.flatten()?;
    if !log.put_anew(sequence, bytes).await.map_err(io::Error::other)? {
        return Ok(Healed::Later);
    }
    let files = log.files();
    let open = move || opened(&files, sequence);
    // Where its index rotted as well, that is made anew next, and readers are given both then.
    if let Ok(index) = cores::on_own_thread("mend", open).await.flatten() {
        give(machine, &index);
    }
    Ok(Healed::Anew)
}

/// That entry, of the first other member that has it.
async fn fetch<D: Disk>(replica: &Replica<D>, id: LogId) -> Option<Entry> {
    for (node, (member, _)) in replica.members() {
        if node != replica.id()
            && let Some(entry) = fetch_from(replica, node, &member.cluster_address, id).await
        {
            return Some(entry);
        }
    }
    None
}

async fn fetch_from<D: Disk>(
    replica: &Replica<D>,
    node: NodeId,
    address: &str,
    id: LogId,
) -> Option<Entry> {
    let channel = replica.channel(node, Lane::Requests, address);
    let called = channel.call(&Request::Entry(id), Bytes::new(), MEND_ANSWER).await;
    let Ok((Answer::Done, body)) = called else { return None };
    match decode_frame(&body, 0)? {
        (Frame::Entry(entry, _), end) if entry.id == id && end == body.len() => Some(entry),
        _ => None,
    }
}

/// A checkpoint that another member gave, not verified.
pub struct FetchedCheckpoint {
    at: LogId,
    map: Mapping,
}

impl<D: Disk> Replica<D> {
    /// The names of the files that must be in the directory besides segments: of the indexes of
    /// complete segments, and of the checkpoint.
    #[must_use]
    pub fn expected_files(&self) -> Vec<String> {
        let (ended, _) = self.machine.ended();
        let indexes = ended.iter().map(|end| log::index::file_name(end.sequence));
        let checkpoint = self.machine.checkpoint_id().map(|id| store::file_name(id.index));
        indexes.chain(checkpoint).collect()
    }

    /// The other members, on the lane of requests.
    fn others(&self) -> Vec<(NodeId, Channel)> {
        let others = self.members().into_iter().filter(|(node, _)| *node != self.id());
        let channel = |(node, (member, _)): (NodeId, (Address, bool))| {
            (node, self.channel(node, Lane::Requests, &member.cluster_address))
        };
        others.map(channel).collect()
    }

    /// The checkpoint that stands for entries up to the end of `segment`, as another member gives it,
    /// in the place of one that cannot be made here: the one before rotted.
    ///
    /// # Errors
    /// What the members answer.
    pub async fn fetch_checkpoint(&self, segment: u64) -> io::Result<FetchedCheckpoint> {
        let gone = || io::Error::other(format!("segment {segment} is purged"));
        let (_, last) = self.log.entries_in(segment).ok_or_else(gone)?;
        let at = self.log.id(last).ok_or_else(gone)?;
        let map = fetched_checkpoint::fetch(&self.log.files(), self.others(), at).await?;
        Ok(FetchedCheckpoint { at, map })
    }

    /// Has what was fetched be the newest checkpoint; nothing where that stands for as much. Whoever
    /// calls holds [`making_checkpoint`](Self::making_checkpoint). Durable on return.
    ///
    /// # Errors
    /// It is not sound, or does not go on from the one that rotted; or what the disk reports.
    pub async fn install_checkpoint(
        &self,
        fetched: FetchedCheckpoint,
    ) -> io::Result<Option<Compacted>> {
        let FetchedCheckpoint { at, map } = fetched;
        let machine = &self.machine;
        let before = machine.checkpointed();
        if before.as_ref().is_some_and(|(id, _)| id.index >= at.index) || machine.is_superseded() {
            return Ok(None);
        }
        let rotten = before.map(|(_, held)| (held, machine.purged_upto()));
        let (cluster, index) = (self.log.identity().cluster, machine.index());
        let (wanted, files) = (Wanted { cluster, at, rotten, index }, self.log.files());
        let install = move || install(&files, &map, &wanted);
        let installed = cores::on_own_thread("checkpoint", install).await.flatten();
        discard(&self.log.files()).await;
        let compacted = installed?;
        let ended = machine.ended().0;
        let end = ended.into_iter().find(|end| end.index == at.index);
        if end.is_none_or(|end| end.position != compacted.position) {
            return Err(io::Error::other("the list goes another way there than here"));
        }
        Ok(Some(compacted))
    }

    /// A part of the checkpoint as of an entry, for a member whose own rotted.
    pub async fn checkpoint_part(&self, at: LogId, offset: u64) -> (Answer, Bytes) {
        given_checkpoint::part(&self.given, &self.machine, at, offset).await
    }

    /// The frame of an entry, for a member in whose log it rotted; nothing where this node has not
    /// that entry, or it is longer than an answer may be.
    pub async fn frame_of(&self, id: LogId, bytes_max: usize) -> Option<Bytes> {
        let read = self.log.read(id.index, id.index + 1, bytes_max).await.ok()?;
        let entry = read.into_iter().next().filter(|entry| entry.id == id)?;
        let frame = [&log::entry_head(&entry)[..], &entry.payload].concat();
        (frame.len() <= bytes_max).then(|| frame.into())
    }
}
