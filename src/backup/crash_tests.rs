//! The power goes at any step of a backup: what was complete before can be restored, and the next
//! run goes on.

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    BackupError, Held, InDirectory, Manifest, ManifestError, Part, Piece, Request, RestoreError,
    Source, is_one, restore, restore::restore_in, run,
};
use crate::{
    base::{
        ids::{ChangeId, ClusterId, LogId, Timestamp},
        planted::{Bug, prove},
    },
    checkpoint::format,
    io::{
        Disk,
        simulated::{
            disk::{Loss, SimDisk},
            executor,
        },
    },
    log::{self, Contents, Entry, entry_head},
    raft::prefix,
    state::{
        State,
        testing::{ChangeText, batch_of},
    },
};

const CLUSTER: ClusterId = ClusterId(uuid::Uuid::from_u128(9));
/// The number of a batch as the kind of an entry. Stable: it is on disk.
const BATCH: u8 = 2;
/// Steps of an operation on the disk that a power cut may come before.
const STEPS_MAX: u64 = 40;
const SEGMENT_BYTES: usize = 40_000;

/// A node that is asked for its log.
struct Node {
    /// Those that it holds, by index, once they are applied.
    entries: Vec<Entry>,
    applied: u64,
    /// The last entry that is purged, with the checkpoint that stands for it.
    purged: Option<(LogId, Bytes)>,
}

#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

fn batch(index: u64) -> crate::base::batch::Batch {
    let data = "x".repeat((index as usize * 997) % 9_000);
    let append = crate::base::batch::Append::from(ChangeText::plain(&data));
    batch_of(&[append.into()], index)
}

impl Node {
    /// A node whose n-th change is that of entry n.
    fn new(entries: u64, purged: Option<u64>) -> Self {
        let mut log = vec![prefix::alone(3, LogId { term: 1, index: 0 }).unwrap()];
        let mut state = State::default();
        let mut checkpoint = Vec::new();
        for index in 1..entries {
            let id = LogId { term: 1 + index / 20, index };
            log.push(Entry { id, kind: BATCH, payload: batch(index).bytes().clone() });
            if Some(index) <= purged {
                state.apply(batch(index));
            }
        }
        let purged = purged.map(|index| {
            let raft = r#"{"term":1,"index":0,"membership":{"configs":[[3]],"nodes":{"3":
                {"address":"a","cluster_address":"b"}}},"highest":4}"#;
            let raft = serde_json::value::RawValue::from_string(raft.replace('\n', "")).unwrap();
            let id = log[index as usize].id;
            let no_key = |_| unreachable!("there is no key");
            format::write(&mut checkpoint, &state, CLUSTER, id, raft, no_key).unwrap();
            (id, Bytes::from(checkpoint))
        });
        Self { entries: log, applied: 0, purged }
    }
}

impl Source for Node {
    type Error = NoAnswer;

    fn entries(
        &mut self,
        from: u64,
        to: Option<u64>,
        must: bool,
    ) -> Result<Result<Piece, LogId>, NoAnswer> {
        if let Some((purged, _)) = self.purged.as_ref().filter(|(id, _)| from <= id.index) {
            return Ok(Err(*purged));
        }
        let end = (to.unwrap_or(u64::MAX).min(self.applied) + 1).min(from + 7);
        let mut frames = Vec::new();
        for index in from..end {
            let entry = &self.entries[index as usize];
            frames.extend_from_slice(&entry_head(entry));
            frames.extend_from_slice(&entry.payload);
        }
        assert!(!must || !frames.is_empty(), "nothing is asked for that is not there");
        let (applied, last_at) = (self.applied, Timestamp(self.applied));
        Ok(Ok(Piece { frames: frames.into(), applied, last: applied, last_at }))
    }

    fn checkpoint(&mut self, index: Option<u64>, from: u64) -> Result<Option<Part>, NoAnswer> {
        let Some((id, bytes)) = &self.purged else { return Ok(None) };
        assert!(index.is_none_or(|index| index == id.index));
        let (start, total) = (from as usize, bytes.len());
        let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let end = if start == 0 { first_line } else { total.min(start + 10) };
        let part = bytes.slice(start..end);
        Ok(Some(Part { index: id.index, total: total as u64, bytes: part }))
    }

    fn cluster(&mut self) -> Result<ClusterId, NoAnswer> {
        Ok(CLUSTER)
    }
}

