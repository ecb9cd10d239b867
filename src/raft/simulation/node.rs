//! One node as it runs: the log on its disk, the state machine, openraft, and a
//! serving core's view of what was applied.

use std::{cell::RefCell, sync::Arc, time::Duration};

use openraft::{
    Config, EntryPayload, RaftLogReader, ServerState, SnapshotPolicy, async_runtime::WatchReceiver,
    entry::RaftEntry,
};
use uuid::Uuid;

use super::{Raft, Types, disk::TimedDisk, network::Network};
use crate::{
    base::ids::{ChangeId, ClusterId, LogId, NodeId},
    feed::{Fanout, Mailbox},
    io::{Disk, cores},
    log::{Identity, Log, Options},
    raft::{
        LogStore, Replay, StateMachine, indexer,
        types::{self, Command, from_raft_id},
    },
    state::{History, Located},
};

const HEARTBEAT_MS: u64 = 150;
const ELECTION_MS: (u64, u64) = (300, 600);
/// Short, so that segments are completed often.
const SEGMENT_BYTES: u64 = 64 * 1024;
/// A log that rests for so long writes its marks.
const IDLE: Duration = Duration::from_secs(1);

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: ServerState,
    pub(super) term: u64,
    pub(super) leader: Option<NodeId>,
    pub(super) last: Option<LogId>,
    pub(super) committed: Option<u64>,
    pub(super) applied: Option<u64>,
}

pub(super) type Membership = openraft::Membership<NodeId, types::Address>;

/// An entry of the log, with what it says.
pub(super) type Line = (LogId, String);

/// One running node of a simulated cluster.
pub(super) struct Node {
    pub(super) raft: Raft,
    log: LogStore<TimedDisk>,
    mailbox: Arc<Mailbox>,
    history: RefCell<History>,
}

impl Node {
    /// Starts a node on what its disk holds. To be called in its own process.
    pub(super) async fn start(id: NodeId, disk: TimedDisk, network: &Network) -> Self {
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            free_margin_bytes: 0,
            ..Options::new(Identity { cluster: ClusterId(Uuid::from_u128(1)), node: id })
        };
        let (_, mut replay) = Replay::begin(disk.files(), None).unwrap();
        let log = Log::open_into(disk.clone(), options, &mut replay).await.unwrap();
        drop(cores::spawn(log.run()));
        drop(cores::spawn(keep_spare(log.clone())));
        drop(cores::spawn(keep_marks(log.clone())));

        let history = RefCell::new(replay.finish().history());
        let fanout = Fanout::new(1);
        let mailbox = fanout.mailbox(0);
        let machine = StateMachine::new(log.clone(), replay, fanout);
        drop(cores::spawn(indexer::run(machine.clone())));
        let log = LogStore::new(log, tokio::sync::watch::channel(false).1);
        let config = Arc::new(config().validate().unwrap());
        let raft = Raft::new(id, config, network.of(id), log.clone(), machine).await.unwrap();
        Self { raft, log, mailbox, history }
    }

    pub(super) fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Standing {
            state: metrics.state,
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: self.log.log().last(),
            committed: metrics.local_committed.map(|id| id.index),
            applied: metrics.last_applied.map(|id| id.index),
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.standing().state == ServerState::Leader
    }

    /// The newest membership in its log.
    pub(super) fn membership(&self) -> Membership {
        self.raft.metrics().borrow_watched().membership_config.membership().clone()
    }

    /// The entries in its log.
    pub(super) async fn entries(&self) -> Vec<Line> {
        let mut log = self.log.clone();
        let entries = RaftLogReader::<Types>::try_get_log_entries(&mut log, ..).await.unwrap();
        let line = |entry: types::Entry| {
            let text = match &entry.payload {
                EntryPayload::Blank => "blank".into(),
                EntryPayload::Membership(membership) => written(membership),
                EntryPayload::Normal(Command(batch)) => {
                    let suffixes = (0..batch.changes()).map(|n| label(batch.change(n).suffix));
                    suffixes.collect::<Vec<_>>().join(" ")
                }
            };
            (from_raft_id(&entry.log_id()), text)
        };
        entries.into_iter().map(line).collect()
    }

    /// The changes that it serves, in order.
    pub(super) fn changes(&self) -> Vec<String> {
        let mut history = self.history.borrow_mut();
        if let Some(delivery) = self.mailbox.take() {
            delivery.batches.into_iter().for_each(|batch| history.push(batch));
            delivery.sealed.into_iter().for_each(|segment| history.add_segment(segment));
        }
        let change = |id| match history.locate(ChangeId(id)).unwrap() {
            Located::Recent(batch) => label(batch.change(ChangeId(id)).suffix),
            Located::Sealed(segment) => {
                let found = segment.find_on_disk(ChangeId(id)).unwrap();
                label(segment.batch(&found).unwrap().change(ChangeId(id)).suffix)
            }
            Located::Checkpointed(..) => unreachable!("nothing is purged here"),
        };
        (1..=history.last().0).map(change).collect()
    }
}

fn config() -> Config {
    Config {
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}

/// What was proposed, of the change that it became.
fn label(suffix: &[u8]) -> String {
    let data = suffix.strip_prefix(b",\"data\":\"").and_then(|rest| rest.strip_suffix(b"\"}"));
    String::from_utf8(data.unwrap_or(suffix).to_vec()).unwrap()
}

/// Voters, both configurations of them while they change, and learners.
pub(super) fn written(membership: &Membership) -> String {
    let ids = |ids: &mut dyn Iterator<Item = NodeId>| {
        ids.map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let configs = membership.get_joint_config().iter();
    let mut text: String =
        configs.map(|config| format!("[{}]", ids(&mut config.iter().copied()))).collect();
    let learners = ids(&mut membership.learner_ids());
    if !learners.is_empty() {
        text.push_str(&format!(" learners [{learners}]"));
    }
    text
}

async fn keep_spare(log: Log<TimedDisk>) {
    while log.need_spare().await {
        log.prepare().await.unwrap();
    }
}

async fn keep_marks(log: Log<TimedDisk>) {
    let mut before = None;
    loop {
        cores::sleep(IDLE).await;
        let last = log.last();
        if last == before && log.flush_marks().await.is_err() {
            return;
        }
        before = last;
    }
}
