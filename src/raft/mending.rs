//! What is damaged is healed: what is derived of the log is made anew of it, and a complete segment that
//! rotted, or is missing, is put together again. Entries that are not sound in its file come from what
//! is still in memory of it, or from other members. What that amounts to is held against the checksums
//! of the segment and of its index, so it is byte for byte what it was. Where more than entries rotted
//! it is laid out anew, with all entries where they were, so that its index and the segments around it
//! fit as before; or it is left as it is.
//!
//! ```text
//! entries that are not sound · asked of the members, many at once · the whole verified ·
//! nothing erased since · written under another name · synced · renamed · directory synced · readers told
//! ```

use std::{collections::VecDeque, io};

use bytes::Bytes;

use super::{
    Replica, StateMachine,
    compact::Compacted,
    fetched_checkpoint::{self, Wanted, install},
    given_checkpoint,
    givers::{self, ASKED_BYTES, Givers, Gives},
    healing::{self, Healed, give},
    peer::{Answer, Channel, Lane},
    segment_index::{WHOLE_SUFFIX, opened},
    types::Address,
    unsound::{Sound, Unsound},
};
use crate::{
    base::ids::{LogId, NodeId},
    checkpoint::store,
    io::{Disk, cores, map::Mapping},
    log::{self, Entry, Place},
};

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
    let members = || if asking { replica.others() } else { Vec::new() };
    let outcome = match (of(log::index::SUFFIX), of(WHOLE_SUFFIX), of(log::SUFFIX)) {
        (Some(sequence), ..) => healing::index(machine, sequence).await,
        (None, Some(segment), _) => healing::state(machine, segment, name).await,
        (None, None, Some(sequence)) => segment(machine, sequence, Givers::new(members())).await,
        (None, None, None) if store::is_checkpoint(name) => {
            healing::checkpoint(machine, name, members()).await
        }
        (None, None, None) => return Err(io::Error::other("it cannot be made of anything")),
    };
    if let Err(error) = &outcome {
        machine.log().mind_directory(error);
    }
    outcome
}

/// The same at a copy, with entries that its `origin` has.
///
/// # Errors
/// As those of [`heal`].
pub async fn heal_copy<D: Disk>(
    replica: &Replica<D>,
    name: &str,
    origin: impl Gives,
) -> io::Result<Healed> {
    let Some(sequence) = log::number(name, log::SUFFIX) else {
        return heal(replica, name, false).await;
    };
    let outcome = segment(&replica.machine, sequence, origin).await;
    outcome.inspect_err(|error| replica.log.mind_directory(error))
}

/// Mends the complete segment `sequence`, with entries that `givers` have.
pub(super) async fn segment<D: Disk>(
    machine: &StateMachine<D>,
    sequence: u64,
    givers: impl Gives,
) -> io::Result<Healed> {
    let log = machine.log();
    let is_gone = || sequence < log.oldest_segment() || machine.is_superseded();
    if is_gone() {
        return Ok(Healed::Gone);
    }
    // Its index may be being made; one of which all is purged, or that never had entries, needs none.
    let awaits_index = log.entries_in(sequence).is_some() && !machine.has_ended(sequence);
    if sequence >= log.active_segment() || awaits_index {
        return Ok(Healed::Later);
    }
    let mended = async {
        let sound = put_together(machine, sequence, givers).await?;
        put_in_place(machine, sequence, sound).await
    };
    match mended.await {
        // A purge was under way.
        Err(_) if is_gone() => Ok(Healed::Gone),
        mended => mended,
    }
}

