//! What retention rests on: which entries a sealed segment holds, and reads
//! beside the purge of the log. And what a node holds beside what its leader
//! says.

use std::{cell::Cell, time::Duration};

use openraft::{EntryPayload, RaftLogReader, entry::RaftEntry, storage::RaftStateMachine};
use openraft_rt::AsyncRuntime;
use tokio::sync::oneshot;

use super::{
    LogStore, Replay, StateMachine, TypeConfig,
    halt::{Halt, Statement},
    indexer,
    peer::Lane,
    replica::discard_contradicted,
    runtime::RaftRuntime,
    types::{Entry, StoredMembership, membership_to_json, to_raft_id},
};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        planted::{Bug, prove},
    },
    checkpoint::{format, store},
    feed::Fanout,
    io::cores,
    io::simulated::disk::SimDisk,
    log::{self, Identity, Log, Options, SEGMENT_BYTES_MIN, Vote},
    state::{State, testing::batch},
};

fn run(test: impl Future<Output = ()>) {
    let passed = Cell::new(false);
    RaftRuntime::run(async {
        test.await;
        passed.set(true);
    });
    assert!(passed.get());
}

/// An empty log of short segments, which is written.
async fn open(seed: u64) -> Log<SimDisk> {
    let identity = Identity { cluster: ClusterId(uuid::Uuid::from_u128(1)), node: 2 };
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        free_margin_bytes: 0,
        ..Options::new(identity)
    };
    let log = Log::open(SimDisk::new(seed), options, |_, _| Ok(())).await.unwrap();
    cores::spawn(log.run());
    let spare = log.clone();
    cores::spawn(async move {
        while spare.need_spare().await {
            spare.prepare().await.unwrap();
        }
    });
    log
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

/// Appends an entry without anything in it; durable on return.
async fn append(log: &Log<SimDisk>, id: LogId) {
    let (done, appended) = oneshot::channel();
    let entry = log::Entry { id, kind: 0, payload: bytes::Bytes::new() };
    log.append([entry], |outcome| done.send(outcome).unwrap()).unwrap();
    appended.await.unwrap().unwrap();
}

/// Fills a segment and begins the next; the last entry of the former.
async fn fill_segment(log: &Log<SimDisk>, term: u64, mut index: u64) -> u64 {
    let segment = log.active_segment();
    loop {
        append(log, id(term, index)).await;
        if log.active_segment() > segment {
            return index - 1;
        }
        index += 1;
    }
}

#[test]
fn a_sealed_segment_ends_where_a_later_term_cut_it() {
    run(async {
        let log = open(1).await;
        let first = log.active_segment();
        let last = fill_segment(&log, 1, 0).await;
        assert!(last > 3, "{last}");
        // Another leader has other entries from there on.
        let cut = last - 2;
        log.truncate_after(Some(id(1, cut))).await.unwrap();
        for index in cut + 1..=last + 3 {
            append(&log, id(2, index)).await;
        }
        assert_eq!(log.place(cut).unwrap().segment, first);
        assert!(log.place(cut + 1).unwrap().segment > first);

        let mut machine = StateMachine::new(log.clone(), Replay::default(), Fanout::new(1));
        let entries = (0..=last + 3).map(|index| {
            let id = log.id(index).unwrap();
            Ok((Entry::new(to_raft_id(id), EntryPayload::Blank), None))
        });
        let entries = futures_util::stream::iter(entries.collect::<Vec<_>>());
        RaftStateMachine::<TypeConfig>::apply(&mut machine, entries).await.unwrap();
        log.set_committed(id(2, last + 3));
        log.flush_marks().await.unwrap();
        drop(cores::spawn(indexer::run(machine.clone())));
        while machine.next_complete().is_some() {
            cores::sleep(Duration::from_millis(1)).await;
        }
        let (ended, _) = machine.ended();
        // A checkpoint of it stands for no more, and has it purged.
        assert_eq!(ended.first().map(|end| (end.sequence, end.index)), Some((first, cut)));
    });
}

/// A node was interrupted after it had taken in a checkpoint, and before it had removed what
/// that contradicts from the end of its log.
fn begins_from_a_checkpoint(seed: u64) {
    for (checkpoint, last) in [(id(2, 4), id(1, 2)), (id(1, 4), id(1, 5))] {
        run(async move {
            let log = open(seed).await;
            for index in 0..=5 {
                append(&log, id(1, index)).await;
            }
            log.set_committed(id(1, 2));
            let (files, state) = (log.files(), State::default());
            let raft = membership_to_json(&StoredMembership::default(), 1).unwrap();
            let cluster = log.identity().cluster;
            store::write(&files, checkpoint.index, |out| {
                format::write(out, &state, cluster, checkpoint, raft, |_| panic!("it has no key"))
            })
            .unwrap();
            let (newest, replay) = Replay::load(&files).unwrap();
            assert!(newest.is_some(), "one was written");
            discard_contradicted(&log, &replay).await.unwrap();
            assert_eq!(log.last(), Some(last), "the log ends where it is contradicted");
        });
    }
}

