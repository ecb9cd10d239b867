//! The same entries amount to the same, applied as they are committed, replayed at a
//! start, and replayed onto a checkpoint of some of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    num::NonZeroU64,
    time::Duration,
};

use openraft::{EntryPayload, Membership, entry::RaftEntry, storage::RaftStateMachine};
use proptest::prelude::*;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Address, Replay, StateMachine, TypeConfig,
    compact::{compact, sent},
    fold::Fold,
    healing::{self, Healed},
    indexer,
    sealing::SegmentEnd,
    segment_index,
    types::{Command, Entry, from_raft_id, membership_to_json, to_log, to_raft_id},
    whole_state,
};
use crate::{
    base::{
        batch::{Action, Batch},
        ids::{ChangeId, ClusterId, LogId, NodeId, Timestamp},
        planted::{Bug, prove},
        quota::TenantQuota,
        retention::{Beginning, TenantRetention},
        secret::SecretHash,
        tokens::{Grantor, Rights, Role, Scope, Token, TokenId},
    },
    checkpoint::format,
    feed::{Fanout, Mailbox},
    io::{
        Disk, Files, cores,
        simulated::{
            disk::{SimDisk, SimFiles},
            executor,
        },
    },
    log::{Identity, Log, Options, SEGMENT_BYTES_MIN},
    state::{
        History,
        model_tests::batches,
        testing::{ChangeText, append_all, batch_of, create_collection, create_tenant},
    },
};

pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// What an entry holds.
#[derive(Clone, Debug)]
pub(super) enum What {
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

pub(super) fn entry(index: u64, what: &What) -> Entry {
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
async fn open(disk: &SimDisk) -> (Log<SimDisk>, Replay<SimFiles>) {
    open_as(disk, 1).await
}

/// The same for another node.
pub(super) async fn open_as(disk: &SimDisk, node: NodeId) -> (Log<SimDisk>, Replay<SimFiles>) {
    let identity = Identity { cluster: CLUSTER, node };
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        free_margin_bytes: 0,
        ..Options::new(identity)
    };
    let (_, mut replay) = Replay::begin(disk.files(), None).unwrap();
    let log = Log::open_into(disk.clone(), options, &mut replay).await.unwrap();
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
pub(super) fn deliver(mailbox: &Mailbox, history: &mut History) {
    let Some(delivery) = mailbox.take() else { return };
    delivery.batches.into_iter().for_each(|batch| history.push(batch));
    delivery.sealed.into_iter().for_each(|segment| history.add_segment(segment));
    if let Some((first, held)) = delivery.purged {
        history.purge(first, held);
    }
}

/// Everything that tells two folds apart, and what readers are given beside them.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    applied: Option<LogId>,
    is_written: bool,
    /// The whole state as a checkpoint has it, with the changes that keys stand for.
    checkpoint: Vec<u8>,
    /// The versions of keys that expire, and when.
    expiring: Vec<(ChangeId, Option<Timestamp>)>,
    /// Where the lists of tenants begin.
    beginnings: Vec<(Uuid, TenantRetention, ChangeId, TenantQuota)>,
    tokens: (Vec<Token>, Option<Rights>),
}

pub(super) fn outcome(fold: &Fold, history: &History) -> Outcome {
    let applied = fold.applied().as_ref().map(from_raft_id);
    let raft = membership_to_json(fold.membership(), fold.highest()).unwrap();
    let mut checkpoint = Vec::new();
    let id = applied.unwrap_or_default();
    let redactions = &fold.state().index().redactions;
    let sent = |id| sent(history, redactions, id);
    format::write(&mut checkpoint, fold.state(), CLUSTER, id, raft, sent).unwrap();
    let catalog = &fold.state().index().catalog;
    let expiring = catalog.due(Timestamp(u64::MAX), usize::MAX).into_iter().map(|due| {
        let collection = catalog.collection(due.collection).unwrap();
        (due.id, catalog.expires_at(&collection, due.id))
    });
    let mut expiring: Vec<_> = expiring.collect();
    expiring.sort_unstable();
    let tenants = catalog.tenant_ids().into_iter().filter_map(|id| catalog.tenant(id));
    let beginnings =
        tenants.map(|tenant| (tenant.id, tenant.retention(), tenant.begins(), tenant.quota()));
    let mut beginnings: Vec<_> = beginnings.collect();
    beginnings.sort_unstable_by_key(|(id, ..)| *id);
    let tokens = &fold.state().index().tokens;
    let all = tokens.all().iter().map(|token| (**token).clone()).collect();
    let tokens = (all, tokens.anonymous());
    Outcome { applied, is_written: fold.is_written(), checkpoint, expiring, beginnings, tokens }
}

/// Every change that is held, as it is sent.
fn changes(fold: &Fold, history: &History, from: u64) -> Vec<Vec<u8>> {
    let ids = history.first().0.max(from)..=history.last().0;
    let redactions = &fold.state().index().redactions;
    ids.map(|id| sent(history, redactions, ChangeId(id)).unwrap()).collect()
}

/// Starts on a copy of a disk, on which `files` may change something before, and compares what
/// that gives.
async fn restart(
    disk: &SimDisk,
    live: &Live,
    what: &str,
    change: impl FnOnce(&SimFiles),
) -> (SimDisk, usize) {
    let again = disk.copy(live.seed);
    change(&again.files());
    let (_, mut replay) = open(&again).await;
    let history = replay.finish().history();
    assert_eq!(outcome(replay.fold(), &history), live.outcome, "{what}");
    let from = history.first().0;
    assert_eq!(changes(replay.fold(), &history, from), live.changes[from as usize - 1..], "{what}");
    let (indexes, runs) = (segment_index::all(&again.files()).unwrap(), replay.take_runs().len());
    let (_, unsealed, _) = replay.into_parts();
    assert_eq!(unsealed.ended.iter().copied().collect::<Vec<_>>(), live.ended, "{what}");
    assert!(live.ended.iter().all(|end| indexes.contains(&end.sequence)), "{what}: {indexes:?}");
    let batches = unsealed.batches.iter().map(|(index, _)| *index);
    assert_eq!(batches.collect::<Vec<_>>(), live.unsealed, "{what}");
    (again, runs)
}

/// What a node had at its end.
struct Live {
    seed: u64,
    outcome: Outcome,
    changes: Vec<Vec<u8>>,
    ended: Vec<SegmentEnd>,
    unsealed: Vec<u64>,
}

/// Applies entries as they are committed; what became of it is compared with what the
/// disk gives at a start: by the indexes, without some or all of them, from a whole state, and from
/// a checkpoint of segments that ended. Gives back how many did.
async fn compare(seed: u64, all: Vec<What>) -> usize {
    let disk = SimDisk::new(seed);
    let (log, mut replay) = open(&disk).await;
    let fanout = Fanout::new(1);
    let mailbox = fanout.mailbox(0);
    let mut history = replay.finish().history();
    let mut machine = StateMachine::new(log.clone(), replay, fanout);
    drop(cores::spawn(indexer::run(machine.clone())));
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
    // What was sealed since gets its index with the next entries, also when there is none.
    let none = futures_util::stream::empty();
    RaftStateMachine::<TypeConfig>::apply(&mut machine, none).await.unwrap();
    while machine.next_complete().is_some() || machine.indexing().is_writing() {
        cores::sleep(Duration::from_millis(1)).await;
    }
    deliver(&mailbox, &mut history);

    let live = Live {
        seed: seed + 1,
        outcome: machine.with_fold(|fold| outcome(fold, &history)),
        changes: machine.with_fold(|fold| changes(fold, &history, 1)),
        ended: machine.ended().0,
        unsealed: machine.unsealed(),
    };
    for end in &live.ended {
        heal(&disk, &machine, end.sequence).await;
        deliver(&mailbox, &mut history);
        let healed = machine.with_fold(|fold| changes(fold, &history, 1));
        assert_eq!(healed, live.changes, "segment {}", end.sequence);
    }
    let (with, read) = restart(&disk, &live, "by the indexes", |_| {}).await;
    assert_eq!(read, 0, "no segment is read that has an index");
    let all = segment_index::all(&with.files()).unwrap();
    let remove = |files: &SimFiles, name: String| files.remove(&name).unwrap();
    let (_, read) = restart(&disk, &live, "without them", |files| {
        all.iter().for_each(|n| remove(files, format!("{n:020}.index")));
    })
    .await;
    assert_eq!(read, all.len(), "each is made anew");
    let Some(end) = live.ended.get(live.ended.len() / 2) else { return 0 };
    restart(&disk, &live, "without one of them", |files| {
        remove(files, format!("{:020}.index", end.sequence));
    })
    .await;
    restart(&disk, &live, "from a whole state", |files| {
        whole_state::write(files, end.sequence, None).unwrap();
    })
    .await;
    from_a_checkpoint(&disk, &live, end).await;
    live.ended.len()
}

/// Has the index of a segment rot, and made anew: it is as it was.
async fn heal(disk: &SimDisk, machine: &StateMachine<SimDisk>, sequence: u64) {
    let name = format!("{sequence:020}.index");
    let was = disk.files().read(&name).unwrap();
    disk.damage(&name, |bytes| bytes.fill(0xA5));
    assert_eq!(healing::index(machine, sequence).await.unwrap(), Healed::Anew);
    assert!(disk.files().read(&name).unwrap() == was, "{name} says something else");
}

async fn from_a_checkpoint(disk: &SimDisk, live: &Live, end: &SegmentEnd) {
    let onto = disk.copy(live.seed);
    let compacted = compact(&onto.files(), CLUSTER, 1..=end.sequence, None).unwrap();
    let Some(compacted) = compacted else { return };
    assert_eq!(compacted.log_id.index, end.index);
    let (_, mut replay) = open(&onto).await;
    let history = replay.finish().history();
    assert_eq!(outcome(replay.fold(), &history), live.outcome, "from a checkpoint");
    let kept = compacted.position.last.0;
    assert_eq!(changes(replay.fold(), &history, kept + 1), live.changes[kept as usize..]);

    // Purged segments may be still there, without an index that is sound.
    let files = onto.files();
    let index = |sequence: u64| format!("{sequence:020}.index");
    files.remove(&index(end.sequence)).unwrap();
    let last = live.ended.last().unwrap().sequence;
    if end.sequence > 1 && last > end.sequence {
        let of_another = files.read(&index(last)).unwrap();
        files.create(&index(end.sequence - 1)).unwrap().write_all(&of_another).unwrap();
    }
    let (_, mut replay) = open(&onto).await;
    let history = replay.finish().history();
    assert_eq!(
        outcome(replay.fold(), &history),
        live.outcome,
        "without the index of what is purged"
    );
    if last > end.sequence {
        whole_state::write(&files, last, None).unwrap();
        assert!(compact(&files, CLUSTER, 1..=last, None).unwrap().is_some());
    }
}

/// A node ends before its log says, durably, that the entries of a segment are committed.
fn ends_before_the_mark(seed: u64) {
    executor::run(seed, async move {
        let disk = SimDisk::new(seed);
        let (log, replay) = open(&disk).await;
        let mut machine = StateMachine::new(log.clone(), replay, Fanout::new(1));
        drop(cores::spawn(indexer::run(machine.clone())));
        let batch = crate::state::testing::batch(300, b'}');
        for index in 0..200 {
            let what = What::Batch(batch.clone());
            log.append([to_log(entry(index, &what)).unwrap()], |_| ()).unwrap();
            log.durable(index).await.unwrap();
            let entries = futures_util::stream::iter([Ok((entry(index, &what), None))]);
            RaftStateMachine::<TypeConfig>::apply(&mut machine, entries).await.unwrap();
        }
        cores::sleep(Duration::from_secs(1)).await;
        assert!(log.active_segment() > 2, "two segments are complete");
        let (again, _) = open(&disk.copy(seed + 1)).await;
        assert_eq!(again.last(), log.last());
    });
}

#[test]
fn an_index_waits_until_the_log_says_what_is_committed() {
    ends_before_the_mark(5);
}

#[test]
fn planted_index_before_committed() {
    let words = ["what followed applied entries is missing"];
    prove(Bug::IndexBeforeCommitted, 5..6, &words, ends_before_the_mark);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn entries_amount_to_the_same_whenever_they_are_applied(all in entries(), seed: u32) {
        executor::run(u64::from(seed), compare(u64::from(seed), all));
    }
}

/// Keys with a time to live, some of which are written again without one.
fn with_keys_that_expire(seed: u64) {
    let (tenant, shelf) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut all = vec![
        What::Members(1),
        What::Batch(batch_of(
            &[create_tenant(tenant, "t"), create_collection(tenant, shelf, "c")],
            1,
        )),
    ];
    all.extend((2..120).map(|n: u64| {
        // Some keys are written early, and never again.
        let key = if n < 40 { n } else { n % 20 }.to_string();
        let ttl = if (n + seed).is_multiple_of(3) { 0 } else { 1000 + n as u32 % 7 };
        let text = ChangeText { ttl, ..ChangeText::of(tenant, Some(shelf), Some(&key)) };
        let filling = ChangeText::plain(FILLING);
        let mut commands = vec![append_all(&[text, filling]).into()];
        if n == 9 {
            let retention = TenantRetention { changes: NonZeroU64::new(5), age: None };
            let beginning = Beginning { retention, first: ChangeId(4) };
            commands.push(Action::SetRetention(tenant, retention).into());
            commands.push(Action::BeginAt(tenant, beginning).into());
            commands.push(Action::SetQuota(tenant, quota(n)).into());
        }
        commands.extend(about_tokens(n, tenant, shelf));
        What::Batch(batch_of(&commands, n))
    }));
    let ended = executor::run(seed, compare(seed, all));
    assert!(ended >= 3, "{ended}");
}

fn quota(writes: u64) -> TenantQuota {
    let writes_per_second = NonZeroU64::new(writes);
    TenantQuota { writes_per_second, waits: NonZeroU64::new(2), ..TenantQuota::default() }
}

/// Tokens are created early and revoked late, and what needs none is said again.
fn about_tokens(n: u64, tenant: Uuid, collection: Uuid) -> Vec<crate::base::batch::Command> {
    let token = |id: u64, scope| {
        let rights = Rights { role: Role::Write, scope };
        let (name, hash) = (format!("n{id}").into(), SecretHash([id as u8; 32]));
        let (creator, created) = (Grantor::Root, Timestamp::default());
        let expires = (id % 3 == 1).then_some(Timestamp(1 << 60));
        let token = Token { id: TokenId(id), name, rights, hash, creator, created, expires };
        Action::CreateToken(Box::new(token)).into()
    };
    match n {
        5 => vec![
            token(1, Scope::All),
            token(2, Scope::Tenant(tenant)),
            token(3, Scope::Collection { tenant, collection }),
            Action::SetAnonymous(Some(Rights::ALL), Some(Grantor::Root)).into(),
        ],
        70 => vec![
            Action::RevokeToken(TokenId(1)).into(),
            token(4, Scope::All),
            Action::SetAnonymous(
                Some(Rights { role: Role::Read, scope: Scope::Tenant(tenant) }),
                Some(Grantor::Root),
            )
            .into(),
        ],
        _ => Vec::new(),
    }
}

/// Data of which some batches fill a segment.
pub(super) const FILLING: &str = match std::str::from_utf8(&[b'7'; 1000]) {
    Ok(text) => text,
    Err(_) => panic!("digits are text"),
};

#[test]
fn keys_expire_by_indexes_and_checkpoints_as_they_were_to_at_first() {
    with_keys_that_expire(3);
}

#[test]
fn planted_forget_revocation_in_index() {
    prove(Bug::ForgetRevocationInIndex, 0..1, &["by the indexes"], with_keys_that_expire);
}

#[test]
fn planted_forget_tokens_in_checkpoint() {
    let words = ["from a checkpoint", "without the index of what is purged"];
    prove(Bug::ForgetTokensInCheckpoint, 0..1, &words, with_keys_that_expire);
}

#[test]
fn planted_forget_ttl_in_index() {
    prove(Bug::ForgetTtlInIndex, 0..1, &["by the indexes"], with_keys_that_expire);
}

#[test]
fn planted_forget_beginning() {
    let words = ["from a checkpoint", "without the index of what is purged"];
    prove(Bug::ForgetBeginning, 0..1, &words, with_keys_that_expire);
}

#[test]
fn planted_forget_ttl_in_checkpoint() {
    let words = ["from a checkpoint", "without the index of what is purged"];
    prove(Bug::ForgetTtlInCheckpoint, 0..1, &words, with_keys_that_expire);
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