/// What the segment `sequence` is once it is mended.
pub(super) async fn put_together<D: Disk>(
    machine: &StateMachine<D>,
    sequence: u64,
    mut givers: impl Gives,
) -> io::Result<Sound> {
    let log = machine.log();
    let before = Some(sequence - 1).filter(|before| *before >= log.oldest_segment());
    let given = [before, Some(sequence)].map(|it| it.and_then(|it| machine.given(it)));
    let files = log.files();
    let look = move || Unsound::look(&files, sequence, before, &given);
    let mut found = cores::in_background("mend", look).await.flatten()?;
    let mut lacking = VecDeque::new();
    for (id, place) in std::mem::take(&mut found.entries) {
        match log.is_given_up(id) {
            // Nobody is to read it any more, and others may not have it.
            true => put(&mut found, place, &Entry::void(id, place.bytes))?,
            false => lacking.push_back((id, place)),
        }
    }
    while let Some(&(first, place)) = lacking.front() {
        let is_near = |it: &&(LogId, Place)| end(&it.1) <= end(&place).max(reach(&place));
        let last = lacking.iter().take_while(is_near).last().map_or(first.index, |it| it.0.index);
        let missing = || io::Error::other(format!("no member that is reached has entry {first}"));
        for entry in givers.entries(first, last).await.ok_or_else(missing)? {
            // What lies between, and is sound, came as well.
            if let Some((_, place)) = lacking.pop_front_if(|(id, _)| *id == entry.id) {
                put(&mut found, place, &entry)?;
            }
        }
    }
    let files = log.files();
    cores::in_background("mend", move || found.sound(&files)).await.flatten()
}

fn put(found: &mut Unsound, place: Place, entry: &Entry) -> io::Result<()> {
    match found.put(place, entry) {
        true => Ok(()),
        false => {
            Err(io::Error::other(format!("entry {} of another member is another one", entry.id)))
        }
    }
}

/// Where an entry ends in its segment.
fn end(place: &Place) -> u64 {
    u64::from(place.offset) + u64::from(place.bytes)
}

/// How far from an entry on others are asked for together with it.
fn reach(place: &Place) -> u64 {
    u64::from(place.offset) + ASKED_BYTES as u64
}

/// Puts a segment that was mended in its place, and gives it to readers.
pub(super) async fn put_in_place<D: Disk>(
    machine: &StateMachine<D>,
    sequence: u64,
    sound: Sound,
) -> io::Result<Healed> {
    let log = machine.log();
    // Nothing is erased of it meanwhile.
    let _alone = machine.indexing().replacing().lock().await;
    let (files, given) = (log.files(), machine.given(sequence));
    let look = move || Ok(sound.is_current(&files, given.as_deref())?.then_some(sound.bytes));
    let current: io::Result<_> = cores::in_background("mend", look).await.flatten();
    // What was erased since it was looked at would be back.
    let Some(bytes) = current? else { return Ok(Healed::Later) };
    if !log.put_anew(sequence, bytes).await.map_err(io::Error::other)? {
        return Ok(Healed::Later);
    }
    let files = log.files();
    let open = move || opened(&files, sequence);
    // Where its index rotted as well, that is made anew next, and readers are given both then.
    if let Ok(index) = cores::in_background("mend", open).await.flatten() {
        give(machine, &index);
    }
    Ok(Healed::Anew)
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
        let own = machine.checkpoint_id();
        if own.is_some_and(|own| own.index >= at.index) || machine.is_superseded() {
            return Ok(None);
        }
        let Some(wanted) = Wanted::of(machine, at) else { return Ok(None) };
        let files = self.log.files();
        let install = move || install(&files, &map, &wanted);
        cores::in_background("checkpoint", install).await.flatten().map(Some)
    }

    /// A part of the checkpoint as of an entry, for a member whose own rotted.
    pub async fn checkpoint_part(&self, at: LogId, offset: u64) -> (Answer, Bytes) {
        given_checkpoint::part(&self.given, &self.machine, at, offset).await
    }

    /// The frames of entries from `first` to index `last`, for a member in whose log some of them
    /// rotted: of that one at least, and of as many as fit an answer. Nothing where this node has not
    /// that entry, or it is longer than an answer may be.
    pub async fn frames_of(&self, first: LogId, last: u64) -> Option<Bytes> {
        givers::frames(&self.log, first, last).await
    }
}
