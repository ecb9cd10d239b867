//! A checkpoint that rotted under a node that runs comes back from another member, which has none: byte
//! for byte what it was, without what was erased here; and the next one, of a later entry, too. What is
//! not what it was is not taken.

use std::{cell::Cell, future::ready, io::Write, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::join};

use super::{
    StateMachine,
    compact::compact,
    erasure_tests::{NODE, entries, erased, holds_secret},
    fetched_checkpoint::{Wanted, fetch, install},
    fold_tests::{CLUSTER, What},
    given_checkpoint::{GivenCheckpoint, part},
    healing::{self, is_damage},
    mending_tests::member,
    peer::{Answer, Channel, Request},
    snapshot_tests::{filled, found},
};
use crate::{
    base::{
        ids::LogId,
        planted::{Bug, prove},
    },
    checkpoint::{fuzzing::sealed, store},
    io::{
        Disk, cores,
        map::Mapping,
        simulated::{disk::SimDisk, executor::run},
    },
};

const OTHER: u64 = 2;
/// More than making one takes.
const LONG: Duration = Duration::from_secs(10);

/// Another member, with other segments, without a checkpoint, and with all that was redacted in its files.
pub(super) async fn other(seed: u64) -> StateMachine<SimDisk> {
    let mut all = entries(true);
    // It is as many entries.
    all[0] = What::Members(NODE);
    filled(&SimDisk::new(seed + 1000), OTHER, &all).await
}

/// What it gives as the checkpoint of `at`.
pub(super) async fn given(machine: &StateMachine<SimDisk>, at: LogId) -> Result<Vec<u8>, String> {
    let (of, mut all) = (Rc::<GivenCheckpoint>::default(), Vec::new());
    loop {
        match part(&of, machine, at, all.len() as u64).await {
            (Answer::CheckpointPart { bytes }, part) => {
                all.extend_from_slice(&part);
                if all.len() as u64 == bytes {
                    return Ok(all);
                }
            }
            (Answer::Later, _) => cores::sleep(Duration::from_millis(10)).await,
            (answer, _) => return Err(format!("{answer:?}")),
        }
    }
}

/// A channel to `machine` as member `node`.
fn giver(node: u64, machine: StateMachine<SimDisk>) -> (u64, Channel) {
    let of = Rc::<GivenCheckpoint>::default();
    let answer = move |request| {
        let Request::Checkpoint { at, offset } = request else { panic!("{request:?}") };
        let (of, machine) = (Rc::clone(&of), machine.clone());
        async move { part(&of, &machine, at, offset).await }.boxed_local()
    };
    member(node, answer).0
}

fn mapped(disk: &SimDisk, bytes: &[u8]) -> Mapping {
    store::unnamed(&disk.files(), "fetched", |out| out.write_all(bytes)).unwrap()
}

fn wanted(machine: &StateMachine<SimDisk>, at: LogId) -> Wanted {
    let wanted = Wanted::of(machine, at).expect("it has that entry");
    assert!(wanted.rotten.is_some(), "there is a checkpoint");
    wanted
}

/// The same checkpoint, but for when its last change was made.
fn stamped_otherwise(bytes: &[u8]) -> Bytes {
    let text = std::str::from_utf8(bytes).unwrap().trim_end();
    let (lines, _) = text.rsplit_once('\n').unwrap();
    sealed(lines.replacen("\"last_at\":", "\"last_at\":1", 1).as_bytes())
}

/// The checkpoint rots, and comes back.
fn fetched(seed: u64) {
    run(seed, async move {
        let (disk, outcome, mut node) = erased(seed).await;
        let (machine, files) = (&node.machine, disk.files());
        let (at, name) = node.checkpoint();
        let whole = disk.snapshot()[&name].clone();
        assert!(!holds_secret(&whole));
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        let healed = healing::checkpoint(machine, &name, Vec::new()).await;
        assert!(is_damage(&healed.unwrap_err()), "nothing is left of it");
        let given = given(&other(seed).await, at).await.unwrap();
        assert!(holds_secret(&given), "the other member has not erased it");
        let map = mapped(&disk, &given);
        let compacted = install(&files, &map, &wanted(machine, at)).unwrap();
        machine.replace_checkpoint(at, &compacted.checkpointed);
        machine.look_again_in_checkpoint();
        let there = disk.snapshot()[&name].clone();
        assert!(!holds_secret(&there), "what was erased is back");
        assert!(there == whole, "it is another one");
        assert!(node.erases(&disk).await);
        assert_eq!(found(&disk, NODE).await.1, outcome);
    });
}

