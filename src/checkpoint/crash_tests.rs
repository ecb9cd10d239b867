//! The power goes at any step of writing checkpoints and of receiving them: the newest one that
//! was told to be durable is there, or one after it, and it is sound.

use std::io::{self, Write};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    format::tests::written_at,
    store::{CheckpointFile, load, remove_older, tidy, write},
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        Disk, Files,
        simulated::{
            disk::{Loss, SimDisk},
            executor::run,
        },
    },
};

/// Steps of an operation on the disk that a power cut may come before.
const STEPS_MAX: u64 = 14;

/// What a start finds, once that has tidied up.
fn found(files: &impl Files) -> Option<CheckpointFile> {
    let newest = load(files, None).expect("what is there is sound").map(|(file, ..)| file);
    tidy(files, newest.as_ref()).unwrap();
    newest
}

/// Some lives in which checkpoints are made by `make`, each cut at any step.
fn lives(seed: u64, make: impl AsyncFn(&SimDisk, u64) -> io::Result<()>) {
    run(seed, async {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = SimDisk::new(seed);
        let (mut durable, mut newest) = (None, 10);
        for _ in 0..6 {
            if rng.random_ratio(2, 3) {
                disk.cut_power_after(rng.random_range(0..STEPS_MAX));
            }
            while newest < 10_000 {
                newest += rng.random_range(1..10);
                if make(&disk, newest).await.is_err() {
                    break;
                }
                durable = Some(newest);
                if rng.random_ratio(1, 3) {
                    break;
                }
            }
            disk = disk.crash(Loss::Random);
            let found = found(&disk.files()).map(|file| file.log_id.index);
            assert!(found >= durable, "{found:?} is there, {durable:?} was durable");
            assert!(found <= Some(newest), "{found:?} was never made");
            durable = found;
        }
    });
}

async fn written(disk: &SimDisk, index: u64) -> io::Result<()> {
    let files = disk.files();
    write(&files, index, |out| out.write_all(&written_at(index)))?;
    let (newest, ..) = load(&files, None)?.expect("one was written");
    assert_eq!(newest.log_id.index, index);
    remove_older(&files, &newest)
}

#[test]
fn a_checkpoint_is_there_whole_whenever_the_power_goes() {
    (0..200).for_each(|seed| lives(seed, written));
}

/// Bugs that are planted, and what shows them.
mod planted {
    use super::*;

    /// A start that finds damage.
    const DAMAGED: [&str; 1] = ["what is there is sound"];

    #[test]
    fn skip_checkpoint_sync() {
        prove(Bug::SkipCheckpointSync, 0..20, &DAMAGED, |seed| lives(seed, written));
    }

    #[test]
    fn rename_checkpoint_before_sync() {
        prove(Bug::RenameCheckpointBeforeSync, 0..20, &DAMAGED, |seed| lives(seed, written));
    }

    #[test]
    fn skip_checkpoint_directory_sync() {
        let gone = ["was durable"];
        prove(Bug::SkipCheckpointDirectorySync, 0..200, &gone, |seed| lives(seed, written));
    }
}
