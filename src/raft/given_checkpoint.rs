//! The checkpoint as of any entry that this node still has, made for a member whose own rotted. Each
//! member purges at the ends of segments of its own, so few have checkpoints of the same entry; but
//! what a history amounts to after an entry is the same on all.
//!
//! ```text
//! asked for · state before the segment of the entry · entries of the segment up to it ·
//! written, without a name · given in parts · dropped a while after the last part
//! ```

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
    Making,
    Failed(LogId, String),
    Made {
        at: LogId,
        map: Arc<Mapping>,
        asked: Instant,
    },
}

impl GivenCheckpoint {
    /// What is known of the checkpoint of `at`: its file, or that it cannot be made, which is told
    /// once; nothing when it is not asked for yet. `Err` when the answer is to wait.
    fn of(&self, at: LogId) -> Result<Option<Result<Arc<Mapping>, String>>, ()> {
        let state = &mut *self.0.borrow_mut();
        match state {
            State::Made { at: made, map, asked } if *made == at => {
                *asked = cores::now();
                Ok(Some(Ok(Arc::clone(map))))
            }
            State::Failed(made, _) if *made == at => match std::mem::take(state) {
                State::Failed(_, why) => Ok(Some(Err(why))),
                _ => Ok(None),
            },
            State::Making | State::Made { .. } => Err(()),
            State::Nothing | State::Failed(..) => Ok(None),
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
    let failed = |why: String| (Answer::Failed(why), Bytes::new());
    let map = match given.of(at) {
        Ok(Some(Ok(map))) => map,
        Ok(Some(Err(why))) => return failed(why),
        Ok(None) => match can_be_made(machine, at) {
            Ok(true) => {
                begin(given, machine, at);
                return (Answer::Later, Bytes::new());
            }
            Ok(false) => return (Answer::Later, Bytes::new()),
            Err(why) => return failed(why),
        },
        Err(()) => return (Answer::Later, Bytes::new()),
    };
    let bytes = map.len() as u64;
    match read_part(map, offset, PART_BYTES).await {
        Ok(part) => (Answer::CheckpointPart { bytes }, part),
        Err(error) => failed(error.to_string()),
    }
}

/// Whether it can be made now; `false` when it can be later.
fn can_be_made<D: Disk>(machine: &StateMachine<D>, at: LogId) -> Result<bool, String> {
    if machine.is_superseded() {
        return Err("the node starts anew".to_owned());
    }
    let own = machine.checkpoint_id();
    match own {
        Some(own) if own == at => return Ok(true),
        Some(own) if own.index >= at.index => {
            return Err(format!("its own checkpoint is of entry {own}"));
        }
        _ => {}
    }
    if machine.applied_index() < at.index {
        return Ok(false);
    }
    match machine.log().id(at.index) {
        Some(id) if id == at => Ok(true),
        Some(id) => Err(format!("it has entry {id} there")),
        None => Err(format!("it does not have entry {at}")),
    }
}

fn begin<D: Disk>(given: &Rc<GivenCheckpoint>, machine: &StateMachine<D>, at: LogId) {
    given.0.replace(State::Making);
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
    cores::on_own_thread("checkpoint", make).await.flatten().map(Arc::new)
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
