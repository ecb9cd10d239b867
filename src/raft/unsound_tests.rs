//! Files that are damaged or missing under a node that runs: a segment is put together again without
//! what was erased of it; a checkpoint that is missing is not taken for none, and comes back whole,
//! whenever the power goes.

use bytes::Bytes;

use super::{
    compact::compact,
    erasure_tests::{NODE, Node, entries, erased, holds_secret},
    fetched_tests::given,
    fold_tests::CLUSTER,
    healing::{self, Healed},
    snapshot_tests::{filled, found},
    unsound::Unsound,
    whole_state,
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        Disk,
        simulated::{
            disk::{Loss, SimDisk},
            executor::run,
            power::cut_at_each_step,
        },
    },
    log::{self, Entry, Frame, decode_frame, frame_range},
};

/// All of a segment rots of which something was erased, and another member, which has not erased it yet,
/// gives its entries.
fn put_together(seed: u64) {
    run(seed, async move {
        let disk = SimDisk::new(seed);
        drop(filled(&disk, NODE, &entries(true)).await);
        let disk = disk.kill();
        let (_, outcome) = found(&disk.copy(seed), NODE).await;
        let is_segment = |name: &str| log::number(name, log::SUFFIX).filter(|n| *n > 1);
        let mut segments = disk.snapshot().into_iter();
        let secret = segments.find_map(|(name, bytes)| {
            Some((is_segment(&name).filter(|_| holds_secret(&bytes))?, Bytes::from(bytes)))
        });
        let (sequence, of_other) = secret.expect("a later segment has a secret");
        let mut node = Node::start(&disk).await;
        assert!(node.erases(&disk).await);
        let name = log::file_name(sequence);
        assert!(!holds_secret(&disk.snapshot()[&name]));
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        let files = disk.files();
        let nothing = [None, None];
        let mut looked_at = Unsound::look(&files, sequence, Some(sequence - 1), &nothing).unwrap();
        assert!(looked_at.entries.len() > 3, "each entry is damaged");
        for (id, place) in std::mem::take(&mut looked_at.entries) {
            let frame = decode_frame(&of_other, frame_range(place).start);
            let Some((Frame::Entry(entry, _), _)) = frame else { panic!("entry {id} is there") };
            assert!(!looked_at.put(place, &Entry { payload: Bytes::new(), ..entry.clone() }));
            assert!(looked_at.put(place, &entry));
        }
        let bytes = looked_at.sound(&files).unwrap().bytes;
        assert!(!holds_secret(&bytes), "what was erased is back");
        assert!(!disk.snapshot().contains_key("mend.tmp"));
        disk.put(&name, bytes.into());
        assert_eq!(found(&disk, NODE).await.1, outcome);
    });
}

#[test]
fn what_was_erased_is_not_brought_back_by_another_member() {
    put_together(1);
}

/// The checkpoint goes while a node runs on it, and comes back.
fn without_checkpoint(seed: u64) {
    run(seed, async move {
        let (disk, _, node) = erased(seed).await;
        let (machine, files) = (&node.machine, disk.files());
        let (id, name) = node.checkpoint();
        let purged = Some(id);
        let whole = disk.snapshot()[&name].clone();
        let last = machine.ended().0.last().expect("segments are complete").sequence;
        disk.take(&name);
        let written = whole_state::write(&files, last, purged);
        assert!(written.is_err(), "a state lacks what was in the checkpoint that is gone");
        let compacted = compact(&files, CLUSTER, 1..=last, purged).map(drop);
        assert!(compacted.is_err(), "a checkpoint lacks what was in the one that is gone");
        assert_eq!(healing::checkpoint(machine, &name, Vec::new()).await.unwrap(), Healed::Anew);
        assert_eq!(disk.snapshot()[&name], whole);
        whole_state::write(&files, last, purged).unwrap();
        assert!(compact(&files, CLUSTER, 1..=last, purged).unwrap().is_some());
        assert_eq!(healing::checkpoint(machine, &name, Vec::new()).await.unwrap(), Healed::Anew);
        assert_eq!(
            healing::checkpoint(machine, "1.checkpoint", Vec::new()).await.unwrap(),
            Healed::Gone
        );
    });
}

