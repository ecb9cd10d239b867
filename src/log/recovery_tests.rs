//! The recovery rules one by one: what is cut, what is refused, and that a
//! refusal changes nothing.

use super::{
    Entry, Log, OpenError, Options, Vote,
    format::{FrameRef, GROUP_HEAD_BYTES, GroupPlace, HardState, HeaderBlock, SegmentHeader},
    format::{encode_group, group_bytes},
    segment::{file_name, temporary_name},
    testing::{Harness, SEGMENT_BYTES, Turns, append, entry, id, options},
};
use crate::base::ids::ClusterId;
use crate::io::{
    BLOCK,
    simulated::disk::{Faults, Loss, SimDisk},
};
use futures_util::future::join;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{cell::RefCell, io, rc::Rc};
use uuid::Uuid;

/// A closed log whose groups are one entry each, and where the groups start:
/// segment, offset.
fn filled(count: u64, payload_bytes: usize) -> (SimDisk, Vec<(u64, u64)>) {
    let disk = SimDisk::new(1);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(1)).unwrap();
    harness.start(&log);
    let mut groups = Vec::new();
    harness.run(async {
        for index in 0..count {
            let byte = u8::try_from(index % 250).unwrap() + 1;
            append(&log, vec![entry(1, index, vec![byte; payload_bytes])]).await.unwrap();
            log.set_committed(id(1, index));
            let place = log.place(index).unwrap();
            groups.push((place.segment, u64::from(place.offset) / BLOCK as u64 * BLOCK as u64));
        }
        log.close().await.unwrap();
    });
    (disk.kill(), groups)
}

fn reopen(disk: &SimDisk) -> Result<(Log<SimDisk>, Vec<Entry>), OpenError> {
    Harness::new().open(disk, options(2))
}

/// Opening must fail at this place and change nothing.
fn refused(disk: &SimDisk, segment: u64, at: u64) {
    let before = disk.snapshot();
    match reopen(disk).err() {
        Some(OpenError::Corrupt { file, offset, .. }) => {
            assert_eq!((file, offset), (file_name(segment), at));
        }
        other => panic!("expected damage in segment {segment} at {at}, got {other:?}"),
    }
    assert!(before == disk.snapshot(), "a refusal changed the disk");
}

#[test]
fn damage_anywhere_before_the_tail_is_refused_with_its_place() {
    let (disk, groups) = filled(20, 3000);
    assert!(groups.last().unwrap().0 >= 3, "several segments");
    for (n, &(segment, offset)) in groups.iter().enumerate() {
        for byte in [0, 4, 20, 50, GROUP_HEAD_BYTES + 8, 2000, 3100, 4000] {
            let damaged = disk.copy(n as u64);
            damaged.flip_bit(&file_name(segment), offset as usize + byte, 3);
            refused(&damaged, segment, offset);
        }
        let zeroed = disk.copy(n as u64);
        zeroed.damage(&file_name(segment), |bytes| {
            bytes[offset as usize..offset as usize + BLOCK].fill(0);
        });
        refused(&zeroed, segment, offset);
    }
}

#[test]
fn damaged_headers_and_missing_segments_are_refused() {
    let (disk, groups) = filled(20, 3000);
    let last = groups.last().unwrap().0;
    for segment in 1..=last {
        let damaged = disk.copy(segment);
        damaged.flip_bit(&file_name(segment), 30, 1);
        refused(&damaged, segment, 0);
        let zeroed = disk.copy(segment);
        zeroed.damage(&file_name(segment), |bytes| bytes[..BLOCK].fill(0));
        refused(&zeroed, segment, 0);
        let missing = disk.copy(segment);
        missing.take(&file_name(segment));
        let (at, place) = if segment == 1 { (2, 0) } else { (segment, 0) };
        refused(&missing, at, place);
    }
    let short = disk.copy(9);
    let mut bytes = short.snapshot().remove(&file_name(2)).unwrap();
    bytes.truncate(BLOCK);
    short.put(&file_name(2), bytes);
    refused(&short, 2, BLOCK as u64);
}

