//! Makes the indexes of segments beside everything else, one after the other; and the whole state
//! from time to time.

use std::{io, rc::Rc, time::Duration};

use super::{indexing::Weights, sealing::last_in, state_machine::StateMachine, whole_state};
use crate::{
    base::planted::planted,
    io::{Disk, cores},
};

/// How long it is waited after an index could not be written.
const RETRY: Duration = Duration::from_secs(10);
/// A state is not written for less than this part of a segment.
const WHOLE_MIN_PART: u64 = 64;

/// Makes the index of each segment that is wholly applied, until the log fails or the state is
/// superseded. What cannot be written is tried again: until then it is served from memory.
pub(super) async fn run<D: Disk>(machine: StateMachine<D>) {
    let indexing = Rc::clone(machine.indexing());
    loop {
        while let Some(complete) = machine.next_complete() {
            if machine.is_superseded() {
                return;
            }
            // A start is to find the entries that its index stands for committed.
            if let Some(last) = last_in(machine.log(), &complete.sealed)
                && !planted!(IndexBeforeCommitted)
                && machine.log().durably_committed(last.index).await.is_err()
            {
                return;
            }
            let files = machine.log().files();
            let written = cores::on_own_thread("index", move || complete.write(&files)).await;
            match written.flatten() {
                Ok(index) => {
                    if machine.is_superseded() {
                        return;
                    }
                    machine.publish_sealed(&index);
                    let weights = indexing.weights();
                    let changed = weights.changed + index.weight();
                    indexing.set_weights(Weights { changed, ..weights });
                    write_whole(&machine, index.log.run.segment());
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot write the index of a segment");
                    machine.log().mind_directory(&error);
                    cores::sleep(RETRY).await;
                }
            }
        }
        indexing.woken().await;
    }
}

/// Writes the whole state after `segment` beside everything else, when it is worth it.
fn write_whole<D: Disk>(machine: &StateMachine<D>, segment: u64) {
    let indexing = Rc::clone(machine.indexing());
    let Weights { changed, whole } = indexing.weights();
    let least = machine.log().segment_bytes() / WHOLE_MIN_PART;
    if indexing.is_writing() || changed < whole.max(least) {
        return;
    }
    indexing.set_writing(true);
    let (files, log) = (machine.log().files(), machine.log().clone());
    let purged = machine.checkpoint_id();
    cores::spawn(async move {
        let write = move || whole_state::write(&files, segment, purged);
        let written: io::Result<u64> = cores::on_own_thread("state", write).await.flatten();
        indexing.set_writing(false);
        match written {
            Ok(whole) => {
                let since = indexing.weights().changed - changed;
                indexing.set_weights(Weights { changed: since, whole });
                tracing::info!(segment, bytes = whole, "the whole state is written");
            }
            // The next segment is an occasion to try again.
            Err(error) => {
                tracing::warn!(%error, "cannot write the whole state");
                log.mind_directory(&error);
            }
        }
    });
}
