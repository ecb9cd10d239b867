//! A snapshot takes the place of another node's log although the power goes at any step of taking
//! it in and of installing it: that node has its own log or that of the snapshot, and its vote.

use std::{io, rc::Rc};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Replay, StateMachine, TypeConfig,
    fold_tests::{CLUSTER, Outcome, What, entry, open_as, outcome},
    indexer,
    types::to_log,
};
use crate::{
    base::planted::{Bug, prove},
    feed::Fanout,
    io::{
        Disk, Files, cores,
        simulated::{
            disk::{Loss, SimDisk, SimFiles},
            executor,
        },
    },
    log::{Identity, Log, Vote},
    snapshot::{self, Manifest, Staging, Wanted},
};
use bytes::Bytes;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};

/// Steps of an operation on the disk that a power cut may come before.
const STEPS_MAX: u64 = 120;
const OWN: Identity = Identity { cluster: CLUSTER, node: 2 };
const VOTE: Vote = Vote { term: 99, node: 2, committed: false };
const PART_BYTES: usize = 9_000;

/// A node with these entries, all applied.
pub(super) async fn filled(disk: &SimDisk, node: u64, all: &[What]) -> StateMachine<SimDisk> {
    let (log, replay) = open_as(disk, node).await;
    let mut machine = StateMachine::new(log, replay, Fanout::new(1));
    drop(cores::spawn(indexer::run(machine.clone())));
    apply(&mut machine, 0, all).await;
    machine
}

