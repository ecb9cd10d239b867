//! Erasing on a disk whose power goes at each step: what a node does not wait to erase any more is in
//! none of its files, readers do not go on with what it was, and everything else is as it was.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use openraft::storage::RaftSnapshotBuilder;
use uuid::Uuid;

use super::{
    StateMachine,
    compact::{Compacted, compact},
    erasure,
    fold_tests::{CLUSTER, FILLING, Outcome, What, deliver, open_as},
    indexer,
    segment_index::opened,
    snapshot_tests::{filled, found},
};
use crate::{
    base::{
        batch::Action,
        ids::{ChangeId, LogId},
        planted::{Bug, prove},
    },
    checkpoint::store,
    feed::{Fanout, Mailbox},
    io::{
        Disk, FileInfo, FileName, Files, cores,
        map::Mapping,
        simulated::{
            disk::{Loss, SimDisk, SimFiles},
            executor::run,
            power::cut_at_each_step,
        },
    },
    snapshot::{
        Manifest,
        manifest::{FileEntry, Kind},
    },
    state::{
        History, Located,
        index::ListKey,
        testing::{ChangeText, append_all, batch_of, create_collection, create_tenant},
    },
};

pub(super) const NODE: u64 = 1;
const SECRET: &str = r#""a secret that is to be gone""#;
const TAG: &str = "hidden";
/// The entries with the secret: two of the first segment, and of later ones.
const SECRETS: [u64; 4] = [3, 4, 18, 33];
/// The entry that says that they are redacted.
const REDACTION: u64 = 40;
const ENTRIES: u64 = 60;
/// More than all of it takes.
const LONG: Duration = Duration::from_secs(3600);

/// The change with a key that an entry adds; it adds another one besides.
fn change(entry: u64) -> ChangeId {
    ChangeId(2 * (entry - 2) + 1)
}

/// A history in which the secret was redacted, or is to stay.
pub(super) fn entries(is_redacted: bool) -> Vec<What> {
    let (tenant, shelf) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let made = [create_tenant(tenant, "t"), create_collection(tenant, shelf, "c")];
    let mut all = vec![What::Members(NODE), What::Batch(batch_of(&made, 1))];
    all.extend((2..ENTRIES).map(|n| {
        let key = n.to_string();
        let plain = ChangeText::of(tenant, Some(shelf), Some(&key));
        let hidden = ChangeText { data: Some(SECRET), ..plain }.tagged(&[TAG]);
        let text = if SECRETS.contains(&n) { hidden } else { plain };
        let mut commands = vec![append_all(&[text, ChangeText::plain(FILLING)]).into()];
        if n == REDACTION && is_redacted {
            let redact = |entry: &u64| Action::Redact(change(*entry)).into();
            commands.extend(SECRETS.iter().map(redact));
        }
        What::Batch(batch_of(&commands, n))
    }));
    all
}

/// The checkpoint of the first segment.
fn first_segment(machine: &StateMachine<SimDisk>) -> Compacted {
    compact(&machine.log().files(), CLUSTER, 1..=1, None).unwrap().expect("something is in it")
}

async fn purge(machine: &StateMachine<SimDisk>, upto: &Compacted) {
    machine.purge(upto);
    machine.log().purge(upto.log_id).await.unwrap();
}

/// A node that erases, and what a core of it reads.
pub(super) struct Node {
    pub(super) machine: StateMachine<SimDisk>,
    mailbox: Arc<Mailbox>,
    history: History,
}

impl Node {
    pub(super) async fn start(disk: &SimDisk) -> Self {
        let (log, mut replay) = open_as(disk, NODE).await;
        let fanout = Fanout::new(1);
        let (mailbox, history) = (fanout.mailbox(0), replay.finish().history());
        let machine = StateMachine::new(log, replay, fanout);
        drop(cores::spawn(indexer::run(machine.clone())));
        drop(cores::spawn(erasure::run(machine.clone())));
        Self { machine, mailbox, history }
    }

