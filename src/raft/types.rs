//! openraft's types with ours filled in, and the conversions between an entry
//! as Raft sees it and as the log stores it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

use bytes::Bytes;
use openraft::{
    EntryPayload, Membership, RaftTypeConfig, entry::RaftEntry, impls::leader_id_std,
    raft::responder::Responder, vote::RaftLeaderId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::runtime::RaftRuntime;
use crate::{
    base::{
        batch::Batch,
        ids::{ChangeId, LogId, NodeId},
        outcome::Decision,
    },
    log,
};

/// The types that Raft works with here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Applied;
    type NodeId = NodeId;
    type Node = Address;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, NodeId, Address>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = RaftRuntime;
    type Responder<T: 'static> = Callback<T>;
    type Batch<T: 'static> = openraft::impls::InlineBatch<T>;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(super) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(super) type RaftLogId = openraft::alias::LogIdOf<TypeConfig>;
pub(super) type RaftVote = openraft::alias::VoteOf<TypeConfig>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;

/// What is proposed: one batch of commands.
#[derive(Clone, Debug)]
pub struct Command(pub Batch);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} changes", self.0.changes())
    }
}

/// What applying an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The id of the first accepted change; [`ChangeId::ZERO`] for an entry
    /// that is no batch.
    pub first: ChangeId,
    /// How each command of the batch was decided; `None` when all are appends
    /// and all were accepted.
    pub decisions: Option<Vec<Decision>>,
}

/// How the members of a cluster reach one another and are reached, and what is
/// to become of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// Where the other members reach it, `host:port`.
    pub cluster_address: String,
    /// It is to vote as soon as it has caught up, whoever leads then.
    #[serde(default = "voting")]
    pub votes: bool,
}

/// Members were voters before it was said.
fn voting() -> bool {
    true
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Calls back with a result, or with `None` when it is dropped without one:
/// then nobody knows what became of the request.
pub struct Callback<T>(Option<Box<dyn FnOnce(Option<T>)>>);

impl<T> Callback<T> {
    /// Calls `f` exactly once.
    pub fn new(f: impl FnOnce(Option<T>) + 'static) -> Self {
        Self(Some(Box::new(f)))
    }
}

impl<T: 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(mut self, result: T) {
        if let Some(f) = self.0.take() {
            f(Some(result));
        }
    }
}

impl<T> Drop for Callback<T> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f(None);
        }
    }
}

/// The kind of an entry in the log. Stable: it is on disk.
pub(super) mod kind {
    pub(in crate::raft) const BLANK: u8 = 0;
    pub(in crate::raft) const MEMBERSHIP: u8 = 1;
    pub(in crate::raft) const BATCH: u8 = 2;
}

/// A membership as it is stored, in JSON: such entries are few, and a person
/// may have to read them. Stable: it is on disk; members are added, never
/// renamed.
#[derive(Serialize, Deserialize)]
struct MembershipRecord {
    /// The voters of each configuration; two of them while it changes.
    configs: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, Address>,
}

/// A membership with the entry that it stands in, as a checkpoint keeps it.
#[derive(Serialize, Deserialize)]
struct StoredMembershipRecord {
    term: u64,
    index: Option<u64>,
    membership: MembershipRecord,
    /// The highest number that a member ever had.
    #[serde(default)]
    highest: NodeId,
}

pub(super) fn membership_to_json(
    stored: &StoredMembership,
    highest: NodeId,
) -> io::Result<Box<RawValue>> {
    let id = stored.log_id().as_ref().map(from_raft_id);
    let record = StoredMembershipRecord {
        term: id.map_or(0, |id| id.term),
        index: id.map(|id| id.index),
        membership: MembershipRecord::of(stored.membership()),
        highest,
    };
    Ok(serde_json::value::to_raw_value(&record)?)
}

/// The membership of a checkpoint, and the highest number that a member ever had.
pub(super) fn membership_from_json(json: &RawValue) -> io::Result<(StoredMembership, NodeId)> {
    let StoredMembershipRecord { term, index, membership, highest } =
        serde_json::from_str(json.get())?;
    let id = index.map(|index| to_raft_id(LogId { term, index }));
    let membership =
        Membership::new(membership.configs, membership.nodes).map_err(io::Error::other)?;
    let stored = StoredMembership::new(id, membership);
    let highest = highest.max(highest_member(&stored));
    Ok((stored, highest))
}

/// The highest number of a member.
pub(super) fn highest_member(stored: &StoredMembership) -> NodeId {
    stored.membership().nodes().map(|(&id, _)| id).max().unwrap_or(0)
}

impl MembershipRecord {
    fn of(membership: &Membership<NodeId, Address>) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
        }
    }
}

impl MembershipRecord {
    /// The same without where the members are reached.
    fn unplaced(self) -> Self {
        let unplaced = |(id, node): (NodeId, Address)| {
            (id, Address { votes: node.votes, ..Address::default() })
        };
        Self { nodes: self.nodes.into_iter().map(unplaced).collect(), ..self }
    }
}

