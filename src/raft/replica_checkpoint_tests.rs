//! A whole member whose checkpoint rotted: it has another one make the next, takes that for its newest,
//! purges behind it, and takes none that it has no use for any more.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;

use super::{
    Address, Part, Replica, StateMachine, Timing,
    compact::compact,
    erasure_tests::{NODE, entries, erased},
    fetched_tests::other,
    fold_tests::{CLUSTER, What, open_as},
    given_checkpoint::{GivenCheckpoint, part},
    healing::{Healed, is_damage},
    mending::heal,
    mending_tests::member,
    peer::{Answer, Request},
    snapshot_tests::filled,
};
use crate::{
    checkpoint::store,
    feed::Fanout,
    io::{
        Dialer, Disk, cores,
        simulated::{disk::SimDisk, executor::run},
    },
    log::Vote,
};

const OTHER: u64 = 2;
const ABSENT: u64 = 3;

/// A member that runs on what is on `disk`, leads, and knows the others at the addresses of simulated members.
async fn running(disk: &SimDisk, others: &[u64]) -> Replica<SimDisk> {
    let (log, mut replay) = open_as(disk, NODE).await;
    let fanout = Fanout::new(1);
    // Of the term of its last entry.
    let vote = Vote { term: log.last().unwrap().term, node: NODE, committed: true };
    log.save_vote(vote).await.unwrap();
    drop(replay.finish());
    let (dialer, timing) = (Dialer::default(), Timing::default());
    let part = Part { address: Address::default(), timing, founds: false, dialer };
    let replica = Replica::start(log, replay, fanout, part).await.unwrap();
    let leads = replica.raft.wait(None);
    leads.current_leader(NODE, "it leads").await.unwrap();
    for node in others {
        let cluster_address = format!("node-{node}:7001");
        let address = Address { cluster_address, votes: false, ..Address::default() };
        replica.raft.add_learner(*node, address, false).await.unwrap();
    }
    replica
}

/// Has member [`OTHER`] give checkpoints of `machine`, once it `gives` them; nothing else is answered.
fn giving(machine: StateMachine<SimDisk>, gives: &Rc<Cell<bool>>) -> Rc<Cell<usize>> {
    let (of, gives, asked) = (Rc::<GivenCheckpoint>::default(), Rc::clone(gives), Rc::default());
    let counted: Rc<Cell<usize>> = Rc::clone(&asked);
    let answer = move |request| match request {
        Request::Checkpoint { at, offset } if gives.get() => {
            counted.set(counted.get() + 1);
            let (of, machine) = (Rc::clone(&of), machine.clone());
            async move { part(&of, &machine, at, offset).await }.boxed_local()
        }
        _ => std::future::ready((Answer::Failed("not now".into()), Bytes::new())).boxed_local(),
    };
    drop(member(OTHER, answer));
    asked
}

#[test]
fn the_next_checkpoint_is_fetched_installed_and_purged_up_to() {
    run(1, async {
        let (disk, _, node) = erased(1).await;
        let (at, name) = node.checkpoint();
        let sound = disk.copy(1);
        let made = compact(&sound.files(), CLUSTER, 2..=2, Some(at)).unwrap().unwrap();
        let disk = disk.copy(2);
        let (gives, replica) = (Rc::default(), running(&disk, &[ABSENT, OTHER]).await);
        giving(other(1).await, &gives);
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        let failed = replica.fetch_checkpoint(2).await.err().unwrap().to_string();
        assert!(failed.contains("node 2: not now") && failed.contains("node 3: "), "{failed}");
        gives.set(true);
        let (fetched, late) = (
            replica.fetch_checkpoint(2).await.unwrap(),
            replica.fetch_checkpoint(2).await.unwrap(),
        );
        let making = replica.making_checkpoint();
        let making = making.lock().await;
        let installed = replica.install_checkpoint(fetched).await.unwrap().expect("it is newer");
        assert_eq!((installed.log_id, installed.position), (made.log_id, made.position));
        let bytes = disk.snapshot()[&made.file.name].clone();
        assert!(
            bytes == sound.snapshot()[&made.file.name],
            "it is not what this node would have made"
        );
        assert_eq!(replica.checkpoint_id(), Some(at), "readers go on until it is purged");
        replica.purge(&installed).await.unwrap();
        drop(making);
        assert_eq!(replica.checkpoint_id(), Some(made.log_id));
        assert_eq!(replica.log().purged(), Some(made.log_id));
        assert!(replica.install_checkpoint(late).await.unwrap().is_none(), "it stands for no more");
        let gone = replica.fetch_checkpoint(2).await.err().unwrap().to_string();
        assert!(gone.contains("segment 2 is purged"), "{gone}");
        replica.stop().await;
    });
}

#[test]
fn another_checkpoint_than_follows_is_not_installed() {
    run(1, async {
        let (disk, _, node) = erased(1).await;
        let (at, name) = node.checkpoint();
        let disk = disk.copy(2);
        let replica = running(&disk, &[OTHER]).await;
        // In its history something is missing.
        let mut all = entries(true);
        all[2] = What::Blank;
        giving(filled(&SimDisk::new(7), OTHER, &all).await, &Rc::new(Cell::new(true)));
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        let before = disk.snapshot();
        let fetched = replica.fetch_checkpoint(2).await.unwrap();
        let refused = replica.install_checkpoint(fetched).await.err().unwrap();
        assert!(
            is_damage(&refused) && refused.to_string().contains("goes another way"),
            "{refused}"
        );
        assert_eq!(replica.checkpoint_id(), Some(at));
        let kept = |name: &&String| store::is_checkpoint(name);
        let now = disk.snapshot();
        assert!(
            now.keys().filter(kept).eq(before.keys().filter(kept)),
            "a start would begin from it"
        );
        replica.stop().await;
    });
}

#[test]
fn what_rotted_is_healed_of_memory_first_then_of_a_member_and_else_stays() {
    run(1, async {
        let (disk, _, node) = erased(1).await;
        let (_, name) = node.checkpoint();
        let disk = disk.copy(2);
        let whole = disk.snapshot()[&name].clone();
        let (gives, replica) = (Rc::default(), running(&disk, &[OTHER]).await);
        let asked = giving(other(1).await, &gives);
        // The file is gone, what is mapped of it is not.
        disk.take(&name);
        assert_eq!(heal(&replica, &name, true).await.unwrap(), Healed::Anew);
        assert!(disk.snapshot()[&name] == whole && asked.get() == 0, "nobody need be asked");
        disk.damage(&name, |bytes| bytes.fill(0xA5));
        assert!(is_damage(&heal(&replica, &name, false).await.unwrap_err()), "nobody is asked");
        let failed = heal(&replica, &name, true).await.unwrap_err().to_string();
        assert!(failed.contains("node 2: not now"), "{failed}");
        assert!(disk.snapshot()[&name] != whole);
        gives.set(true);
        assert_eq!(heal(&replica, &name, true).await.unwrap(), Healed::Anew);
        assert!(asked.get() > 0, "of what is in memory nothing is left");
        // What was erased here may be in what the other gave, until it is erased again.
        while disk.snapshot()[&name] != whole {
            cores::sleep(Duration::from_millis(100)).await;
        }
        let other = store::file_name(1);
        assert_eq!(heal(&replica, &other, true).await.unwrap(), Healed::Gone, "none is of it");
        replica.stop().await;
    });
}