    /// Waits until nothing is to be erased any more; whether that came before the power went.
    pub(super) async fn erases(&mut self, disk: &SimDisk) -> bool {
        let redactions = self.machine.index();
        let erased = async {
            while redactions.redactions.waiting_count() > 0 {
                cores::sleep(Duration::from_millis(100)).await;
            }
        };
        let (erased, died) = (pin!(erased), pin!(disk.died()));
        let first = cores::within(LONG, select(erased, died)).await.expect("it comes to an end");
        deliver(&self.mailbox, &mut self.history);
        matches!(first, Either::Left(_))
    }

    /// The entry that its checkpoint goes up to, and the name of that.
    pub(super) fn checkpoint(&self) -> (LogId, String) {
        let id = self.machine.checkpoint_id().expect("there is a checkpoint");
        (id, store::file_name(id.index))
    }

    /// What readers are given is not what it was.
    fn check_readers(&self) {
        for id in SECRETS.map(change) {
            let is_gone = match self.history.locate(id) {
                Some(Located::Sealed(segment)) => {
                    let batch = segment.find_on_disk(id).unwrap();
                    segment.batch(&batch).unwrap().change(id).is_redacted()
                }
                Some(Located::Checkpointed(held, _)) => !holds_secret(held.change(id).unwrap()),
                _ => panic!("{id} is in no file"),
            };
            assert!(is_gone, "readers go on with {id} as it was");
        }
    }
}

/// Whether the index of a segment says which of its changes bear the tag.
fn is_tagged(machine: &StateMachine<SimDisk>) -> bool {
    let tag = ListKey::tag(format!("\"{TAG}\"").as_bytes());
    machine.ended().0.iter().any(|end| {
        let index = opened(&machine.log().files(), end.sequence).unwrap();
        let lists = index.segment.unwrap().lists().all().unwrap();
        lists.iter().any(|(key, _)| *key == tag)
    })
}

pub(super) fn holds_secret(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(SECRET)
}

/// The files that hold the secret.
fn secret(disk: &SimDisk) -> Vec<String> {
    let files = disk.snapshot().into_iter().filter(|(_, bytes)| holds_secret(bytes));
    files.map(|(name, _)| name).collect()
}

fn check_gone(disk: &SimDisk) {
    let left = secret(disk);
    assert!(left.is_empty(), "it counts as erased, and is in {left:?}");
}

/// A node with the secret in a checkpoint and in segments; its disk, and what it amounts to.
pub(super) async fn with_secret(seed: u64) -> (SimDisk, Outcome) {
    let disk = SimDisk::new(seed);
    let machine = filled(&disk, NODE, &entries(true)).await;
    assert!(is_tagged(&machine));
    purge(&machine, &first_segment(&machine)).await;
    let disk = disk.kill();
    assert_eq!(secret(&disk).len(), 3, "a checkpoint, and two segments");
    let (_, outcome) = found(&disk.copy(seed), NODE).await;
    (disk, outcome)
}

/// The same node, and it has erased the secret.
pub(super) async fn erased(seed: u64) -> (SimDisk, Outcome, Node) {
    let (disk, outcome) = with_secret(seed).await;
    let mut node = Node::start(&disk).await;
    assert!(node.erases(&disk).await);
    (disk, outcome, node)
}

/// The power goes after so many steps of a node that erases; whether it went.
async fn cut(disk: SimDisk, outcome: &Outcome, steps: u64) -> bool {
    let mut node = Node::start(&disk).await;
    disk.cut_power_after(steps);
    let is_erased = node.erases(&disk).await;
    let disk = disk.crash(Loss::Random);
    if is_erased {
        check_gone(&disk);
    }
    let mut node = Node::start(&disk).await;
    assert!(node.erases(&disk).await, "no power goes");
    check_gone(&disk);
    node.check_readers();
    assert!(!is_tagged(&node.machine), "an index names the tag");
    let disk = disk.crash(Loss::All);
    check_gone(&disk);
    assert_eq!(found(&disk, NODE).await.1, *outcome);
    !is_erased
}

fn cuts(seed: u64) {
    let (disk, outcome) = run(seed, with_secret(seed));
    cut_at_each_step(seed, 30, |steps, seed| cut(disk.copy(seed), &outcome, steps));
}