#[test]
fn a_damaged_newest_group_is_damage_once_the_log_was_quiet() {
    let (disk, groups) = filled(3, 100);
    let &(segment, offset) = groups.last().unwrap();
    disk.flip_bit(&file_name(segment), offset as usize + 130, 0);
    refused(&disk, segment, offset);
}

/// Writes a group without acknowledging it and tears it: some sectors stay.
fn torn(disk: &SimDisk, seed: u64, payload: Vec<u8>) -> (SimDisk, bool) {
    let mut harness = Harness::new();
    let (log, _) = harness.open(disk, options(seed)).unwrap();
    harness.spawn(log.run());
    let before = disk.snapshot();
    disk.set_faults(Faults { pending_max: 1000, ..Faults::default() });
    let acknowledged = Rc::new(RefCell::new(false));
    let told = Rc::clone(&acknowledged);
    let next = log.last().map_or(0, |id| id.index + 1);
    log.append([entry(1, next, payload)], move |_| *told.borrow_mut() = true).unwrap();
    while disk.writes() == 0 && !*acknowledged.borrow() {
        harness.run(Turns(1));
    }
    let told = *acknowledged.borrow();
    let after = disk.crash(Loss::Random);
    after.set_faults(Faults::default());
    let tore = !told && after.snapshot() != before;
    (after, tore)
}

#[test]
fn a_torn_tail_is_cut_again_and_again() {
    let (closed, _) = filled(3, 100);
    let mut tears = 0;
    for seed in 0..60 {
        let (disk, tore) = torn(&closed.copy(seed), seed, vec![7; 9000]);
        tears += u32::from(tore);
        // The cut itself is interrupted, then done.
        disk.fail_writes_after(seed % 3);
        let first = reopen(&disk).map(|_| ());
        assert!(first.is_ok() || matches!(first, Err(OpenError::Io { .. })), "{first:?}");
        let disk = disk.crash(Loss::Random);
        let (log, replayed) = reopen(&disk).unwrap();
        assert_eq!(replayed.len(), 3);
        let last = log.last().unwrap().index;
        assert!(last == 2 || last == 3, "whole or not at all");
        if last == 2 {
            let bytes = &disk.snapshot()[&file_name(1)];
            let end = 5 * BLOCK;
            assert!(bytes[end..].iter().all(|&byte| byte == 0), "the tail is zeros again");
        }
        let mut harness = Harness::new();
        let (log, _) = harness.open(&disk.kill(), options(seed)).unwrap();
        harness.start(&log);
        harness.run(append(&log, vec![entry(2, last + 1, "on")])).unwrap();
    }
    assert!(tears > 30);
}

#[test]
fn a_payload_that_holds_a_group_of_its_own_segment_fools_nobody() {
    let (closed, groups) = filled(3, 100);
    let bytes = closed.snapshot().remove(&file_name(1)).unwrap();
    let copied = &bytes[groups[1].1 as usize..][..BLOCK];
    // Wherever a block starts in the payload, a sound group stands there.
    let shift = BLOCK - GROUP_HEAD_BYTES - 32;
    let mut payload = vec![0; shift];
    for _ in 0..3 {
        payload.extend_from_slice(copied);
    }
    for seed in 0..20 {
        let (disk, _) = torn(&closed.copy(seed), seed, payload.clone());
        let (log, replayed) = reopen(&disk).unwrap();
        assert_eq!(replayed.len(), 3);
        let last = log.last().unwrap().index;
        assert!(last == 2 || last == 3);
    }
}

#[test]
fn damage_behind_which_a_torn_write_lies_is_still_damage() {
    let (closed, groups) = filled(3, 100);
    for seed in 0..30 {
        let (disk, _) = torn(&closed.copy(seed), seed, vec![9; 9000]);
        let &(segment, offset) = groups.last().unwrap();
        disk.flip_bit(&file_name(segment), offset as usize + 131, 2);
        refused(&disk, segment, offset);
    }
}

