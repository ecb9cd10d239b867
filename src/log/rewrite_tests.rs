//! Segments that are written anew: what is to be gone is gone, everything else is as it was, and the
//! power may go at any step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Log, OpenError, Replacement,
    format::{HeaderBlock, SegmentHeader},
    holds_purged,
    segment::{SUFFIX, file_name},
    testing::{append, entry, id, options, start},
    without_purged,
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        BLOCK, Disk,
        simulated::{
            disk::{Loss, SimDisk},
            executor::run,
            power::cut_at_each_step,
        },
    },
};

const SECRET: &[u8] = b"a secret that is to be gone";
const ENTRIES: u64 = 20;
/// The entries with the secret.
const SECRETS: [u64; 3] = [2, 9, 10];

async fn open(disk: &SimDisk, seed: u64) -> Result<(Log<SimDisk>, Vec<Bytes>), OpenError> {
    let mut replayed = Vec::new();
    let log = Log::open(disk.clone(), options(seed), |entry, _| {
        replayed.push(entry.payload.clone());
        Ok(())
    })
    .await?;
    Ok((log, replayed))
}

fn payload(index: u64) -> Vec<u8> {
    let filler = vec![b'f'; 2000 + index as usize];
    if SECRETS.contains(&index) { [SECRET, &filler].concat() } else { filler }
}

/// Takes the secret away, in the same length.
fn without_secret() -> Replacement {
    Arc::new(|entry| {
        let rest = entry.payload.strip_prefix(SECRET)?;
        Some([&[b'-'; SECRET.len()], rest].concat().into())
    })
}

/// A log over several segments, in use.
async fn filled(disk: &SimDisk) -> Log<SimDisk> {
    let (log, _) = open(disk, 1).await.unwrap();
    start(&log);
    for index in 0..ENTRIES {
        append(&log, vec![entry(1, index, payload(index))]).await.unwrap();
        log.set_committed(id(1, index));
        if index == 5 {
            // What was removed stays in its segment.
            append(&log, vec![entry(1, 6, b"removed".to_vec())]).await.unwrap();
            log.truncate_after(Some(id(1, 5))).await.unwrap();
        }
    }
    log.flush_marks().await.unwrap();
    log
}

/// The segments that hold the secret.
fn secret(disk: &SimDisk) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET);
    disk.snapshot().into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

/// What is read is what was written, but for what may be gone.
fn check(replayed: &[Bytes], gone: impl Fn(usize) -> Option<bool>) {
    assert_eq!(replayed.len() as u64, ENTRIES);
    for (index, found) in replayed.iter().enumerate() {
        let want = payload(index as u64);
        if !want.starts_with(SECRET) {
            assert_eq!(*found, want);
            continue;
        }
        let is_gone = found.starts_with(b"---");
        assert!(is_gone || *found == want, "entry {index}");
        assert!(
            gone(index).is_none_or(|gone| gone == is_gone),
            "entry {index} is, or is not, gone"
        );
        assert_eq!(found.len(), want.len());
    }
}

#[test]
fn what_is_replaced_is_gone_and_the_log_goes_on() {
    run(1, async {
        let disk = SimDisk::new(1);
        let log = filled(&disk).await;
        let active = log.active_segment();
        assert!(active > 3, "there are several segments");
        let places: Vec<_> = (0..ENTRIES).map(|index| log.place(index).unwrap()).collect();
        // Twice: what was written anew is written anew once more.
        for _ in 0..2 {
            for sequence in 1..active {
                assert!(log.rewrite(sequence, without_secret(), async |_| {}).await.unwrap());
                log.scrub(sequence, async |_| {}).await.unwrap();
            }
        }
        assert_eq!(secret(&disk), Vec::<String>::new());
        log.release(ENTRIES);
        append(&log, vec![entry(1, ENTRIES, b"one more".to_vec())]).await.unwrap();
        log.set_committed(id(1, ENTRIES));
        let read = log.read(0, ENTRIES, usize::MAX).await.unwrap();
        let read: Vec<_> = read.into_iter().map(|entry| entry.payload).collect();
        log.close().await.unwrap();
        let (log, mut replayed) = open(&disk.kill(), 2).await.unwrap();
        assert_eq!(replayed.pop().unwrap(), &b"one more"[..]);
        check(&replayed, |_| Some(true));
        assert_eq!(replayed, read);
        let now: Vec<_> = (0..ENTRIES).map(|index| log.place(index).unwrap()).collect();
        assert_eq!(now, places, "all places stay");
    });
}

