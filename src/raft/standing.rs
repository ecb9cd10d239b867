//! Where Raft stands after some entry, and how that is written down.

use std::io;

use serde::{Deserialize, Serialize};

use super::types::{
    RaftLogId, StoredMembership, from_raft_id, highest_member, membership_from_json,
    membership_to_json, to_raft_id,
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        planted::planted,
    },
    sections::{Builder, Fault, Sections},
};

/// Where Raft stands after some entry.
#[derive(Clone, Default)]
pub(super) struct Standing {
    /// The last entry. Its index and its term never go back.
    pub(super) applied: Option<RaftLogId>,
    pub(super) membership: StoredMembership,
    /// The highest number that a member ever had.
    pub(super) highest: NodeId,
    /// A command was ever applied.
    pub(super) is_written: bool,
}

/// The section that says where Raft stands: `Raft`, in postcard.
const RAFT: u32 = 16;

#[derive(Serialize, Deserialize)]
struct Raft {
    applied: Option<LogId>,
    membership: String,
    is_written: bool,
}

/// Puts where Raft stands into a file.
pub(super) fn put_standing(builder: &mut Builder, standing: &Standing) -> io::Result<()> {
    let mut highest = standing.highest;
    if planted!(ForgetHighestMember) {
        highest = highest_member(&standing.membership);
    }
    let membership = membership_to_json(&standing.membership, highest)?;
    let raft = Raft {
        applied: standing.applied.as_ref().map(from_raft_id),
        membership: membership.get().into(),
        is_written: standing.is_written,
    };
    builder.add(RAFT, postcard::to_allocvec(&raft).map_err(io::Error::other)?);
    Ok(())
}

/// Reads where Raft stands.
pub(super) fn standing(sections: &Sections) -> Result<Standing, Fault> {
    let wrong = || Fault { offset: 0, reason: "where Raft stands cannot be read".into() };
    let raft: Raft = postcard::from_bytes(sections.all(RAFT)?).map_err(|_| wrong())?;
    let json = serde_json::value::RawValue::from_string(raft.membership).map_err(|_| wrong())?;
    let (membership, highest) = membership_from_json(&json).map_err(|_| wrong())?;
    let applied = raft.applied.map(to_raft_id);
    Ok(Standing { applied, membership, highest, is_written: raft.is_written })
}