#[test]
fn every_crash_while_a_directory_is_made_leaves_one_that_opens() {
    for seed in 0..80 {
        let faults = Faults { pending_max: 2, ..Faults::default() };
        let disk = SimDisk::with_faults(seed, faults);
        let mut harness = Harness::new();
        let (opening, settings) = (disk.clone(), options(seed));
        harness.spawn(async move {
            if let Ok(log) = Log::open(opening, settings, |_, _| Ok(())).await {
                log.run().await;
            }
        });
        harness.run(Turns(u32::try_from(seed).unwrap()));
        drop(harness);
        let (log, _) = reopen(&disk.crash(Loss::Random)).unwrap();
        assert_eq!(log.last(), None);
        assert_eq!(log.identity(), options(0).identity);
    }
}

#[test]
fn leftovers_of_preparing_are_tidied_and_other_files_left_alone() {
    let (disk, _) = filled(3, 100);
    disk.put(&temporary_name(9), vec![1; BLOCK]);
    disk.put("LOCK", b"12".to_vec());
    disk.put("00000000000000000001.idx", vec![2; 10]);
    reopen(&disk).unwrap();
    let files = disk.snapshot();
    assert!(!files.contains_key(&temporary_name(9)));
    assert!(files.contains_key("LOCK") && files.contains_key("00000000000000000001.idx"));
    disk.put("1.seg", vec![]);
    assert!(matches!(reopen(&disk).err(), Some(OpenError::ForeignFile(name)) if name == "1.seg"));
}

#[test]
fn a_torn_header_of_a_new_segment_is_prepared_again() {
    let (disk, groups) = filled(6, 3000);
    let spare = groups.last().unwrap().0 + 1;
    assert!(disk.snapshot()[&file_name(spare)].iter().all(|&byte| byte == 0));
    disk.damage(&file_name(spare), |bytes| bytes[100..200].fill(3));
    reopen(&disk).unwrap();
    assert!(disk.snapshot()[&file_name(spare)].iter().all(|&byte| byte == 0));
    disk.damage(&file_name(spare), |bytes| bytes[BLOCK + 5] = 1);
    refused(&disk, spare, 0);
}

#[test]
fn other_versions_clusters_and_nodes_are_refused_unchanged() {
    let (disk, _) = filled(3, 100);
    let other = ClusterId(Uuid::from_u128(5));
    let before = disk.snapshot();
    let mut harness = Harness::new();
    let wrong = Options { expect: Some(other), ..options(1) };
    let error = harness.open(&disk, wrong).err().unwrap();
    assert!(matches!(error, OpenError::Cluster { expected, .. } if expected == other));
    let wrong = Options { expect_node: Some(8), ..options(1) };
    let error = harness.open(&disk, wrong).err().unwrap();
    assert!(matches!(error, OpenError::Node { found: 7, expected: 8, .. }));
    assert_eq!(before, disk.snapshot());

    // A segment of another cluster that was copied in.
    let bytes = &before[&file_name(1)];
    let HeaderBlock::Used(header) = SegmentHeader::decode(&bytes[..BLOCK]) else { panic!() };
    let foreign = disk.copy(1);
    foreign.damage(&file_name(2), |bytes| {
        let header = SegmentHeader { cluster: other, sequence: 2, ..header };
        bytes[..BLOCK].fill(0);
        header.encode(&mut bytes[..BLOCK]);
    });
    let error = reopen(&foreign).err().unwrap();
    assert!(matches!(error, OpenError::Cluster { found, .. } if found == other), "{error}");

    disk.damage(&file_name(1), |bytes| {
        bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
        let preamble = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&preamble.to_le_bytes());
    });
    let error = reopen(&disk).err().unwrap();
    assert_eq!(
        error.to_string(),
        "00000000000000000001.seg has log format 9; this build reads formats up to 2"
    );
}

#[test]
fn a_sound_group_that_breaks_the_chain_is_damage() {
    let (disk, groups) = filled(3, 100);
    let HeaderBlock::Used(header) = SegmentHeader::decode(&disk.snapshot()[&file_name(1)][..BLOCK])
    else {
        panic!()
    };
    let &(segment, offset) = groups.last().unwrap();
    disk.damage(&file_name(segment), |bytes| {
        let entry = entry(1, 2, "forged");
        let end = offset as usize + group_bytes(38);
        let place = GroupPlace {
            offset: u32::try_from(offset).unwrap(),
            nonce: header.nonce,
            number: 3,
            previous: 1234,
        };
        let frames = [FrameRef::Entry(&entry)].into_iter();
        encode_group(&mut bytes[offset as usize..end], &place, &HardState::default(), frames);
    });
    refused(&disk, segment, offset);
}