#[test]
fn a_checkpoint_that_rotted_comes_back_from_a_member_that_has_none() {
    fetched(1);
}

/// The next checkpoint is made by another member: it is what this node would have made.
fn next(seed: u64) {
    run(seed, async move {
        let (disk, _, mut node) = erased(seed).await;
        let (at, name) = node.checkpoint();
        let purged = Some(at);
        let sound = disk.copy(seed);
        let made = compact(&sound.files(), CLUSTER, 2..=2, purged).unwrap().unwrap();
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        assert!(
            compact(&disk.files(), CLUSTER, 2..=2, purged).is_err(),
            "the one before is needed"
        );
        let given = given(&other(seed).await, made.log_id).await.unwrap();
        let machine = &node.machine;
        let map = mapped(&disk, &stamped_otherwise(&given));
        let refused = install(&disk.files(), &map, &wanted(machine, made.log_id)).err().unwrap();
        assert!(refused.to_string().contains("goes another way"), "{refused}");
        assert!(!disk.snapshot().contains_key(&made.file.name), "a start would begin from it");
        let map = mapped(&disk, &given);
        let compacted = install(&disk.files(), &map, &wanted(machine, made.log_id)).unwrap();
        assert_eq!(compacted.position, made.position);
        assert!(disk.snapshot()[&made.file.name] == sound.snapshot()[&made.file.name]);
        machine.purge(&compacted);
        machine.log().purge(compacted.log_id).await.unwrap();
        assert!(node.erases(&disk).await);
    });
}

#[test]
fn the_checkpoint_after_one_that_rotted_comes_from_another_member() {
    next(1);
}

#[test]
fn two_are_fetched_at_once() {
    run(1, async {
        let members = [(3, other(1).await), (4, other(2).await)];
        let machine = &members[0].1;
        let ended = machine.ended().0;
        let at = [0, 1].map(|n| machine.log().id(ended[n].index).unwrap());
        let [first, second] = at.map(|at| given(machine, at));
        let made = [first.await.unwrap(), second.await.unwrap()];
        let [first, second] = members.map(|(node, machine)| vec![giver(node, machine)]);
        let (disk, bytes) =
            (SimDisk::new(9), |map: Mapping| map.get(0..map.len()).unwrap().to_vec());
        let files = disk.files();
        let both = join(fetch(&files, first, at[0]), fetch(&files, second, at[1]));
        let (first, second) = cores::within(LONG, both).await.expect("neither waits for the other");
        assert!([bytes(first.unwrap()), bytes(second.unwrap())] == made, "they are others");
        assert!(disk.snapshot().is_empty(), "nothing is left of them");
    });
}

#[test]
fn who_gives_another_one_or_is_not_as_far_holds_up_nobody() {
    run(1, async {
        let (machine, behind) =
            (other(1).await, filled(&SimDisk::new(7), 5, &entries(true)[..5]).await);
        let ended = machine.ended().0;
        let at = [0, 1].map(|n| machine.log().id(ended[n].index).unwrap());
        let (busy, free) = (giver(3, machine.clone()), giver(4, machine));
        let files = SimDisk::new(9).files();
        fetch(&files, vec![busy.clone()], at[0]).await.map(drop).unwrap();
        let begun = cores::now();
        let alone = fetch(&files, vec![busy.clone()], at[1]).await.err().unwrap().to_string();
        assert!(alone.contains("it gives somebody that of entry"), "{alone}");
        let members = vec![giver(5, behind), busy, free];
        fetch(&files, members, at[1]).await.map(drop).unwrap();
        assert!(cores::elapsed(begun) < Duration::from_secs(2), "{:?}", cores::elapsed(begun));
    });
}