fn back_up(node: &mut Node, disk: &SimDisk) -> Result<Manifest, BackupError<NoAnswer>> {
    let held = Held::of(&disk.files())?;
    run(node, &mut InDirectory::new(disk.files()), held, SEGMENT_BYTES, |_, _| ())
}

/// The newest change that is restored; nothing when no backup was ever complete.
fn restored(disk: &SimDisk) -> Option<ChangeId> {
    let to = SimDisk::new(1);
    let request = Request { cluster: None, until: None };
    match restore(&disk.files(), &to.files(), request) {
        Ok(restored) => Some(restored.last),
        Err(RestoreError::Incomplete | RestoreError::Manifest(ManifestError::Missing)) => None,
        Err(error) => panic!("what is there is sound: {error}"),
    }
}

/// Some lives of a backup, each cut at any step.
fn lives(seed: u64, purged: Option<u64>) {
    executor::run(seed, async {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = SimDisk::new(seed);
        let mut node = Node::new(120, purged);
        node.applied = purged.unwrap_or(0);
        let mut durable = None;
        for life in 0..6 {
            if life < 5 {
                disk.cut_power_after(rng.random_range(0..STEPS_MAX));
            }
            let mut failed = false;
            while node.applied < 119 {
                node.applied = (node.applied + rng.random_range(0..30)).min(119);
                match back_up(&mut node, &disk) {
                    Ok(manifest) => durable = Some(ChangeId(manifest.last)),
                    Err(error) => {
                        assert!(!matches!(error, BackupError::OtherHistory(_)), "{error}");
                        failed = true;
                        break;
                    }
                }
            }
            assert!(!failed || life < 5, "with power, all of it is there");
            disk = disk.crash(Loss::Random);
            let found = restored(&disk);
            assert!(found >= durable, "change {found:?} is there, {durable:?} was durable");
            assert!(found <= Some(ChangeId(node.applied)), "{found:?} was never applied");
            durable = found;
        }
        back_up(&mut node, &disk).expect("it goes on");
        assert_eq!(restored(&disk), Some(ChangeId(node.applied)));
    });
}

#[test]
fn a_backup_goes_on_whenever_the_power_went() {
    (0..150).for_each(|seed| lives(seed, None));
}

#[test]
fn a_backup_with_a_checkpoint_goes_on_whenever_the_power_went() {
    (0..150).for_each(|seed| lives(seed, Some(20)));
}

/// The last entry of what a restore made, if it is something that a node starts on.
fn made(disk: &SimDisk) -> Option<u64> {
    if is_one(&disk.files()).unwrap() {
        return None;
    }
    let files = disk.snapshot();
    let (mut contents, mut sequence) = (Contents::default(), 1);
    while let Some(bytes) = files.get(&log::file_name(sequence)) {
        contents.segment(sequence, &Bytes::from(bytes.clone())).expect("what is there is sound");
        sequence += 1;
    }
    // Those after a gap are no log.
    contents.last().map(|id| id.index)
}

#[test]
fn a_restore_is_complete_or_nothing_whenever_the_power_went() {
    let mut ended = [0, 0];
    for seed in 0..200 {
        let complete = executor::run(seed, async {
            let purged = (seed % 2 == 0).then_some(30);
            let mut node = Node::new(120, purged);
            node.applied = 119;
            let backup = SimDisk::new(seed);
            back_up(&mut node, &backup).unwrap();
            let to = SimDisk::new(seed);
            to.cut_power_after(seed % 150);
            let request = Request { cluster: Some(CLUSTER), until: None };
            let outcome = restore_in(&backup.files(), &to.files(), request, SEGMENT_BYTES);
            let found = made(&to.crash(Loss::Random));
            // The entry that makes the node the only member is the last.
            match outcome {
                Ok(_) => assert_eq!(found, Some(120)),
                Err(_) => assert!(matches!(found, None | Some(120)), "{found:?} of 120"),
            }
            outcome.is_ok()
        });
        ended[usize::from(complete)] += 1;
    }
    assert!(ended.iter().all(|count| *count > 20), "interrupted and not: {ended:?}");
}

/// Bugs that are planted, and what shows them.
mod planted {
    use super::*;

    #[test]
    fn skip_backup_sync() {
        let damaged = ["what is there is sound", "it goes on", "with power"];
        prove(Bug::SkipBackupSync, 0..20, &damaged, |seed| lives(seed, None));
    }

    #[test]
    fn skip_backup_directory_sync() {
        let gone = ["was durable", "what is there is sound", "with power"];
        prove(Bug::SkipBackupDirectorySync, 0..50, &gone, |seed| lives(seed, None));
    }
}