#[test]
fn a_full_disk_refuses_by_headroom_keeps_votes_and_recovers() {
    let disk = SimDisk::new(3);
    disk.set_capacity(Some(2 * SEGMENT_BYTES));
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(3)).unwrap();
    harness.spawn(log.run());
    harness.run(log.prepare()).unwrap();
    let mut next = 0;
    while log.headroom() >= 3000 {
        harness.run(append(&log, vec![entry(1, next, vec![1; 3000])])).unwrap();
        next += 1;
        if next > 2 {
            let error = harness.run(log.prepare());
            assert!(error.is_ok() || error.unwrap_err().kind() == io::ErrorKind::StorageFull);
        }
    }
    assert!(next >= 10, "both segments are used");
    let vote = Vote { term: 9, node: 7, committed: false };
    harness.run(log.save_vote(vote)).unwrap();
    let error = harness.run(log.prepare()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(log.poison().is_none());
    disk.set_capacity(None);
    harness.run(log.prepare()).unwrap();
    assert!(log.headroom() >= 3000);
    harness.run(append(&log, vec![entry(9, next, vec![1; 3000])])).unwrap();
    harness.run(log.close()).unwrap();
    let (log, _) = reopen(&disk.crash(Loss::All)).unwrap();
    assert_eq!((log.last(), log.vote()), (Some(id(9, next)), Some(vote)));
}

/// Appends an entry: whether it is durable, once that is told.
fn told_later(log: &Log<SimDisk>, entry: Entry) -> Rc<RefCell<Option<bool>>> {
    let told = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&told);
    log.append([entry], move |o| *tell.borrow_mut() = Some(o.is_ok())).unwrap();
    told
}

#[test]
fn an_entry_beyond_the_headroom_waits_for_a_segment() {
    let disk = SimDisk::new(4);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(4)).unwrap();
    harness.spawn(log.run());
    let most = log.payload_bytes_max();
    assert!(log.append([entry(1, 0, vec![0; most + 1])], |_| {}).is_err());
    harness.run(append(&log, vec![entry(1, 0, vec![1; most])])).unwrap();
    let told = told_later(&log, entry(1, 1, vec![2; most]));
    harness.run(Turns(50));
    assert_eq!(*told.borrow(), None);
    let before = log.progress();
    assert!(before.is_waited_for && !before.is_writing && !before.lacks_room);
    assert!(!log.want_room(most as u64) && log.progress().lacks_room);
    harness.run(log.prepare()).unwrap();
    assert!(log.progress().pieces > before.pieces, "it could be seen to be made");
    harness.run(Turns(50));
    assert_eq!(*told.borrow(), Some(true));
}

#[test]
fn the_first_segment_is_short_and_the_next_one_is_given_up_when_the_log_is_closed() {
    let (disk, mut harness) = (SimDisk::new(5), Harness::new());
    disk.set_faults(Faults { pending_max: 3, ..Faults::default() });
    let long = Options { segment_bytes: 8 << 20, ..options(5) };
    let (log, _) = harness.open(&disk, long).unwrap();
    harness.spawn(log.run());
    let closed = async {
        while log.progress().pieces < 3 {
            Turns(1).await;
        }
        log.close().await
    };
    let (prepared, closed) = harness.run(join(log.prepare(), closed));
    assert!(prepared.is_ok() && closed.is_ok());
    assert!((3..20).contains(&log.progress().pieces), "{}", log.progress().pieces);
    let left: Vec<_> =
        disk.snapshot().iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect();
    assert_eq!(left, [(file_name(1), 4 << 20)]);
}

#[test]
fn closing_a_log_that_waits_for_room_fails_what_waits() {
    let disk = SimDisk::new(6);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(6)).unwrap();
    harness.spawn(log.run());
    let most = log.payload_bytes_max();
    harness.run(append(&log, vec![entry(1, 0, vec![1; most])])).unwrap();
    let told = told_later(&log, entry(1, 1, vec![2; most]));
    harness.run(log.close()).unwrap();
    assert_eq!(*told.borrow(), Some(false));
    assert_eq!(reopen(&disk.crash(Loss::All)).unwrap().0.last(), Some(id(1, 0)));
}