#[test]
fn a_segment_is_completed_early_and_gets_as_short_as_what_is_in_it() {
    run(2, async {
        let disk = SimDisk::new(2);
        let (log, _) = open(&disk, 1).await.unwrap();
        start(&log);
        append(&log, vec![entry(1, 0, payload(2))]).await.unwrap();
        log.set_committed(id(1, 0));
        while log.active_segment() == 1 {
            log.complete_active();
            crate::io::cores::yield_if_needed().await;
            crate::io::cores::sleep(std::time::Duration::from_millis(1)).await;
        }
        // Of one without anything in it nothing would come.
        log.complete_active();
        crate::io::cores::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(log.active_segment(), 2);
        assert!(log.rewrite(1, without_secret(), async |_| {}).await.unwrap());
        append(&log, vec![entry(1, 1, b"on".to_vec())]).await.unwrap();
        log.close().await.unwrap();
        assert_eq!(secret(&disk), Vec::<String>::new());
        let (_, replayed) = open(&disk.kill(), 2).await.unwrap();
        assert!(replayed[0].starts_with(b"---"));
    });
}

/// The power goes after so many steps of writing a segment anew; whether it went.
async fn cut(steps: u64, seed: u64) -> bool {
    let disk = SimDisk::new(seed);
    let log = filled(&disk).await;
    let secrets = secret(&disk);
    let segment = log.place(SECRETS[0]).unwrap().segment;
    disk.cut_power_after(steps);
    let outcome = log.rewrite(segment, without_secret(), async |_| {}).await;
    let was_cut = outcome.is_err();
    let disk = disk.crash(Loss::Random);
    let (log, replayed) = open(&disk, seed + 1).await.expect("a sound log");
    let is_durable = outcome.is_ok();
    check(&replayed, |index| match log.place(index as u64).unwrap().segment == segment {
        true => is_durable.then_some(true),
        false => Some(false),
    });
    let left = secret(&disk);
    assert!(left.iter().all(|name| secrets.contains(name)), "{left:?}");
    assert!(disk.snapshot().keys().all(|name| !name.ends_with(".tmp")), "it is tidied up");
    // It is done at the next try.
    start(&log);
    while !log.rewrite(segment, without_secret(), async |_| {}).await.unwrap() {}
    let (_, replayed) = open(&disk.crash(Loss::All), seed + 2).await.expect("a sound log");
    check(&replayed, |index| (log.place(index as u64).unwrap().segment == segment).then_some(true));
    was_cut
}

fn cuts(seed: u64) {
    cut_at_each_step(seed, 10, cut);
}

#[test]
fn the_power_may_go_at_each_step() {
    (0..8).for_each(|n| cuts(n * 1000));
}

#[test]
fn planted_forget_rewritten_chain() {
    let words = ["the last group before the next segment is missing"];
    prove(Bug::ForgetRewrittenChain, 0..1, &words, cuts);
}

#[test]
fn planted_skip_rewrite_sync() {
    let words = ["a sound log"];
    prove(Bug::SkipRewriteSync, 0..20, &words, |seed| cuts(seed * 1000));
}

#[test]
fn planted_skip_rewrite_directory_sync() {
    let words = ["is, or is not, gone"];
    prove(Bug::SkipRewriteDirectorySync, 0..20, &words, |seed| cuts(seed * 1000));
}

/// Purged segments are removed while one of them is written anew: none comes back.
fn purged_meanwhile(seed: u64) {
    run(seed, async move {
        let disk = SimDisk::new(seed);
        let log = filled(&disk).await;
        let segment = log.place(SECRETS[0]).unwrap().segment;
        let purging = log.clone();
        let purge = async move |_| {
            purging.purge(id(1, 12)).await.unwrap();
        };
        let is_done = log.rewrite(segment, without_secret(), purge).await.unwrap();
        assert!(log.oldest_segment() > segment);
        log.close().await.unwrap();
        let disk = disk.kill();
        assert!(!disk.snapshot().contains_key(&file_name(segment)), "a purged segment is back");
        assert!(!is_done);
        let (_, replayed) = open(&disk, 2).await.unwrap();
        assert_eq!(replayed.len(), 7);
    });
}

#[test]
fn what_is_purged_meanwhile_stays_away() {
    purged_meanwhile(3);
}

