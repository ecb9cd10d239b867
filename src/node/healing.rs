//! What is damaged on the disk and can be made of something else is: index files and whole states, of
//! the segments; the checkpoint, of what is in memory; segments, of what is left of them, and with
//! entries of other members.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use super::Status;
use crate::{
    base::timing::{HEAL_AGAIN, HEAL_LOOK},
    io::{Disk, cores},
    raft::{Healed, Replica, heal, is_healable},
};

/// Makes sound what is found damaged, for as long as the node runs: the oldest first, since an index is
/// made of what is before it. What rots again at once, or cannot be healed, is left alone for a while.
pub async fn run<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    // As many as are damaged, or were within that while.
    let mut tried: BTreeMap<String, Instant> = BTreeMap::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    loop {
        cores::sleep(HEAL_LOOK).await;
        if replica.log().poison().is_some() {
            return;
        }
        tried.retain(|_, at| cores::elapsed(*at) < HEAL_AGAIN);
        let mut damaged = status.scrub.damaged_names();
        told.retain(|file| damaged.contains(file));
        damaged.retain(|file| is_healable(file));
        // A copy is no member, and calls none.
        let asking = status.copy().is_none() && replica.members().len() > 1;
        for file in damaged {
            if tried.contains_key(&file) {
                continue;
            }
            match heal(&replica, &file, asking).await {
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
