//! What is damaged on the disk and can be made of something else is: index files and whole states, of
//! the segments.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Instant};

use super::Status;
use crate::{
    base::timing::{HEAL_AGAIN, HEAL_LOOK},
    io::{Disk, cores},
    raft::{Healed, Replica, is_derived, make_anew},
};

/// Makes anew what is found damaged, for as long as the node runs: the oldest first, since it is made
/// of what is before it. What rots again at once, or cannot be made, is left alone for a while.
pub async fn run<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    let mut tried: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        cores::sleep(HEAL_LOOK).await;
        if replica.log().poison().is_some() {
            return;
        }
        tried.retain(|_, at| cores::elapsed(*at) < HEAL_AGAIN);
        let damaged = status.scrub.damaged_names();
        for file in damaged.into_iter().filter(|file| is_derived(file)) {
            if tried.contains_key(&file) {
                continue;
            }
            match make_anew(&replica, &file).await {
                Ok(Healed::Later) => continue,
                Ok(Healed::Gone) => status.scrub.set_sound(&file),
                Ok(Healed::Anew) => {
                    status.scrub.set_healed(&file);
                    tracing::info!(file, "what was damaged is made anew");
                }
                Err(error) => tracing::warn!(file, %error, "what is damaged cannot be made anew"),
            }
            tried.insert(file, cores::now());
        }
    }
}
