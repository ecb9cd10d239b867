//! The same entries amount to the same, applied as they are committed, replayed at a
//! start, and replayed onto a checkpoint of some of them.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, Membership, entry::RaftEntry, storage::RaftStateMachine};
use proptest::prelude::*;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Address, Replay, StateMachine, TypeConfig,
    compact::{compact, sent},
    fold::Fold,
    sealing::SegmentEnd,
    types::{Command, Entry, from_raft_id, membership_to_json, to_log, to_raft_id},
};
use crate::{
    base::{
        batch::Batch,
        ids::{ChangeId, ClusterId, LogId, NodeId},
    },
    checkpoint::format,
    feed::{Fanout, Mailbox},
    io::{
        Disk, cores,
        simulated::{disk::SimDisk, executor},
    },
    log::{Identity, Log, Options, SEGMENT_BYTES_MIN},
    state::{History, model_tests::batches},
};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// What an entry holds.
#[derive(Clone, Debug)]
enum What {
    Blank,
    /// Members up to this number, from the one before.
    Members(NodeId),
    Batch(Batch),
}

/// Batches, with other entries here and there.
fn entries() -> impl Strategy<Value = Vec<What>> {
    let others = proptest::collection::vec((0usize..120, 0u64..9), 0..30);
    (batches(), others).prop_map(|(batches, others)| {
        let mut all: Vec<What> = batches.into_iter().map(What::Batch).collect();
        for (place, kind) in others {
            let what = if kind == 0 { What::Blank } else { What::Members(kind) };
            all.insert(place.min(all.len()), what);
        }
        all
    })
}

fn entry(index: u64, what: &What) -> Entry {
    let payload = match what {
        What::Blank => EntryPayload::Blank,
        What::Members(highest) => {
            let members = (highest.saturating_sub(1)..=*highest).map(|n| (n, Address::default()));
            let voters = vec![BTreeSet::from([*highest])];
            let members = members.collect::<BTreeMap<_, _>>();
            EntryPayload::Membership(Membership::new(voters, members).unwrap())
        }
        What::Batch(batch) => EntryPayload::Normal(Command(batch.clone())),
    };
    Entry::new(to_raft_id(LogId { term: 1 + index / 40, index }), payload)
}

/// The log of a disk, with what its committed entries amount to. What is to be read
/// onto a checkpoint begins there.
async fn open(disk: &SimDisk) -> (Log<SimDisk>, Replay) {
    let identity = Identity { cluster: CLUSTER, node: 1 };
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        free_margin_bytes: 0,
        ..Options::new(identity)
    };
    let mut replay = Replay::load(&disk.files()).unwrap().map_or_else(Replay::default, |(_, r)| r);
    let log = Log::open(disk.clone(), options, |entry, place| {
        replay.entry(entry, place).map_err(|error| error.to_string())
    });
    let log = log.await.unwrap();
    drop(cores::spawn(log.run()));
    let spare = log.clone();
    drop(cores::spawn(async move {
        while spare.need_spare().await {
            if spare.prepare().await.is_err() {
                return;
            }
        }
    }));
    (log, replay)
}

/// Takes what a core was told into its history.
fn deliver(mailbox: &Mailbox, history: &mut History) {
    let Some(delivery) = mailbox.take() else { return };
    delivery.batches.into_iter().for_each(|batch| history.push(batch));
    delivery.sealed.into_iter().for_each(|segment| history.add_segment(segment));
}

/// Everything that tells two folds apart, and what readers are given beside them.
#[derive(Debug, PartialEq)]
struct Outcome {
    applied: Option<LogId>,
    is_written: bool,
    /// The whole state as a checkpoint has it, with the changes that keys stand for.
    checkpoint: Vec<u8>,
}

fn outcome(fold: &Fold, history: &History) -> Outcome {
    let applied = fold.applied().as_ref().map(from_raft_id);
    let raft = membership_to_json(fold.membership(), fold.highest()).unwrap();
    let mut checkpoint = Vec::new();
    let id = applied.unwrap_or_default();
    format::write(&mut checkpoint, fold.state(), CLUSTER, id, raft, |id| sent(history, id))
        .unwrap();
    Outcome { applied, is_written: fold.is_written(), checkpoint }
}

