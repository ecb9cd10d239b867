//! Keys whose time to live is over: whoever leads has them deleted.
//!
//! An expiry is a write like any other, stamped, ordered and decided in the log. It happens only
//! if the key still has the version that is due, and if the batch that it is in is stamped no
//! earlier than that version expires. So it does no harm that a leader is mistaken, or that two
//! leaders ask for the same one: each version expires once, or not at all.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{ForwardedWrites, Status};
use crate::{
    base::{
        batch::{Append, Command, Conditions, SuffixMembers, Versions},
        ids::Timestamp,
        limits::EXPIRIES_MAX,
        planted::planted,
        timing::{EXPIRY_LOOK, EXPIRY_PAUSE, EXPIRY_RETRY},
    },
    io::{Disk, cores},
    raft::{Leadership, Replica},
    state::{Index, index::Due},
};

/// Has what is due deleted whenever this node leads.
pub(super) async fn run<D: Disk>(
    replica: Rc<Replica<D>>,
    index: Arc<Index>,
    status: Arc<Status>,
    writes: Rc<ForwardedWrites<D>>,
) {
    loop {
        replica.leadership_is(|who| *who == Leadership::Here).await;
        let pause = match status.is_claimed() {
            true => EXPIRY_RETRY,
            false => expire(&replica, &index, &writes).await,
        };
        cores::sleep(pause).await;
    }
}

/// Has some of what is due deleted; says how long to wait until there may be more.
async fn expire<D: Disk>(
    replica: &Replica<D>,
    index: &Index,
    writes: &ForwardedWrites<D>,
) -> Duration {
    // As a batch would be stamped now.
    let now = Timestamp(cores::wall_micros()).max(replica.last_at());
    let due = index.catalog.due(now, EXPIRIES_MAX);
    if due.is_empty() {
        return EXPIRY_LOOK;
    }
    let outcomes = writes.decide(due.iter().map(deletion).collect()).await;
    if outcomes.iter().any(Result::is_err) { EXPIRY_RETRY } else { EXPIRY_PAUSE }
}

/// The command that deletes a key if it still has the version that is due.
fn deletion(due: &Due) -> Command {
    let members = SuffixMembers {
        tenant: Some(due.tenant),
        collection: Some(due.collection),
        key: Some(&due.key),
        ..SuffixMembers::default()
    };
    let mut suffixes = Vec::with_capacity(members.bytes_max());
    let spans = [members.write_expiry(&mut suffixes)].into_iter().collect();
    let version = Versions::Of([due.id].into_iter().collect());
    let if_match = Some(version).filter(|_| !planted!(ExpireWithoutCondition));
    let conditions = Conditions { if_match, if_none_match: None };
    Append { spans, suffixes: suffixes.into(), conditions }.into()
}
