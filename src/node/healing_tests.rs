//! The loop that makes sound what was found damaged, on a whole replica and a simulated disk.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::{
    base::ids::ClusterId,
    feed::Fanout,
    io::{
        Dialer,
        simulated::{disk::SimDisk, executor::run},
    },
    log::{self, Identity, Log, Options, SEGMENT_BYTES_MIN},
    raft::{Address, Part, Replay, Timing, compact},
    state::testing::batch,
};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
const MOMENT: Duration = Duration::from_millis(10);
/// Segments that are complete, and have an index.
const COMPLETE: usize = 4;

/// The only member of a cluster, with complete segments, and what is known to be damaged of it.
async fn running(disk: &SimDisk) -> (Rc<Replica<SimDisk>>, Arc<Status>) {
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        free_margin_bytes: 0,
        ..Options::new(Identity { cluster: CLUSTER, node: 1 })
    };
    let (_, mut replay) = Replay::begin(disk.files(), None).unwrap();
    let log = Log::open_into(disk.clone(), options, &mut replay).await.unwrap();
    drop(cores::spawn(log.run()));
    let spare = log.clone();
    drop(cores::spawn(async move {
        while spare.need_spare().await && spare.prepare().await.is_ok() {}
    }));
    drop(replay.finish());
    let (address, timing, dialer) = (Address::default(), Timing::default(), Dialer::default());
    let part = Part { address, timing, founds: true, dialer };
    let replica = Replica::start(log, replay, Fanout::new(1), part).await.unwrap();
    let term = replica.leader_barrier().await.expect("it leads alone");
    while replica.expected_files().len() < COMPLETE {
        replica.propose(batch(1_000, b'1'), term, |_| ()).await;
        cores::sleep(MOMENT).await;
    }
    let (replica, status) = (Rc::new(replica), Arc::<Status>::default());
    drop(cores::spawn(super::run(Rc::clone(&replica), Arc::clone(&status))));
    (replica, status)
}

/// Nothing in a file is what it was, and that is noticed.
fn rots(disk: &SimDisk, status: &Status, name: &str) {
    disk.damage(name, |bytes| bytes.fill(0xA5));
    status.tell_damaged(name, 0, "it is not what was written");
}

/// How long it takes until this is done.
async fn until(done: impl Fn() -> bool) -> Duration {
    let begun = cores::now();
    while !done() {
        assert!(cores::elapsed(begun) < 3 * HEAL_AGAIN, "it is not done");
        cores::sleep(MOMENT).await;
    }
    cores::elapsed(begun)
}

#[test]
fn what_rots_is_made_anew_soon_and_what_rots_again_after_a_while() {
    run(1, async {
        let disk = SimDisk::new(1);
        let (replica, status) = running(&disk).await;
        let name = &replica.expected_files()[1];
        let whole = disk.snapshot()[name].clone();
        let is_whole = || disk.snapshot()[name] == whole && status.scrub.damaged().is_empty();
        rots(&disk, &status, name);
        assert!(until(is_whole).await < 2 * HEAL_LOOK);
        assert_eq!(status.scrub.healed(), 1);
        rots(&disk, &status, name);
        let took = until(is_whole).await;
        assert!(
            took > HEAL_AGAIN - 2 * HEAL_LOOK,
            "what rots at once is not written over and over: {took:?}"
        );
        assert_eq!(status.scrub.healed(), 2);
        // Both at once: the later one is made of the earlier one.
        cores::sleep(HEAL_AGAIN).await;
        for name in &replica.expected_files()[..2] {
            rots(&disk, &status, name);
        }
        until(is_whole).await;
        assert_eq!(status.scrub.healed(), 4);
        // What is of no use any more is neither damaged nor healed.
        status.tell_damaged(&store::file_name(3), 0, "it is missing");
        until(is_whole).await;
        assert_eq!(status.scrub.healed(), 4);
        replica.stop().await;
    });
}

#[test]
fn a_checkpoint_that_nobody_can_make_stays_told_and_holds_up_nothing() {
    run(1, async {
        let disk = SimDisk::new(1);
        let (replica, status) = running(&disk).await;
        let made = compact(&disk.files(), CLUSTER, 1..=1, None).unwrap().unwrap();
        replica.purge(&made).await.unwrap();
        let (checkpoint, segment) = (&made.file.name, &log::file_name(3));
        let whole = disk.snapshot();
        rots(&disk, &status, checkpoint);
        // Its header alone.
        disk.damage(segment, |bytes| bytes[..64].fill(0xA5));
        status.tell_damaged(segment, 0, "it is not what was written");
        let told = || status.scrub.damaged_names();
        until(|| told() == [checkpoint.clone()]).await;
        assert_ne!(disk.snapshot()[segment][..64], [0xA5; 64]);
        cores::sleep(2 * HEAL_AGAIN).await;
        assert_eq!((told(), status.scrub.healed()), (vec![checkpoint.clone()], 1));
        assert!(disk.snapshot()[checkpoint] != whole[checkpoint]);
        // It comes back by other means: the scrub finds it sound.
        disk.damage(checkpoint, |bytes| bytes.copy_from_slice(&whole[checkpoint]));
        status.scrub.set_sound(checkpoint);
        assert!(told().is_empty());
        // Only the file is gone: of what is mapped it is made anew.
        disk.take(checkpoint);
        status.tell_missing(checkpoint);
        until(|| told().is_empty()).await;
        assert_eq!(disk.snapshot()[checkpoint], whole[checkpoint]);
        assert_eq!(status.scrub.healed(), 2);
        replica.stop().await;
    });
}
