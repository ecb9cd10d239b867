//! What nodes say to each other, once they know each other. Part of the
//! protocol's version: changing it needs another one. What is only added, at the end,
//! an older node does not understand, and who asks must take that for an answer.

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        cluster::Seen,
        ids::{ClusterId, LogId, NodeId},
    },
    log::Vote,
    raft::health::Ailment,
};

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Take in the entries of the body; without any, a heartbeat.
    Append {
        /// The vote of the leader.
        vote: Vote,
        /// The entry before the first one.
        previous: Option<LogId>,
        /// The last entry that is committed.
        committed: Option<LogId>,
        /// How many entries the body has.
        entries: u32,
    },
    /// Vote for a candidate.
    Vote {
        /// The vote asked for.
        vote: Vote,
        /// The candidate's last entry.
        last: Option<LogId>,
        /// The leader itself wants it to lead.
        transfer: bool,
        /// Only say what the vote would be.
        pre_vote: bool,
    },
    /// The leader hands leadership over.
    TransferLeader {
        /// The vote of the leader.
        vote: Vote,
        /// Who is to lead.
        to: NodeId,
        /// The leader's last entry.
        last: Option<LogId>,
    },
    /// Begin to take in a snapshot; the body says which files it is made of.
    BeginSnapshot {
        /// The vote of the leader.
        vote: Vote,
    },
    /// The body is a part of a file of it.
    SnapshotPart {
        /// The number of the file.
        file: u32,
        /// Where in the file it begins.
        offset: u64,
    },
    /// It is complete: use it.
    EndSnapshot,
    /// Do the writes of the body, a batch of commands.
    Write,
    /// Which entry must be applied for a read to see all that is acknowledged?
    ReadIndex,
    /// Change the cluster.
    Admin(AdminRequest),
    /// Belong to another cluster. For a node that holds nothing.
    Adopt(Adoption),
    /// You were removed from the cluster.
    Removed,
    /// Could you lead?
    Health,
    /// Give this entry: nodes of earlier builds ask so for each that rotted there. The answer is
    /// [`Answer::Done`], with its frame.
    Entry(LogId),
    /// Give a part of the checkpoint as of an entry: what the other has of it rotted. The answer is
    /// [`Answer::CheckpointPart`], or [`Answer::Later`].
    Checkpoint {
        /// The last entry that it is to stand for.
        at: LogId,
        /// Where in the checkpoint the part begins.
        offset: u64,
    },
    /// Give entries: some of them rotted here. The answer is [`Answer::Done`], with the frames of as
    /// many of them as fit, of the first one at least.
    Entries {
        /// The first one.
        first: LogId,
        /// The index of the last one.
        last: u64,
    },
    /// What do you, who lead, know of the members? The answer is [`Answer::Members`].
    Members,
}

impl Request {
    /// Whether its body has checksums of its own, as entries do.
    pub(super) fn has_checked_body(&self) -> bool {
        matches!(self, Self::Append { .. })
    }
}

/// What an empty node is asked to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The cluster that it said to belong to, and its number there: another is
    /// not meant.
    pub who: (ClusterId, NodeId),
    /// The cluster that it is to belong to.
    pub cluster: ClusterId,
    /// Its number there; without one it is only asked whether it would.
    pub node: Option<NodeId>,
    /// The largest entry that the cluster may send it.
    pub entry_bytes_max: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To entries.
    Append(AppendAnswer),
    /// To a candidate.
    Vote {
        /// The vote that stands.
        vote: Vote,
        /// Whether the candidate has it.
        granted: bool,
        /// The last entry.
        last: Option<LogId>,
    },
    /// The writes were decided; the body says how.
    Written {
        /// The entry that has them is not after this one.
        applied: u64,
    },
    /// All acknowledged writes are applied with this entry.
    ReadIndex(u64),
    /// It is done.
    Done,
    /// The cluster was changed, which concerned this member.
    Changed(NodeId),
    /// A snapshot was taken in; this vote stands.
    Snapshot(Vote),
    /// What of a snapshot is wanted next: a file, and the first byte of it.
    Wanted {
        /// The number of the file; one behind the last when nothing is.
        file: u32,
        /// The first byte.
        offset: u64,
    },
    /// The node does not lead, and did nothing.
    NotLeader,
    /// A request of an operator was refused, and did nothing.
    Refused(AdminRefusal),
    /// It cannot be done, or nobody knows whether it was.
    Failed(String),
    /// What ails the node, if anything does.
    Health(Option<Ailment>),
    /// The body is a part of a checkpoint.
    CheckpointPart {
        /// How long the whole checkpoint is.
        bytes: u64,
    },
    /// It is being made: ask again.
    Later,
    /// What the leader knows of the members.
    Members(Vec<Seen>),
}

/// What became of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendAnswer {
    /// All up to this one are held, durably.
    Held {
        /// The last entry.
        last: Option<LogId>,
        /// Bytes of payload that surely fit the log, where no further segment is ready or
        /// could be made.
        room: Option<u64>,
    },
    /// The entry before them is not held.
    Conflict(LogId),
    /// There is a higher vote.
    HigherVote(Vote),
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Take in the empty node that clients reach here.
    Add {
        /// `host:port`
        address: String,
        /// Whether it is to vote.
        voter: bool,
    },
    /// Change a member.
    Change(NodeId, Change),
    /// Take it out.
    Remove(NodeId),
    /// Have it lead.
    Lead(NodeId),
}

/// What is to be changed of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whether it is to vote.
    pub voter: Option<bool>,
    /// Where clients reach it.
    pub address: Option<String>,
    /// Where the other members reach it.
    pub cluster_address: Option<String>,
}

/// Why a request of an operator was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRefusal {
    /// There is no such member.
    NotFound(NodeId),
    /// What was asked for cannot be: why.
    Invalid(String),
    /// Something that it needs does not hold at the moment: what.
    Precondition(String),
    /// Nobody leads, or no longer does: it certainly did not happen.
    NoLeader,
    /// It may or may not happen.
    Unknown,
}