#[test]
fn planted_restore_purged_segment() {
    let words = ["a purged segment is back"];
    prove(Bug::RestorePurgedSegment, 3..4, &words, purged_meanwhile);
}

#[test]
fn a_segment_that_lacks_its_end_or_is_the_last_is_damage() {
    run(4, async {
        let disk = SimDisk::new(4);
        let log = filled(&disk).await;
        assert!(log.rewrite(2, without_secret(), async |_| {}).await.unwrap());
        log.close().await.unwrap();
        let whole = disk.kill();
        let names: Vec<_> = whole.snapshot().into_keys().filter(|n| n.ends_with(SUFFIX)).collect();
        let alone = whole.copy(1);
        names.iter().filter(|name| **name > file_name(2)).for_each(|name| alone.take(name));
        let refused = open(&alone, 2).await.map(drop).unwrap_err().to_string();
        assert!(refused.contains("the segment after one that was written anew"), "{refused}");

        let cut = whole.copy(2);
        cut.damage(&file_name(2), |bytes| {
            let last = bytes.chunks(BLOCK).rposition(|block| block.starts_with(b"CAg")).unwrap();
            bytes[last * BLOCK..].fill(0);
        });
        assert!(matches!(open(&cut, 2).await.map(drop), Err(OpenError::Corrupt { .. })));
        let bytes = &whole.snapshot()[&file_name(2)];
        let HeaderBlock::Used(header) = SegmentHeader::decode(&bytes[..BLOCK]) else { panic!() };
        assert_eq!(header.segment_bytes, bytes.len() as u64);
        assert!(header.rewritten.is_some());
        drop(whole.files());
    });
}

#[test]
fn what_is_purged_in_the_middle_of_a_segment_is_gone_from_it() {
    run(5, async {
        let disk = SimDisk::new(5);
        let log = filled(&disk).await;
        // In the middle of a segment, as where another node's checkpoint stands for it.
        let second = |index: &u64| log.place(*index).unwrap().segment > 2;
        let purged = (0..ENTRIES).find(second).unwrap();
        log.purge(id(1, purged)).await.unwrap();
        let oldest = log.oldest_segment();
        let holds = |disk: &SimDisk| holds_purged(&disk.files(), oldest, purged).unwrap();
        assert!(holds(&disk));
        assert!(!holds_purged(&disk.files(), oldest + 1, purged).unwrap());
        assert!(log.rewrite(oldest, without_purged(purged), async |_| {}).await.unwrap());
        assert!(!holds(&disk));
        log.close().await.unwrap();
        let disk = disk.kill();
        let (_, replayed) = open(&disk, 2).await.unwrap();
        let want: Vec<_> = (purged + 1..ENTRIES).map(payload).collect();
        assert_eq!(replayed, want);
    });
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-v2")
}

/// `MAKE_FIXTURE=1` writes first what is read here.
#[test]
fn the_directory_of_format_2_is_read_back() {
    run(6, async {
        if std::env::var_os("MAKE_FIXTURE").is_some() {
            write_fixture().await;
        }
        let disk = SimDisk::new(6);
        for file in std::fs::read_dir(fixture()).expect("the fixture is there") {
            let file = file.expect("listed");
            let name = file.file_name().into_string().expect("a name");
            disk.put(&name, std::fs::read(file.path()).expect("read"));
        }
        let bytes = &disk.snapshot()[&file_name(2)];
        let HeaderBlock::Used(header) = SegmentHeader::decode(&bytes[..BLOCK]) else { panic!() };
        assert!(header.rewritten.is_some());
        let (log, replayed) = open(&disk, 2).await.expect("opens");
        check(&replayed, |_| Some(true));
        log.scrub(2, async |_| {}).await.expect("sound");
        assert_eq!(secret(&disk), Vec::<String>::new());
    });
}

/// Writes the fixture anew; only for a change of the format before a release.
async fn write_fixture() {
    let disk = SimDisk::new(6);
    let log = filled(&disk).await;
    for sequence in 1..log.active_segment() {
        assert!(log.rewrite(sequence, without_secret(), async |_| {}).await.unwrap());
    }
    log.close().await.unwrap();
    std::fs::create_dir_all(fixture()).expect("made");
    for (name, bytes) in disk.crash(Loss::All).snapshot() {
        std::fs::write(fixture().join(name), bytes).expect("written");
    }
}