#[test]
fn what_counts_as_erased_is_gone_whenever_the_power_goes() {
    (0..2).for_each(|n| cuts(n * 1000));
}

/// A checkpoint is made while a segment that it stands for is not erased yet, and takes its place
/// once it is.
fn overtaken(seed: u64) {
    run(seed, async move {
        let disk = SimDisk::new(seed);
        drop(filled(&disk, NODE, &entries(true)).await);
        let disk = disk.kill();
        let mut node = Node::start(&disk).await;
        let compacted = first_segment(&node.machine);
        assert!(node.erases(&disk).await);
        assert_eq!(secret(&disk), std::slice::from_ref(&compacted.file.name));
        purge(&node.machine, &compacted).await;
        assert!(node.erases(&disk).await);
        check_gone(&disk);
    });
}

#[test]
fn a_checkpoint_made_of_what_was_erased_only_then_is_erased_too() {
    overtaken(1);
}

/// Whoever copies the checkpoint of a node that erases.
fn copied(seed: u64) {
    run(seed, async move {
        let (disk, _) = with_secret(seed).await;
        let mut node = Node::start(&disk).await;
        let holds = |machine: &StateMachine<SimDisk>| {
            let (_, map) = machine.checkpoint().unwrap();
            holds_secret(map.get(0..map.len()).unwrap())
        };
        assert!(holds(&node.machine), "it is not erased yet");
        let is_refused = node.machine.awaits_erasure_of_checkpoint();
        assert!(is_refused, "a checkpoint is given with what is redacted");
        assert!(node.erases(&disk).await);
        assert!(!holds(&node.machine) && !node.machine.awaits_erasure_of_checkpoint());
    });
}

#[test]
fn a_checkpoint_is_not_copied_before_it_is_erased() {
    copied(3);
}

/// The files of a node that erases meanwhile: each that is opened is as it is then.
#[derive(Clone)]
struct Changing {
    /// Before, with the segments written anew, and with their indexes too.
    states: [SimFiles; 3],
    /// How many files are opened before each change.
    changes: [usize; 2],
    opened: Arc<AtomicUsize>,
}

impl Changing {
    fn now(&self) -> &SimFiles {
        let opened = self.opened.load(Ordering::Relaxed);
        &self.states[self.changes.iter().filter(|change| **change <= opened).count()]
    }
}

impl Files for Changing {
    type Output = <SimFiles as Files>::Output;

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.now().list()
    }

    fn read(&self, name: &FileName) -> io::Result<Vec<u8>> {
        self.now().read(name)
    }

    fn map(&self, name: &FileName) -> io::Result<Mapping> {
        let map = self.now().map(name);
        self.opened.fetch_add(1, Ordering::Relaxed);
        map
    }

    fn create(&self, _: &FileName) -> io::Result<Self::Output> {
        unreachable!("nothing is written")
    }

    fn write_from(&self, _: &FileName, _: u64) -> io::Result<Self::Output> {
        unreachable!("nothing is written")
    }

    fn rename(&self, _: &FileName, _: &FileName) -> io::Result<()> {
        unreachable!("nothing is renamed")
    }

    fn remove(&self, _: &FileName) -> io::Result<()> {
        unreachable!("nothing is removed")
    }

    fn sync_directory(&self) -> io::Result<()> {
        unreachable!("nothing is written")
    }
}

