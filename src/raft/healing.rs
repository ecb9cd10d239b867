//! Index files and whole states that rotted are made anew while the node runs, of the segments and of
//! what the files before them say; a checkpoint is, of what is in memory of it, or
//! of what another member gives.
//!
//! ```text
//! state before the segment · segment read · written under another name · synced · renamed ·
//! directory synced · readers told
//! ```
//!
//! A crash leaves the damaged file or the new one. In memory there are a state and a segment
//! meanwhile, on a thread of their own.

use std::{io, rc::Rc};

use super::{
    compact,
    fetched_checkpoint::{Wanted, fetch, install},
    peer::Channel,
    segment_index::{ANEW_TEMPORARY, Complete, SegmentIndex},
    state_machine::StateMachine,
    whole_state,
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        planted::planted,
    },
    checkpoint::store,
    io::{Disk, Files, cores, is_bad_place},
    log::{self, Reread},
};

/// What became of a file that was to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// It is sound, and readers have it.
    Anew,
    /// It is of no use any more: what it is of is purged, or another took its place.
    Gone,
    /// Something else is being done to it.
    Later,
}

/// Makes the index of the segment `sequence` anew.
pub(super) async fn index<D: Disk>(machine: &StateMachine<D>, sequence: u64) -> io::Result<Healed> {
    // What is erased meanwhile would be in it.
    let _alone = machine.indexing().replacing().lock().await;
    let log = machine.log();
    let is_purged = || sequence < log.oldest_segment() || machine.is_superseded();
    if is_purged() {
        return Ok(Healed::Gone);
    }
    let last = log.entries_in(sequence).map(|(_, last)| last);
    let ends = machine.ended().0;
    let end = ends.into_iter().find(|end| end.sequence == sequence);
    if last.is_some() && end.is_none() {
        // It is being made for the first time, or a checkpoint stands for all of it.
        return Ok(Healed::Later);
    }
    let (files, purged) = (log.files(), machine.checkpoint_id());
    let make = move || {
        let complete = complete(&files, sequence, last, purged)?;
        let position = complete.noted.position;
        if end.is_some_and(|end| end.position != position) {
            return Err(io::Error::other("the segment amounts to something else than before"));
        }
        complete.write_as(&files, ANEW_TEMPORARY)
    };
    match cores::in_background("heal", make).await.flatten() {
        Ok(index) => Ok(give(machine, &index)),
        // A purge was under way.
        Err(_) if is_purged() => Ok(Healed::Gone),
        Err(error) => Err(error),
    }
}

/// Gives an index that was made anew to readers.
pub(super) fn give<D: Disk>(machine: &StateMachine<D>, index: &SegmentIndex) -> Healed {
    if planted!(HealUntold) {
        return Healed::Anew;
    }
    let Some(segment) = &index.segment else {
        // It lists no change. Where its entries lie is for the log to know.
        machine.log().adopt(&index.log.run);
        return Healed::Anew;
    };
    if !machine.replace_sealed(index) {
        // The next purge removes it, or the next start.
        return Healed::Gone;
    }
    // It does not say what was erased already.
    let redactions = &machine.index().redactions;
    redactions.look_again(segment.last(), |id| segment.first() <= id);
    Healed::Anew
}

/// A complete segment, of which entries up to `last` are part of the log and those up to `purged` are
/// purged, as its index is made of it.
fn complete(
    files: &impl Files,
    sequence: u64,
    last: Option<u64>,
    purged: Option<LogId>,
) -> io::Result<Complete> {
    let mut fold = whole_state::upto(files, sequence - 1, purged)?.fold;
    let bytes = files.read(&log::file_name(sequence))?.into();
    let read = log::reread(sequence, &bytes, last).map_err(io::Error::other)?;
    let Reread { identity, sealed, entries } = read;
    let mut batches = Vec::new();
    for entry in &entries {
        // A checkpoint may hold a part of them.
        let batch = fold.go_on(entry, sequence)?;
        batches.extend(batch.map(|batch| (entry.id.index, batch)));
    }
    let (noted, standing) = fold.take_ended(sequence);
    Ok(Complete { identity, sealed, batches, noted, standing })
}

/// Makes the whole state after `segment` anew, in the file `name`.
pub(super) async fn state<D: Disk>(
    machine: &StateMachine<D>,
    segment: u64,
    name: &str,
) -> io::Result<Healed> {
    let (files, name) = (machine.log().files(), name.to_owned());
    let there = move || Ok::<_, io::Error>(files.list()?.iter().any(|file| file.name == name));
    if !cores::off_core(there).await? || machine.is_superseded() {
        return Ok(Healed::Gone);
    }
    let indexing = Rc::clone(machine.indexing());
    if indexing.is_writing() {
        return Ok(Healed::Later);
    }
    indexing.set_writing(true);
    let (files, purged) = (machine.log().files(), machine.checkpoint_id());
    let write = move || whole_state::write(&files, segment, purged);
    let written: io::Result<u64> = cores::in_background("heal", write).await.flatten();
    indexing.set_writing(false);
    written.map(|_| Healed::Anew)
}

/// Makes the checkpoint `name` anew: of what is in memory of it, or else of what one of `members` gives.
pub(super) async fn checkpoint<D: Disk>(
    machine: &StateMachine<D>,
    name: &str,
    members: Vec<(NodeId, Channel)>,
) -> io::Result<Healed> {
    let files = machine.log().files();
    let of_name = || {
        let found = machine.checkpointed().filter(|(id, _)| store::file_name(id.index) == name);
        found.filter(|_| !machine.is_superseded())
    };
    let making = Rc::clone(machine.making_checkpoint());
    let at = {
        // No other checkpoint is made meanwhile.
        let _making = making.lock().await;
        let Some((id, held)) = of_name() else { return Ok(Healed::Gone) };
        let of = files.clone();
        let write = move || compact::again(&of, id.index, &held);
        match cores::in_background("heal", write).await.flatten() {
            Ok(written) => {
                machine.replace_checkpoint(id, &written);
                return Ok(Healed::Anew);
            }
            Err(error) if members.is_empty() || !is_damage(&error) => return Err(error),
            Err(_) => id,
        }
    };
    // Another member may ask this one for the same: neither holds up the other.
    let fetched = fetch(&files, members, at).await?;
    let _making = making.lock().await;
    let wanted = of_name().filter(|(id, _)| *id == at).and_then(|_| Wanted::of(machine, at));
    let Some(wanted) = wanted else { return Ok(Healed::Gone) };
    let install = move || install(&files, &fetched, &wanted);
    let compacted = cores::in_background("heal", install).await.flatten()?;
    machine.replace_checkpoint(at, &compacted.checkpointed);
    machine.look_again_in_checkpoint();
    Ok(Healed::Anew)
}

/// Whether that says that a file is not as it was written.
#[must_use]
pub fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || is_bad_place(error)
}