/// The payload of an entry of [`kind::MEMBERSHIP`] without where the members are reached.
pub(super) fn unplaced(payload: &[u8]) -> io::Result<Bytes> {
    let record: MembershipRecord = serde_json::from_slice(payload)?;
    Ok(serde_json::to_vec(&record.unplaced())?.into())
}

/// The membership of a checkpoint without where the members are reached.
///
/// # Errors
/// When it cannot be read.
pub fn unplaced_members(json: &RawValue) -> io::Result<Box<RawValue>> {
    let stored: StoredMembershipRecord = serde_json::from_str(json.get())?;
    let stored = StoredMembershipRecord { membership: stored.membership.unplaced(), ..stored };
    Ok(serde_json::value::to_raw_value(&stored)?)
}

pub(super) fn to_raft_id(id: LogId) -> RaftLogId {
    // One leader a term: which node it was is not part of an entry's identity.
    let leader = leader_id_std::LeaderId { term: id.term, voted_for: 0 };
    RaftLogId { leader_id: leader.to_committed(), index: id.index }
}

pub(super) fn from_raft_id(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

pub(super) fn to_raft_vote(vote: log::Vote) -> RaftVote {
    let leader_id = leader_id_std::LeaderId { term: vote.term, voted_for: vote.node };
    RaftVote { leader_id, committed: vote.committed }
}

pub(super) fn from_raft_vote(vote: &RaftVote) -> log::Vote {
    log::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

/// The entry as the log stores it. A batch is not copied.
pub(super) fn to_log(entry: Entry) -> io::Result<log::Entry> {
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (kind::BLANK, Bytes::new()),
        EntryPayload::Membership(membership) => {
            let record = MembershipRecord::of(membership);
            (kind::MEMBERSHIP, serde_json::to_vec(&record)?.into())
        }
        EntryPayload::Normal(Command(batch)) => (kind::BATCH, batch.bytes().clone()),
    };
    Ok(log::Entry { id: from_raft_id(&entry.log_id()), kind, payload })
}

/// The entry as Raft sees it, every table of its batch checked. For what comes from
/// another node or from an earlier run: from there on it is taken for checked
/// ([`checked_before`]). A batch is not copied.
pub(super) fn from_log(entry: &log::Entry) -> io::Result<Entry> {
    to_entry(entry, |bytes| Batch::parse(bytes).map_err(|error| error.to_string()))
}

/// The entry `id`, by which nobody but `node` is a member, and votes.
pub(super) fn only_member(node: NodeId, address: Address, id: RaftLogId) -> io::Result<Entry> {
    let nodes = BTreeMap::from([(node, Address { votes: true, ..address })]);
    let membership = Membership::new(vec![BTreeSet::from([node])], nodes);
    let membership = membership.map_err(io::Error::other)?;
    Ok(Entry::new(id, EntryPayload::Membership(membership)))
}

/// How many changes an entry holds, at most: what of them was refused counts, too. Nothing
/// when it cannot be read.
#[must_use]
pub fn changes_in(entry: &log::Entry) -> u64 {
    let is_batch = entry.kind == kind::BATCH;
    let batch = Batch::parsed_before(&*entry.payload).filter(|_| is_batch);
    batch.map_or(0, |batch| u64::from(batch.changes()) + u64::from(batch.passed()))
}

/// The same of an entry that was not looked at before; nothing when its batch is not sound.
#[must_use]
pub fn sound_changes_in(entry: &log::Entry) -> Option<u64> {
    if entry.kind != kind::BATCH {
        return Some(0);
    }
    let batch = Batch::parse(&*entry.payload).ok()?;
    Some(u64::from(batch.changes()) + u64::from(batch.passed()))
}

/// The same for an entry that this process has taken in or made, and has read back
/// from its own log: only the header of its batch is read.
pub(super) fn checked_before(entry: &log::Entry) -> io::Result<Entry> {
    to_entry(entry, |bytes| {
        Batch::parsed_before(bytes).ok_or_else(|| "batch is shorter than its header".to_owned())
    })
}

fn to_entry(
    entry: &log::Entry,
    batch: impl FnOnce(Bytes) -> Result<Batch, String>,
) -> io::Result<Entry> {
    let damaged = |error: &dyn fmt::Display| {
        let text = format!("log entry {} cannot be read: {error}", entry.id);
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let payload = match entry.kind {
        kind::BLANK => EntryPayload::Blank,
        kind::MEMBERSHIP => {
            let record: MembershipRecord =
                serde_json::from_slice(&entry.payload).map_err(|error| damaged(&error))?;
            let membership =
                Membership::new(record.configs, record.nodes).map_err(|error| damaged(&error))?;
            EntryPayload::Membership(membership)
        }
        kind::BATCH => {
            let batch = batch(entry.payload.clone()).map_err(|error| damaged(&error))?;
            EntryPayload::Normal(Command(batch))
        }
        other => return Err(damaged(&format_args!("unknown kind {other}"))),
    };
    Ok(Entry::new(to_raft_id(entry.id), payload))
}
