//! The checkpoint as of any entry that this node still has, made for a member whose own rotted. Each
//! member purges at the ends of segments of its own, so few have checkpoints of the same entry; but
//! what a history amounts to after an entry is the same on all.
//!
//! ```text
//! asked for · state before the segment of the entry · entries of the segment up to it ·
//! written, without a name · given in parts · dropped a while after the last part
//! ```
//!
//! In memory there are a state and at most the entries of a segment meanwhile, on a thread of its own.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    compact::{history, put},
    peer::Answer,
    snapshot::read_part,
    state_machine::StateMachine,
    types::from_raft_id,
    whole_state::{self, Begun},
};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        planted::planted,
        timing::CHECKPOINT_KEPT,
    },
    checkpoint::store,
    io::{Disk, Files, cores, map::Mapping},
    log::Entry,
};

/// Bytes of a part: few, since each is copied on the core of Raft.
const PART_BYTES: usize = 256 << 10;
/// Bytes of entries that are read at once.
const READ_BYTES: usize = 1 << 20;

/// The checkpoint that others are given. One at a time is made, or kept.
#[derive(Default)]
pub(super) struct GivenCheckpoint(RefCell<State>);

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    Making(LogId),
    Failed(LogId, String),
    Made {
        at: LogId,
        map: Arc<Mapping>,
        asked: Instant,
    },
}

impl GivenCheckpoint {
    /// What is known of the checkpoint of `at`: its file, or what is to be answered in its place. That it
    /// cannot be made is told once. Nothing when it may be begun.
    fn of(&self, at: LogId) -> Option<Result<Arc<Mapping>, Answer>> {
        let state = &mut *self.0.borrow_mut();
        match state {
            State::Made { at: made, map, asked } if *made == at => {
                *asked = cores::now();
                Some(Ok(Arc::clone(map)))
            }
            State::Failed(made, why) if *made == at => {
                let why = std::mem::take(why);
                *state = State::Nothing;
                Some(Err(Answer::Failed(why)))
            }
            State::Making(made) if *made == at => Some(Err(Answer::Later)),
            State::Making(other) | State::Made { at: other, .. } => {
                Some(Err(Answer::Failed(format!("it gives somebody that of entry {other}"))))
            }
            State::Nothing | State::Failed(..) => None,
        }
    }

    /// Keeps what was made, or why it was not.
    fn keep(self: &Rc<Self>, at: LogId, made: io::Result<Arc<Mapping>>) {
        let state = match made {
            Ok(map) => State::Made { at, map, asked: cores::now() },
            Err(error) => State::Failed(at, error.to_string()),
        };
        self.0.replace(state);
        let given = Rc::clone(self);
        cores::spawn(async move {
            while given.is_wanted(at) {
                cores::sleep(CHECKPOINT_KEPT).await;
            }
        });
    }

    /// Whether the checkpoint of `at` was asked for lately; one that was not is dropped.
    fn is_wanted(&self, at: LogId) -> bool {
        let state = &mut *self.0.borrow_mut();
        match state {
            State::Made { at: made, asked, .. } if *made == at => {
                let is_wanted = cores::elapsed(*asked) < CHECKPOINT_KEPT;
                if !is_wanted && let State::Made { map, .. } = std::mem::take(state) {
                    // Its bytes go with it.
                    cores::off_core_detached(move || drop(map));
                }
                is_wanted
            }
            _ => false,
        }
    }
}

/// A part of the checkpoint of the entries up to `at`, which is made first.
pub(super) async fn part<D: Disk>(
    given: &Rc<GivenCheckpoint>,
    machine: &StateMachine<D>,
    at: LogId,
    offset: u64,
) -> (Answer, Bytes) {
    let known = given.of(at).unwrap_or_else(|| {
        check(machine, at).map_err(Answer::Failed)?;
        begin(given, machine, at);
        Err(Answer::Later)
    });
    let map = match known {
        Ok(map) => map,
        Err(answer) => return (answer, Bytes::new()),
    };
    let bytes = map.len() as u64;
    match read_part(map, offset, PART_BYTES).await {
        Ok(part) => (Answer::CheckpointPart { bytes }, part),
        Err(error) => (Answer::Failed(error.to_string()), Bytes::new()),
    }
}