/// Every change that is held, as it is sent.
fn changes(history: &History, from: u64) -> Vec<Vec<u8>> {
    let ids = history.first().0.max(from)..=history.last().0;
    ids.map(|id| sent(history, ChangeId(id)).unwrap()).collect()
}

/// Applies entries as they are committed; what became of it is compared with what the
/// disk gives at a start, and at one from a checkpoint of segments that ended. Gives
/// back how many did.
async fn compare(seed: u64, all: Vec<What>) -> usize {
    let disk = SimDisk::new(seed);
    let (log, mut replay) = open(&disk).await;
    let fanout = Fanout::new(1);
    let mailbox = fanout.mailbox(0);
    let mut history = replay.finish(log.active_segment(), &log.files()).unwrap().history();
    let mut machine = StateMachine::new(log.clone(), replay, fanout);
    for (index, what) in (0..).zip(&all) {
        let (done, appended) = oneshot::channel();
        log.append([to_log(entry(index, what)).unwrap()], |written| done.send(written).unwrap())
            .unwrap();
        appended.await.unwrap().unwrap();
        log.set_committed(log.last().unwrap());
        let entries = futures_util::stream::iter([Ok((entry(index, what), None))]);
        RaftStateMachine::<TypeConfig>::apply(&mut machine, entries).await.unwrap();
        deliver(&mailbox, &mut history);
    }
    log.flush_marks().await.unwrap();
    // What was sealed since is published with the next entries, also when there is none.
    let none = futures_util::stream::empty();
    RaftStateMachine::<TypeConfig>::apply(&mut machine, none).await.unwrap();
    deliver(&mailbox, &mut history);

    let (ended, unsealed) = (machine.ended().0, machine.unsealed());
    let live = machine.with_fold(|fold| outcome(fold, &history));
    let again = disk.copy(seed + 1);
    let (opened, mut replay) = open(&again).await;
    let active = opened.active_segment();
    let replayed = replay.finish(active, &again.files()).unwrap().history();
    assert_eq!(outcome(replay.fold(), &replayed), live, "at a start");
    assert_eq!(changes(&replayed, 1), changes(&history, 1));
    let ends = replay.segments().iter().filter(|end| end.sequence < active);
    assert_eq!(ends.copied().collect::<Vec<SegmentEnd>>(), ended);
    assert_eq!(replay.into_parts().1.collect::<Vec<_>>(), unsealed);

    let Some(end) = ended.get(ended.len() / 2) else { return 0 };
    // The last entries of a segment are known to be committed by the next one only.
    let compacted = compact(&again.files(), CLUSTER, 1..=end.sequence).unwrap();
    let Some(compacted) = compacted else { return ended.len() };
    assert!(compacted.log_id.index <= end.index);
    let onto = again.copy(seed + 2);
    let (opened, mut replay) = open(&onto).await;
    let replayed = replay.finish(opened.active_segment(), &onto.files()).unwrap().history();
    assert_eq!(outcome(replay.fold(), &replayed), live, "from a checkpoint");
    let kept = compacted.position.last.0 + 1;
    assert_eq!(changes(&replayed, kept), changes(&history, kept));
    ended.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn entries_amount_to_the_same_whenever_they_are_applied(all in entries(), seed: u32) {
        executor::run(u64::from(seed), compare(u64::from(seed), all));
    }
}

/// The random entries fill segments, or less would be compared than it seems.
#[test]
fn entries_that_fill_segments_amount_to_the_same() {
    let batch = crate::state::testing::batch(300, b'}');
    let all: Vec<What> = (0..60)
        .map(|n| match n % 7 {
            0 => What::Members(n / 7),
            1 => What::Blank,
            _ => What::Batch(batch.clone()),
        })
        .collect();
    let ended = executor::run(7, compare(7, all));
    assert!(ended >= 3, "{ended}");
}
