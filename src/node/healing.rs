//! What is damaged on the disk and can be made of something else is: index files and whole states, of
//! the segments; the checkpoint, of what is in memory; segments, of what is left of them, and with
//! entries of other members, or at a copy of its origin.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use futures_util::future::join;

use super::{Status, copy::FromOrigin};
use crate::{
    base::timing::{HEAL_AGAIN, HEAL_LOOK},
    checkpoint::store,
    io::{Disk, cores},
    raft::{Healed, Replica, heal, heal_copy, is_damage, is_derived, is_healable},
};

/// A copy begins anew when one of its segments could not be healed so often in turn: its origin may be
/// away for a while.
const COPY_TRIES: u32 = 3;

/// How often what is damaged could not be healed, as long as it is.
#[derive(Default)]
struct Failures(BTreeMap<String, u32>);

impl Failures {
    /// Takes note of an error; whether a copy is to begin anew for it.
    fn is_final(&mut self, file: &str, error: &io::Error) -> bool {
        if is_derived(file) {
            return false;
        }
        // Nobody else has one like it.
        if store::is_checkpoint(file) && is_damage(error) {
            return true;
        }
        let count = self.0.entry(file.to_owned()).or_default();
        *count += 1;
        *count >= COPY_TRIES
    }
}

/// Makes sound what is found damaged, for as long as the node runs: the oldest first, since an index is
/// made of what is before it. What rots again at once, or cannot be healed, is left alone for a while.
///
/// Another member may take minutes to make a checkpoint: nothing else waits for that.
pub async fn run<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    let checkpoints = heal_those(&replica, &status, store::is_checkpoint);
    let others = heal_those(&replica, &status, |file| !store::is_checkpoint(file));
    join(checkpoints, others).await;
}

async fn heal_those<D: Disk>(
    replica: &Replica<D>,
    status: &Status,
    are_meant: impl Fn(&str) -> bool,
) {
    // As many as are damaged, or were within that while.
    let mut tried: BTreeMap<String, Instant> = BTreeMap::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut failures = Failures::default();
    loop {
        cores::sleep(HEAL_LOOK).await;
        if replica.log().poison().is_some() {
            return;
        }
        tried.retain(|_, at| cores::elapsed(*at) < HEAL_AGAIN);
        let mut damaged = status.scrub.damaged_names();
        told.retain(|file| damaged.contains(file));
        failures.0.retain(|file, _| damaged.contains(file));
        damaged.retain(|file| is_healable(file) && are_meant(file));
        // A copy is no member, and calls none.
        let asking = status.copy().is_none() && replica.members().len() > 1;
        for file in damaged {
            if tried.contains_key(&file) {
                continue;
            }
            let copy = status.copy();
            let healed = match &copy {
                Some(copy) => heal_copy(replica, &file, FromOrigin::new(replica, copy)).await,
                None => heal(replica, &file, asking).await,
            };
            if let (Some(copy), Err(error)) = (&copy, &healed)
                && failures.is_final(&file, error)
                && copy.given_up().is_none()
            {
                tracing::warn!(file, "what is damaged cannot be mended: this cache begins anew");
                copy.give_up(&file);
            }
            match healed {
                Ok(Healed::Later) => continue,
                Ok(Healed::Gone) => status.scrub.set_sound(&file),
                Ok(Healed::Anew) => {
                    status.scrub.set_healed(&file);
                    tracing::info!(file, "what was damaged is made anew");
                }
                Err(error) if told.insert(file.clone()) => {
                    tracing::warn!(file, %error, "what is damaged cannot be made anew");
                }
                Err(_) => {}
            }
            tried.insert(file, cores::now());
        }
    }
}

#[cfg(test)]
#[path = "healing_tests.rs"]
mod tests;