#[test]
fn nothing_is_left_of_one_that_is_not_given() {
    run(1, async {
        let (disk, calls) = (SimDisk::new(9), Cell::new(0));
        let answer = move |_| {
            calls.set(calls.get() + 1);
            let bytes = if calls.get() < 3 { 12 } else { 13 };
            ready((Answer::CheckpointPart { bytes }, Bytes::from_static(b"part"))).boxed_local()
        };
        let (member, asked) = member(3, answer);
        let fetched = fetch(&disk.files(), vec![member], LogId { term: 1, index: 1 }).await;
        assert!(fetched.err().unwrap().to_string().contains("another one meanwhile"));
        assert_eq!(asked.get(), 3);
        assert!(disk.snapshot().is_empty());
    });
}

/// What is sound in itself and not what it was.
fn not_taken(seed: u64) {
    run(seed, async move {
        let (disk, _, node) = erased(seed).await;
        let (machine, files) = (&node.machine, disk.files());
        let (at, name) = node.checkpoint();
        let whole = disk.snapshot()[&name].clone();
        let text = String::from_utf8(whole.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (end, content) = lines.split_last().unwrap();
        assert!(end.contains("crc32c"));
        let with = |lines: &[&str]| sealed((lines.join("\n") + "\n").as_bytes());
        let install = |bytes: &[u8], asked| {
            let wanted = Wanted { at: asked, ..wanted(machine, at) };
            let outcome = install(&files, &mapped(&disk, bytes), &wanted);
            outcome.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let has = |error: String, words: &str| {
            assert!(error.contains(words), "{words} is taken: {error:?}");
            assert!(disk.snapshot()[&name] == whole, "nothing took its place");
        };
        // Another change of a key than there was.
        let mut other = content.to_vec();
        let last = other.pop().unwrap().replacen("\"key\":\"", "\"key\":\"0", 1);
        other.push(&last);
        has(install(&with(&other), at), "is not in it as it was here");
        // Without the last key.
        let keys = |by: usize| {
            let count = |head: &str| {
                let start = head.find("\"keys\":").unwrap() + 7;
                let end = start + head[start..].find('}').unwrap();
                (start..end, head[start..end].parse::<usize>().unwrap())
            };
            let (range, keys) = count(content[0]);
            let mut head = content[0].to_owned();
            head.replace_range(range, &(keys - by).to_string());
            head
        };
        let head = keys(1);
        let mut fewer = content[..content.len() - 1].to_vec();
        fewer[0] = &head;
        has(install(&with(&fewer), at), "is not in it");
        has(install(&stamped_otherwise(&whole), at), "goes another way");
        has(install(&whole, LogId { term: at.term + 1, ..at }), "it is that of entry");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        has(install(&flipped, at), "checksum");
        assert_eq!(install(&whole, at), "", "what it was is taken");
    });
}

#[test]
fn another_checkpoint_than_the_one_that_rotted_is_not_taken() {
    not_taken(1);
}

#[test]
fn what_a_member_does_not_have_it_does_not_give() {
    run(1, async {
        let other = other(1).await;
        let (last, _) = other.applied();
        let last = last.unwrap();
        let of_other_term = LogId { term: last.term + 1, ..last };
        assert!(given(&other, of_other_term).await.unwrap_err().contains("it has entry"));
        let of = Rc::<GivenCheckpoint>::default();
        let ahead = LogId { index: last.index + 1, ..last };
        let (answer, _) = part(&of, &other, ahead, 0).await;
        assert!(
            matches!(&answer, Answer::Failed(why) if why.contains("no more than")),
            "{answer:?}"
        );
        let compacted = compact(&other.log().files(), CLUSTER, 1..=2, None).unwrap().unwrap();
        other.purge(&compacted);
        let before = LogId { index: compacted.log_id.index - 1, ..compacted.log_id };
        assert!(given(&other, before).await.unwrap_err().contains("its own checkpoint"));
        let own = given(&other, compacted.log_id).await.unwrap();
        let map = compacted.checkpointed.map();
        assert!(map.get(0..map.len()) == Some(&own[..]), "its own is given as it is");
    });
}

mod planted {
    use super::*;

    #[test]
    fn keep_redacted_of_checkpoint() {
        let words = ["what was erased is back"];
        prove(Bug::KeepRedactedOfCheckpoint, 1..2, &words, fetched);
    }

    #[test]
    fn take_any_checkpoint() {
        prove(Bug::TakeAnyCheckpoint, 1..2, &["is taken"], not_taken);
    }

    #[test]
    fn give_without_entry() {
        prove(Bug::GiveWithoutEntry, 1..2, &["goes another way"], fetched);
    }
}