/// A snapshot is begun while its segments are erased: no index in it says of more that it is gone
/// than is gone from the segment with it, or whoever takes it in would never erase that.
fn sent_meanwhile(seed: u64) {
    run(seed, async move {
        let before = SimDisk::new(seed);
        let mut machine = filled(&before, NODE, &entries(true)).await;
        let built = RaftSnapshotBuilder::build_snapshot(&mut machine).await.unwrap();
        let held = built.snapshot.held.expect("segments are complete");
        let before = before.kill();
        let after = before.copy(seed);
        assert!(Node::start(&after).await.erases(&after).await);
        let between = before.copy(seed);
        let (old, new) = (before.snapshot(), after.snapshot());
        for (name, bytes) in new.iter().filter(|(name, _)| name.ends_with(".seg")) {
            between.put(name, bytes.clone());
        }
        let states = [before.files(), between.files(), after.files()];
        let count = Manifest::of(&states[0], &held).unwrap().1.len();
        let mut mixed = 0;
        for first in 0..=count {
            for second in first..=count {
                let (states, opened) = (states.clone(), Arc::default());
                let changing = Changing { states, changes: [first, second], opened };
                let (manifest, maps) = Manifest::of(&changing, &held).unwrap();
                let is_new = |(file, map): (&FileEntry, &Arc<Mapping>)| {
                    let name = file.kind.name();
                    old[&name] != new[&name] && map.get(0..map.len()).unwrap() == new[&name]
                };
                let are_new: Vec<bool> = manifest.files.iter().zip(&maps).map(is_new).collect();
                let pairs = manifest.files.iter().zip(are_new.windows(2));
                for (file, pair) in pairs {
                    if matches!(file.kind, Kind::Segment { .. }) {
                        assert!(pair[0] || !pair[1], "{file:?} is older than its index");
                        mixed += usize::from(pair[0] && !pair[1]);
                    }
                }
            }
        }
        assert!(mixed > 0, "some segments are newer than their indexes");
    });
}

#[test]
fn a_snapshot_says_of_nothing_that_it_is_gone_before_it_is() {
    sent_meanwhile(4);
}

/// A checkpoint of another node stands for a part of a segment, of which nobody here knows what was
/// redacted.
fn purged_in_part(seed: u64) {
    run(seed, async move {
        let disk = SimDisk::new(seed);
        let machine = filled(&disk, NODE, &entries(false)).await;
        let log = machine.log().clone();
        let held = secret(&disk);
        let upto = log.read(SECRETS[2], SECRETS[2] + 1, usize::MAX).await.unwrap()[0].id;
        log.purge(upto).await.unwrap();
        assert_eq!(secret(&disk), held[1..], "what is purged wholly is gone");
        drop(cores::spawn(erasure::run(machine)));
        let gone = async {
            while secret(&disk).len() == held[1..].len() {
                cores::sleep(Duration::from_secs(1)).await;
            }
        };
        assert!(cores::within(LONG, gone).await.is_some(), "what is purged stays in the segment");
        assert_eq!(secret(&disk), held[2..], "what is not purged stays");
    });
}

#[test]
fn what_is_purged_in_the_middle_of_a_segment_is_erased() {
    purged_in_part(2);
}

mod planted {
    use super::*;

    /// What is said of what is in a file after all.
    const LEFT: &str = "it counts as erased, and is in";

    fn by_cuts(bug: Bug, words: &str) {
        prove(bug, 0..3, &[words], |seed| cuts(seed * 1000));
    }

    #[test]
    fn index_before_erased() {
        by_cuts(Bug::IndexBeforeErased, LEFT);
    }

    #[test]
    fn erase_untold() {
        by_cuts(Bug::EraseUntold, "readers go on with");
    }

    #[test]
    fn keep_in_checkpoint() {
        by_cuts(Bug::KeepInCheckpoint, LEFT);
    }

    #[test]
    fn keep_erased_tags() {
        by_cuts(Bug::KeepErasedTags, "an index names the tag");
    }

    #[test]
    fn forget_to_look_again() {
        prove(Bug::ForgetToLookAgain, 1..2, &[LEFT], overtaken);
    }

    #[test]
    fn send_before_erased() {
        prove(Bug::SendBeforeErased, 4..5, &["is older than its index"], sent_meanwhile);
    }

    #[test]
    fn copy_redacted_checkpoint() {
        let words = ["a checkpoint is given with what is redacted"];
        prove(Bug::CopyRedactedCheckpoint, 3..4, &words, copied);
    }

    #[test]
    fn keep_purged_in_segment() {
        prove(Bug::KeepPurgedInSegment, 2..3, &["stays in the segment"], purged_in_part);
    }
}