/// Goes on with these entries, the first of which is at index `first`: until all are applied, and the
/// complete segments have an index.
pub(super) async fn apply(machine: &mut StateMachine<SimDisk>, first: u64, all: &[What]) {
    let log = machine.log().clone();
    for (index, what) in (first..).zip(all) {
        log.append([to_log(entry(index, what)).unwrap()], |_| ()).unwrap();
        log.durable(index).await.unwrap();
        log.set_committed(log.last().unwrap());
        let entries = futures_util::stream::iter([Ok((entry(index, what), None))]);
        RaftStateMachine::<TypeConfig>::apply(machine, entries).await.unwrap();
    }
    log.flush_marks().await.unwrap();
    let none = futures_util::stream::empty();
    RaftStateMachine::<TypeConfig>::apply(machine, none).await.unwrap();
    while machine.next_complete().is_some() || machine.indexing().is_writing() {
        cores::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// What a disk gives at a start.
pub(super) async fn found(disk: &SimDisk, node: u64) -> (Log<SimDisk>, Outcome) {
    let (log, mut replay): (_, Replay<SimFiles>) = open_as(disk, node).await;
    let history = replay.finish().history();
    let outcome = outcome(replay.fold(), &history);
    (log, outcome)
}

/// Takes a snapshot in, and marks it as what the next start goes on from; counts the bytes that it
/// was sent.
async fn take_in(disk: &SimDisk, from: &SimDisk, of: &Manifest, sent: &mut u64) -> io::Result<()> {
    let staging: Rc<Staging<SimFiles>> = Staging::new(disk.files(), OWN);
    let (id, mut wanted) = staging.begin(of.clone()).await?;
    while let Some(file) = of.files.get(wanted.file as usize) {
        let bytes = from.files().read(&file.kind.name()).unwrap();
        let start = wanted.offset as usize;
        let part = &bytes[start..bytes.len().min(start + PART_BYTES)];
        *sent += part.len() as u64;
        let before: Wanted = wanted;
        wanted = staging.part(id, wanted, Bytes::copy_from_slice(part)).await?;
        assert_ne!(wanted, before, "what was sent is not wanted again");
    }
    staging.end(id).await?;
    staging.install(id).await
}

/// A node with segments, and what it holds for others, if they are complete.
async fn sender(seed: u64) -> Option<(SimDisk, Vec<What>, Manifest)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let batch = crate::state::testing::batch(300, b'}');
    let all: Vec<What> = (0..rng.random_range(20..60))
        .map(|n| match n % 7 {
            0 => What::Members(n / 7),
            1 => What::Blank,
            _ => What::Batch(batch.clone()),
        })
        .collect();
    let disk = SimDisk::new(seed);
    let mut machine = filled(&disk, 1, &all).await;
    let built = RaftSnapshotBuilder::build_snapshot(&mut machine).await.unwrap();
    let (manifest, _) = Manifest::of(&disk.files(), &*built.snapshot.held?).unwrap();
    Some((disk, all, manifest))
}

#[test]
fn a_complete_file_that_rotted_before_a_start_is_sent_anew() {
    let tried = (0..50).any(|seed| {
        executor::run(seed, async move {
            let Some((from, _, manifest)) = sender(seed).await else { return false };
            let disk = SimDisk::new(seed + 2);
            let staging: Rc<Staging<SimFiles>> = Staging::new(disk.files(), OWN);
            let (id, mut wanted) = staging.begin(manifest.clone()).await.unwrap();
            let first = manifest.files[0];
            let bytes = Bytes::from(from.files().read(&first.kind.name()).unwrap());
            while wanted.file == 0 {
                let start = wanted.offset as usize;
                let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
                wanted = staging.part(id, wanted, part).await.unwrap();
            }
            let next = Wanted { file: 1, offset: 0 };
            assert_eq!(staging.begin(manifest.clone()).await.unwrap().1, next);
            let name = first.kind.name() + ".staged";
            let sound = disk.files().read(&name).unwrap();
            let again = || Staging::new(disk.files(), OWN);
            assert_eq!(again().begin(manifest.clone()).await.unwrap().1, next);
            let mut rotten = sound.clone();
            rotten[sound.len() / 2] ^= 4;
            disk.put(&name, rotten);
            let wanted = again().begin(manifest.clone()).await.unwrap().1;
            assert_eq!(wanted, Wanted { file: 0, offset: 0 });
            true
        })
    });
    assert!(tried);
}

/// Some lives of a node that takes a snapshot in; whether there was one.
fn lives(seed: u64) -> bool {
    executor::run(seed, async move {
        let mut rng = StdRng::seed_from_u64(seed);
        let Some((from, all, manifest)) = sender(seed).await else { return false };
        let last = manifest.last;
        let plain = SimDisk::new(seed + 1);
        filled(&plain, 3, &all[..=last.index as usize]).await;
        let (_, wanted) = found(&plain, 3).await;

        let mut disk = SimDisk::new(seed + 2);
        let own = rng.random_range(0..5).min(last.index as usize);
        filled(&disk, OWN.node, &all[..own]).await.log().save_vote(VOTE).await.unwrap();
        disk = disk.crash(Loss::Random);
        let (mut is_marked, mut sent, mut is_torn) = (false, 0, false);
        for life in 0.. {
            let is_cut = life < 8 && rng.random_ratio(4, 5);
            if is_cut {
                // Of a file that was on its way then, less may be there than it is long.
                is_torn = true;
                disk.cut_power_after(rng.random_range(0..STEPS_MAX));
            }
            let outcome = async {
                snapshot::finish(&disk.files()).map_err(io::Error::other)?;
                if is_marked {
                    return Ok::<_, io::Error>(true);
                }
                take_in(&disk, &from, &manifest, &mut sent).await?;
                is_marked = true;
                snapshot::finish(&disk.files()).map_err(io::Error::other)
            };
            let outcome = outcome.await;
            disk = disk.crash(Loss::Random);
            if snapshot::install::is_interrupted(&disk.files()).unwrap() {
                assert!(is_marked || is_cut, "nothing is marked before all is there");
                is_marked = true;
                assert!(is_cut, "{outcome:?}");
                continue;
            }
            let (log, state) = found(&disk.copy(seed + 3), OWN.node).await;
            assert_eq!(log.vote(), Some(VOTE), "what was voted stands");
            assert_eq!(log.identity(), OWN);
            if log.last() == Some(last) {
                assert_eq!(state, wanted);
                assert!(outcome.is_ok() || is_cut, "{outcome:?}");
                let whole = manifest.bytes();
                assert!(sent >= whole && sent < 4 * whole, "{sent} bytes were sent of {whole}");
                return true;
            }
            assert!(!is_marked, "what was marked is installed");
            assert!(is_cut || is_torn, "{outcome:?}");
            is_torn = is_cut;
        }
        unreachable!("a life without a cut ends it")
    })
}

#[test]
fn a_snapshot_is_installed_or_not_whenever_the_power_goes() {
    let installed = (0..60).filter(|seed| lives(*seed)).count();
    assert!(installed > 40, "{installed}");
}

/// A file that is damaged where it comes from is not taken over, and sent anew.
fn damaged(seed: u64) {
    executor::run(seed, async move {
        let Some((from, _, manifest)) = sender(seed).await else { return };
        let mut rng = StdRng::seed_from_u64(seed);
        let file = manifest.files[rng.random_range(0..manifest.files.len())];
        let rotten = from.copy(seed + 1);
        let mut bytes = from.files().read(&file.kind.name()).unwrap();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        rotten.put(&file.kind.name(), bytes);
        let disk = SimDisk::new(seed + 2);
        drop(open_as(&disk, OWN.node).await);
        let mut sent = 0;
        let taken = take_in(&disk, &rotten, &manifest, &mut sent).await;
        assert!(taken.is_err(), "byte {at} of {file:?} is another");
        assert!(!snapshot::install::is_interrupted(&disk.files()).unwrap());
        take_in(&disk, &from, &manifest, &mut sent).await.unwrap();
    });
}

#[test]
fn damage_is_not_taken_over() {
    (0..100).for_each(damaged);
}

/// Bugs that are planted, and what shows them.
mod planted {
    use super::*;

    /// A start that finds something else than was marked.
    const UNSOUND: [&str; 4] =
        ["called `Result::unwrap()`", "what was marked", "missing", "not sound"];

    #[test]
    fn forget_vote_at_install() {
        prove(Bug::ForgetVoteAtInstall, 0..5, &["what was voted stands"], |seed| {
            lives(seed);
        });
    }

    #[test]
    fn skip_snapshot_sync() {
        prove(Bug::SkipSnapshotSync, 0..50, &UNSOUND, |seed| {
            lives(seed);
        });
    }

    #[test]
    fn trust_snapshot_file() {
        prove(Bug::TrustSnapshotFile, 0..20, &["is another"], damaged);
    }
}