/// A log in use that has one entry.
fn with_one_entry() -> (SimDisk, Harness, Log<SimDisk>) {
    let disk = SimDisk::new(5);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(5)).unwrap();
    harness.start(&log);
    harness.run(append(&log, vec![entry(1, 0, "a")])).unwrap();
    harness.run(Turns(500));
    (disk, harness, log)
}

#[test]
fn after_a_failed_write_everything_fails_and_nothing_is_written() {
    let (disk, mut harness, log) = with_one_entry();
    disk.fail_writes_after(0);
    harness.run(append(&log, vec![entry(1, 1, "b")])).unwrap_err();
    let writes = disk.writes();
    disk.set_faults(Faults::default());
    assert!(log.poison().is_some());
    assert!(log.append([entry(1, 2, "c")], |_| {}).is_err());
    let vote = Vote { term: 1, node: 1, committed: false };
    harness.run(log.save_vote(vote)).unwrap_err();
    harness.run(log.flush_marks()).unwrap_err();
    harness.run(log.prepare()).unwrap_err();
    harness.run(log.close()).unwrap_err();
    assert_eq!(disk.writes(), writes);
}

#[test]
fn what_was_being_written_when_the_log_failed_is_answered_for_and_the_rest_fails() {
    let (disk, mut harness, log) = with_one_entry();
    disk.set_faults(Faults { hangs: true, ..Faults::default() });
    let told = Rc::new(RefCell::new(Vec::new()));
    for (index, payload) in [(1, "b"), (2, "c")] {
        let tell = Rc::clone(&told);
        let done = move |outcome: io::Result<()>| tell.borrow_mut().push((index, outcome.is_ok()));
        log.append([entry(1, index, payload)], done).unwrap();
        harness.run(Turns(500));
    }
    // As a directory does that cannot be synced for a segment that is prepared meanwhile.
    log.shared.poison("a test", &io::Error::other("it fails"), Vec::new());
    assert_eq!(*told.borrow(), [(2, false)]);
    disk.set_faults(Faults::default());
    harness.run(Turns(500));
    assert_eq!(*told.borrow(), [(2, false), (1, true)]);
    assert_eq!(reopen(&disk.crash(Loss::All)).unwrap().0.last(), Some(id(1, 1)));
}

#[test]
fn released_entries_are_read_from_disk_and_damage_is_named() {
    let (disk, _) = filled(12, 3000);
    let mut harness = Harness::new();
    let (log, replayed) = harness.open(&disk, options(6)).unwrap();
    assert_eq!(harness.run(log.read(0, 100, usize::MAX)).unwrap(), replayed);
    assert_eq!(harness.run(log.read(3, 100, 1)).unwrap().len(), 1, "at least one");
    assert_eq!(harness.run(log.read(3, 100, 7000)).unwrap().len(), 2);
    let place = log.place(0).unwrap();
    disk.flip_bit(&file_name(1), place.offset as usize + 5, 0);
    let error = harness.run(log.read(0, 1, 100)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(&file_name(1)), "{error}");
}

#[test]
fn purging_removes_whole_segments_and_a_purge_ahead_restarts_the_log() {
    let (disk, groups) = filled(14, 3000);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(7)).unwrap();
    harness.start(&log);
    harness.run(log.purge(id(1, 10))).unwrap();
    let oldest = groups[11].0;
    let files = disk.snapshot();
    assert!(oldest > 1 && !files.contains_key(&file_name(oldest - 1)));
    assert!(files.contains_key(&file_name(oldest)));
    harness.run(log.close()).unwrap();
    let mut harness = Harness::new();
    let (log, replayed) = harness.open(&disk.kill(), options(8)).unwrap();
    assert_eq!(replayed.iter().map(|e| e.id.index).collect::<Vec<_>>(), [11, 12, 13]);
    harness.start(&log);
    harness.run(log.purge(id(3, 99))).unwrap();
    assert_eq!((log.last(), log.committed()), (Some(id(3, 99)), Some(id(3, 99))));
    harness.run(append(&log, vec![entry(3, 100, "next")])).unwrap();
    harness.run(log.close()).unwrap();
}