#[test]
fn what_a_checkpoint_contradicts_is_removed() {
    begins_from_a_checkpoint(5);
}

#[test]
fn planted_keep_contradicted_tail() {
    let words = ["the log ends where it is contradicted"];
    prove(Bug::KeepContradictedTail, 5..6, &words, begins_from_a_checkpoint);
}

#[test]
fn entries_are_not_read_from_later_on_than_asked() {
    run(async {
        let log = open(2).await;
        let last = fill_segment(&log, 1, 0).await;
        append(&log, id(1, last + 2)).await;
        log.set_committed(id(1, last));
        log.purge(id(1, last)).await.unwrap();
        let mut store = LogStore::new(log, tokio::sync::watch::channel(false).1);
        let mut limited = async |from, to| {
            let read = RaftLogReader::<TypeConfig>::limited_get_log_entries(&mut store, from, to);
            read.await.unwrap().iter().map(|entry| entry.log_id().index).collect::<Vec<_>>()
        };
        assert_eq!(limited(last, last + 3).await, [0; 0], "the first is purged");
        assert_eq!(limited(last + 1, last + 3).await, [last + 1, last + 2]);
        let all = RaftLogReader::<TypeConfig>::try_get_log_entries(&mut store, ..).await.unwrap();
        assert_eq!(all.len(), 2);
    });
}

#[test]
fn what_an_earlier_run_left_is_checked_when_it_is_read() {
    run(async {
        let log = open(4).await;
        let store = LogStore::new(log.clone(), tokio::sync::watch::channel(false).1);
        let batch = batch(3, b'}');
        let whole = batch.bytes().clone();
        let cut = whole.slice(..whole.len() - 1);
        for (index, payload) in (0..).zip([whole, cut]) {
            let (done, appended) = oneshot::channel();
            let entry = log::Entry { id: id(1, index), kind: 2, payload };
            log.append([entry], |outcome| done.send(outcome).unwrap()).unwrap();
            appended.await.unwrap().unwrap();
        }
        // As if it was opened now.
        let mut found = LogStore::new(log, tokio::sync::watch::channel(false).1);
        let read = RaftLogReader::<TypeConfig>::try_get_log_entries(&mut found, ..1).await.unwrap();
        let EntryPayload::Normal(command) = &read[0].payload else { panic!("{read:?}") };
        assert_eq!(command.0.bytes(), batch.bytes());
        assert!(RaftLogReader::<TypeConfig>::try_get_log_entries(&mut found, ..).await.is_err());
        // What this process took in, it checked before.
        let mut own = store;
        let read = RaftLogReader::<TypeConfig>::try_get_log_entries(&mut own, ..).await;
        assert_eq!(read.unwrap().len(), 2);
    });
}

#[test]
fn what_a_leader_says_is_compared_with_what_is_held() {
    run(async {
        let log = open(3).await;
        for index in 0..=5 {
            append(&log, id(2, index)).await;
        }
        log.save_vote(Vote { term: 3, node: 1, committed: true }).await.unwrap();
        log.set_committed(id(2, 3));
        let halt = |lane, term, previous, committed, entries: &[LogId]| {
            let vote = Vote { term, node: 7, committed: true };
            Statement { lane, vote, previous, committed, entries }.halt(&log, 3)
        };
        let contradicted = |own, theirs| Some(Halt::Contradicted { own, theirs, leader: 7 });
        let reverted = |acknowledged| Some(Halt::Reverted { acknowledged, leader: 7 });
        let (entries, control) = (Lane::Entries, Lane::Control);

        // Other entries in the place of committed ones, whoever names them how.
        let (own, other) = (id(2, 3), id(3, 3));
        assert_eq!(halt(entries, 3, Some(id(2, 2)), None, &[other]), contradicted(own, other));
        assert_eq!(halt(entries, 3, Some(other), None, &[]), contradicted(own, other));
        assert_eq!(halt(control, 4, None, Some(other), &[]), contradicted(own, other));
        assert_eq!(halt(Lane::Snapshot, 4, None, None, &[other]), contradicted(own, other));
        // A leader that was replaced says what is no more.
        assert_eq!(halt(entries, 2, Some(other), None, &[]), None);
        // What is not committed may be replaced, and what is held may be named.
        assert_eq!(halt(entries, 3, Some(id(2, 3)), None, &[id(3, 4), id(3, 5)]), None);
        assert_eq!(halt(entries, 3, Some(id(2, 1)), Some(id(2, 3)), &[id(2, 2), id(2, 3)]), None);

        // A heartbeat names what was acknowledged.
        assert_eq!(halt(control, 3, Some(id(2, 5)), None, &[]), None);
        assert_eq!(halt(control, 3, Some(id(2, 6)), None, &[]), reverted(id(2, 6)));
        assert_eq!(halt(control, 3, Some(id(3, 5)), None, &[]), reverted(id(3, 5)));
        assert_eq!(halt(control, 2, Some(id(2, 6)), None, &[]), None, "it was replaced");
        assert_eq!(halt(entries, 3, Some(id(2, 6)), None, &[]), None, "it is only tried");
    });
}