#[test]
fn a_checkpoint_that_is_missing_is_not_taken_for_none() {
    without_checkpoint(1);
}

/// A segment goes while a node runs on it, and its indexes are there.
fn without_segment(seed: u64) {
    run(seed, async move {
        let (disk, _, node) = erased(seed).await;
        let (machine, files) = (&node.machine, disk.files());
        let purged = machine.checkpoint_id();
        let ended: Vec<u64> = machine.ended().0.iter().map(|end| end.sequence).collect();
        let (&first, &last) = (ended.first().unwrap(), ended.last().unwrap());
        assert!(last > first + 1, "there is one between them");
        // What a state is gone on from must not hide it.
        let states = disk.snapshot().into_keys().filter(|name| name.ends_with(".state"));
        states.for_each(|name| disk.take(&name));
        for gone in [first, first + 1, last] {
            let name = log::file_name(gone);
            let bytes = disk.snapshot()[&name].clone();
            disk.take(&name);
            let written = whole_state::write(&files, last, purged);
            assert!(written.is_err(), "a state lacks what was in segment {gone}, which is gone");
            let compacted = compact(&files, CLUSTER, first..=last, purged).map(drop);
            assert!(compacted.is_err(), "a checkpoint lacks what was in segment {gone}");
            let next = machine.log().entries_in(gone + 1).expect("there is one after it").0;
            let given = given(machine, machine.log().id(next).unwrap()).await;
            assert!(given.is_err(), "what another member is given lacks what was in {gone}");
            let upto = whole_state::upto(&files, gone, purged).map(drop);
            assert!(upto.is_err(), "the state after segment {gone} lacks what was in it");
            let after = healing::index(machine, gone + 1).await;
            assert!(gone == last || after.is_err(), "the index after {gone} lacks what was in it");
            disk.put(&name, bytes);
        }
        whole_state::write(&files, last, purged).unwrap();
        // Nor does a state from before hide it.
        let name = log::file_name(first + 1);
        disk.take(&name);
        let compacted = compact(&files, CLUSTER, first..=last, purged).map(drop);
        assert!(compacted.is_err(), "a checkpoint lacks what was in segment {name}");
    });
}

#[test]
fn a_segment_that_is_missing_is_not_passed_over() {
    without_segment(1);
}

/// The power goes after so many steps of making a checkpoint anew; whether it went.
async fn cut(steps: u64, seed: u64) -> bool {
    let (disk, outcome, node) = erased(seed).await;
    let (_, name) = node.checkpoint();
    let whole = disk.snapshot()[&name].clone();
    disk.take(&name);
    disk.cut_power_after(steps);
    let healed = healing::checkpoint(&node.machine, &name, Vec::new()).await;
    let (is_done, was_cut) = (healed.is_ok(), healed.is_err());
    let disk = disk.crash(Loss::Random);
    match disk.snapshot().get(&name) {
        Some(found) => assert!(*found == whole, "it is neither missing nor whole"),
        None => assert!(!is_done, "it was durable, and is gone"),
    }
    if is_done {
        assert_eq!(found(&disk, NODE).await.1, outcome);
    }
    was_cut
}

fn cuts(seed: u64) {
    cut_at_each_step(seed, 3, cut);
}

#[test]
fn a_checkpoint_that_is_made_anew_is_whole_whenever_the_power_goes() {
    (0..3).for_each(|n| cuts(n * 1000));
}

mod planted {
    use super::*;

    #[test]
    fn keep_redacted_of_member() {
        prove(Bug::KeepRedactedOfMember, 1..2, &["what was erased is back"], put_together);
    }

    #[test]
    fn go_on_without_checkpoint() {
        let words = ["lacks what was in"];
        prove(Bug::GoOnWithoutCheckpoint, 1..2, &words, without_checkpoint);
    }

    #[test]
    fn skip_missing_segment() {
        let words = ["lacks what was in"];
        prove(Bug::SkipMissingSegment, 1..2, &words, without_segment);
    }

    #[test]
    fn skip_replaced_checkpoint_sync() {
        let words = ["it is neither missing nor whole"];
        prove(Bug::SkipReplacedCheckpointSync, 0..20, &words, |seed| cuts(seed * 1000));
    }
}