/// Whether it can be made now, or why not. Who asks is not held up: another member may have it.
fn check<D: Disk>(machine: &StateMachine<D>, at: LogId) -> Result<(), String> {
    if machine.is_superseded() {
        return Err("the node starts anew".to_owned());
    }
    let own = machine.checkpoint_id();
    match own {
        Some(own) if own == at => return Ok(()),
        Some(own) if own.index >= at.index => {
            return Err(format!("its own checkpoint is of entry {own}"));
        }
        _ => {}
    }
    let applied = machine.applied_index();
    if applied < at.index {
        return Err(format!("it has applied no more than entry {applied}"));
    }
    match machine.log().id(at.index) {
        Some(id) if id == at => Ok(()),
        Some(id) => Err(format!("it has entry {id} there")),
        None => Err(format!("it does not have entry {at}")),
    }
}

fn begin<D: Disk>(given: &Rc<GivenCheckpoint>, machine: &StateMachine<D>, at: LogId) {
    given.0.replace(State::Making(at));
    let (given, machine) = (Rc::clone(given), machine.clone());
    cores::spawn(async move {
        let made = make(&machine, at).await;
        given.keep(at, made);
    });
}

async fn make<D: Disk>(machine: &StateMachine<D>, at: LogId) -> io::Result<Arc<Mapping>> {
    // Nothing is purged meanwhile.
    let making = Rc::clone(machine.making_checkpoint());
    let _making = making.lock().await;
    let purged = machine.checkpoint_id();
    if purged == Some(at) {
        let own = machine.checkpoint().filter(|(id, _)| *id == at);
        return own.map(|(_, map)| map).ok_or_else(|| io::Error::other("it is being replaced"));
    }
    let log = machine.log();
    let gone = || io::Error::other(format!("entry {at} is purged"));
    let segment = log.segment(at.index).ok_or_else(gone)?;
    let first = log.entries_in(segment).map_or(at.index, |(first, _)| first);
    let mut next = purged.map_or(first, |purged| first.max(purged.index + 1));
    let mut entries = Vec::new();
    while next <= at.index {
        let read = log.read(next, at.index + 1, READ_BYTES).await?;
        next = read.last().ok_or_else(gone)?.id.index + 1;
        entries.extend(read);
    }
    let (files, cluster) = (log.files(), log.identity().cluster);
    let make = move || made_of(&files, cluster, segment, &entries, purged, at);
    cores::in_background("checkpoint", make).await.flatten().map(Arc::new)
}

/// The checkpoint of the entry `at`: of what is before its segment, and of `entries` of that.
pub(super) fn made_of(
    files: &impl Files,
    cluster: ClusterId,
    segment: u64,
    entries: &[Entry],
    purged: Option<LogId>,
    at: LogId,
) -> io::Result<Mapping> {
    let Begun { mut fold, checkpoint, found, .. } = whole_state::upto(files, segment - 1, purged)?;
    let mut history = history(checkpoint, found);
    for entry in entries {
        if planted!(GiveWithoutEntry) && entry.id.index + 1 == at.index {
            continue;
        }
        let batch = fold.go_on(entry, segment)?.filter(|batch| batch.changes() > 0);
        batch.into_iter().for_each(|batch| history.push(batch));
    }
    match fold.applied().map(|id| from_raft_id(&id)) {
        Some(applied) if applied == at => {}
        other => return Err(io::Error::other(format!("the state is that after {other:?}"))),
    }
    store::unnamed(files, store::GIVEN, |out| put(out, cluster, at, &fold, &history))
}