#[test]
fn a_purged_segment_that_cannot_be_removed_goes_with_a_later_purge() {
    let (disk, groups) = filled(30, 3000);
    let segments = |disk: &SimDisk| {
        let names = disk.snapshot().into_keys();
        names.filter(|name| name.ends_with(".seg")).collect::<Vec<_>>()
    };
    let before = segments(&disk);
    let (purged, later) = (id(1, 10), id(1, 20));
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(7)).unwrap();
    harness.start(&log);
    disk.set_faults(Faults { remove_error: 1.0, ..Faults::default() });
    harness.run(log.purge(purged)).unwrap();
    assert!(segments(&disk).starts_with(&before), "nothing could be removed");
    assert_eq!((log.purged(), log.poison()), (Some(purged), None));
    harness.run(append(&log, vec![entry(1, 30, "more")])).unwrap();
    harness.run(log.close()).unwrap();

    // A start takes what is left for what it is.
    let disk = disk.kill();
    let mut harness = Harness::new();
    let (log, replayed) = harness.open(&disk, options(8)).unwrap();
    assert_eq!(replayed.first().map(|entry| entry.id.index), Some(11));
    assert_eq!((log.purged(), log.first_index()), (Some(purged), 11));
    harness.start(&log);
    harness.run(log.purge(later)).unwrap();
    assert!(segments(&disk).starts_with(&before), "it fails still");
    disk.set_faults(Faults::default());
    harness.run(log.purge(id(1, 21))).unwrap();
    let oldest = file_name(groups[22].0);
    assert_eq!(segments(&disk).first(), Some(&oldest), "all go that were left");
    harness.run(log.close()).unwrap();
    let (log, replayed) = reopen(&disk.kill()).unwrap();
    assert_eq!(replayed.first().map(|entry| entry.id.index), Some(22));
    assert_eq!(log.last(), Some(id(1, 30)));
}

#[test]
fn what_an_interrupted_purge_left_can_be_removed_after_a_start() {
    let (disk, groups) = filled(30, 3000);
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(7)).unwrap();
    harness.start(&log);
    disk.set_faults(Faults { remove_error: 1.0, ..Faults::default() });
    harness.run(log.purge(id(1, 20))).unwrap();
    harness.run(log.close()).unwrap();
    let disk = disk.kill();
    assert!(disk.snapshot().contains_key(&file_name(1)), "it is left");
    disk.set_faults(Faults::default());
    let mut harness = Harness::new();
    let (log, _) = harness.open(&disk, options(8)).unwrap();
    harness.run(log.remove_purged()).unwrap();
    let oldest = groups[21].0;
    assert!(oldest > 1 && log.oldest_segment() == oldest);
    let names: Vec<_> = disk.snapshot().into_keys().filter(|name| name.ends_with(".seg")).collect();
    assert_eq!(names.first(), Some(&file_name(oldest)));
    // Nothing was written since; what says that it is purged is durable all the same.
    let (log, replayed) = reopen(&disk.crash(Loss::All)).unwrap();
    assert_eq!(replayed.first().map(|entry| entry.id.index), Some(21));
    assert_eq!(log.purged(), Some(id(1, 20)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any flipped bit is either refused, with nothing changed, or lies in what
    /// was never acknowledged.
    #[test]
    fn a_flipped_bit_never_changes_what_is_read(seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (disk, _) = filled(rng.random_range(1..10), rng.random_range(0..5000));
        let (log, _) = reopen(&disk.copy(seed)).unwrap();
        let last = log.last();
        let names: Vec<_> = disk.snapshot().into_keys().collect();
        let name = &names[rng.random_range(0..names.len())];
        disk.flip_bit(name, rng.random_range(0..SEGMENT_BYTES as usize), rng.random_range(0..8));
        let before = disk.snapshot();
        match reopen(&disk) {
            Ok((log, replayed)) => {
                prop_assert_eq!(log.last(), last);
                prop_assert!(replayed.iter().all(|e| e.payload.iter().all(|&b| u64::from(b) == e.id.index + 1)));
            }
            Err(OpenError::Corrupt { .. }) => prop_assert!(before == disk.snapshot()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
