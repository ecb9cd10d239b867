use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    time::Duration,
};

use futures_executor::block_on;
use futures_util::FutureExt;

use rand::RngExt;

use super::{faults::SECTOR, *};
use crate::io::{
    BLOCK, Disk, DiskFile, Files, OpenMode, Output, cores,
    simulated::executor::{Executor, SURROUNDINGS, run, spawn_in},
};

/// What a power loss may leave of what `work` does on a disk that holds `a`, as
/// `what` sees it, over many seeds.
fn outcomes<T: Ord>(
    work: impl AsyncFn(&SimDisk),
    what: impl Fn(&BTreeMap<String, Vec<u8>>) -> T,
) -> Vec<T> {
    let after = |seed| {
        let disk = SimDisk::new(seed);
        block_on(async {
            drop(prepared(&disk, "a", 1).await);
            work(&disk).await;
        });
        what(&disk.crash(Loss::Random).snapshot())
    };
    (0..200).map(after).collect::<BTreeSet<_>>().into_iter().collect()
}

fn names(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

async fn prepared(disk: &SimDisk, name: &str, blocks: usize) -> SimFile {
    let file = disk.open(name, OpenMode::Create).await.unwrap();
    file.write_at(file.buffer(blocks * BLOCK), 0).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_directory().await.unwrap();
    disk.open(name, OpenMode::WriteDurable).await.unwrap()
}

#[test]
fn durable_writes_survive_and_unsynced_ones_tear() {
    block_on(async {
        let mut torn = 0;
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let durable = prepared(&disk, "a", 4).await;
            durable.write_at(vec![1; BLOCK], 0).await.unwrap();
            let volatile = disk.open("b", OpenMode::Create).await.unwrap();
            disk.sync_directory().await.unwrap();
            volatile.write_at(vec![2; 4 * BLOCK], 0).await.unwrap();
            let after = disk.crash(Loss::Random).snapshot();
            assert!(after["a"][..BLOCK].iter().all(|&byte| byte == 1));
            assert!(after["a"][BLOCK..].iter().all(|&byte| byte == 0));
            let kept = after["b"].chunks(SECTOR).filter(|sector| sector[0] == 2).count();
            torn += usize::from(kept > 0 && kept < 4 * BLOCK / SECTOR);
            assert!(volatile.write_at(vec![0; BLOCK], 0).await.is_err(), "the power is off");
        }
        assert!(torn > 10);
    });
}

#[test]
fn a_sector_survives_as_any_version_of_it() {
    let versions = outcomes(
        async |disk| {
            let file = disk.open("b", OpenMode::Create).await.unwrap();
            file.write_at(vec![1; BLOCK], 0).await.unwrap();
            file.sync().await.unwrap();
            disk.sync_directory().await.unwrap();
            file.write_at(vec![2; BLOCK], 0).await.unwrap();
            file.write_at(vec![3; BLOCK], 0).await.unwrap();
        },
        |files| files["b"][0],
    );
    assert_eq!(versions, [1, 2, 3]);
}

#[test]
fn what_was_not_synced_of_a_new_file_is_anything_of_any_length() {
    let lengths = outcomes(
        async |disk| {
            let mut output = disk.files().create("b").unwrap();
            disk.sync_directory().await.unwrap();
            output.write_all(&[7; 1000]).unwrap();
        },
        |files| (files["b"].is_empty(), files["b"].iter().all(|&byte| byte == 7)),
    );
    // With bytes that were never written, or without any; or empty.
    assert_eq!(lengths, [(false, false), (false, true), (true, true)]);
}

#[test]
fn directory_changes_survive_in_any_combination_until_they_are_synced() {
    let renamed = async |disk: &SimDisk| disk.rename("a", "b").await.unwrap();
    assert_eq!(outcomes(renamed, names), ["a", "a b", "b"], "never neither");
    let synced = async |disk: &SimDisk| {
        disk.rename("a", "b").await.unwrap();
        disk.sync_directory().await.unwrap();
    };
    assert_eq!(outcomes(synced, names), ["b"]);
    let replaced = async |disk: &SimDisk| {
        drop(disk.open("c", OpenMode::Create).await.unwrap());
        disk.rename("c", "b").await.unwrap();
        disk.remove("a").await.unwrap();
    };
    let kept = ["", "a", "a b", "a b c", "a c", "b", "b c", "c"];
    assert_eq!(outcomes(replaced, names), kept);
}

#[test]
fn a_sync_that_failed_is_not_made_up_for_by_the_next() {
    let kept = outcomes(
        async |disk| {
            let file = disk.open("b", OpenMode::Create).await.unwrap();
            disk.sync_directory().await.unwrap();
            file.write_at(vec![2; BLOCK], 0).await.unwrap();
            disk.rename("a", "c").await.unwrap();
            disk.change_faults(|faults| faults.sync_error = 1.0);
            assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(state::EIO));
            disk.sync_directory().await.unwrap_err();
            disk.change_faults(|faults| faults.sync_error = 0.0);
            file.sync().await.unwrap();
            disk.sync_directory().await.unwrap();
            assert_eq!(file.read_at(0, BLOCK).await.unwrap(), [2; BLOCK], "seen, and not there");
        },
        |files| (files.contains_key("c"), files["b"].iter().all(|&byte| byte == 2)),
    );
    assert_eq!(kept, [(false, false), (false, true), (true, false), (true, true)]);
}

#[test]
fn the_directory_alone_may_fail_to_sync() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.change_faults(|faults| faults.directory_sync_error = 1.0);
        disk.sync_directory().await.unwrap_err();
        disk.files().sync_directory().unwrap_err();
        file.sync().await.unwrap();
    });
}

#[test]
fn a_write_may_get_lost_or_go_elsewhere() {
    let write = |faults: Faults| {
        block_on(async {
            let disk = SimDisk::new(1);
            let (file, _other) = (prepared(&disk, "a", 4).await, prepared(&disk, "b", 4).await);
            disk.set_faults(faults);
            for _ in 0..20 {
                file.write_at(vec![1; BLOCK], 0).await.unwrap();
            }
            disk.crash(Loss::All).snapshot()
        })
    };
    let is_written = |bytes: &[u8]| bytes.contains(&1);
    let lost = write(Faults { lost_write: 1.0, ..Faults::default() });
    assert!(!is_written(&lost["a"]) && !is_written(&lost["b"]));
    let misdirected = write(Faults { misdirected_write: 1.0, ..Faults::default() });
    assert!(is_written(&misdirected["a"]) && is_written(&misdirected["b"]));
    assert_eq!(misdirected["a"].len(), 4 * BLOCK);
}

#[test]
fn operations_fail_as_they_are_told() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.set_faults(Faults { read_error: 1.0, ..Faults::default() });
        file.read_at(0, BLOCK).await.unwrap_err();
        disk.files().read("a").unwrap_err();
        disk.set_faults(Faults { write_error: 1.0, ..Faults::default() });
        file.write_at(vec![1; BLOCK], 0).await.unwrap_err();
        let mut output = disk.files().create("b").unwrap();
        output.write_all(b"1").unwrap_err();
        disk.set_faults(Faults { rename_error: 1.0, remove_error: 1.0, ..Faults::default() });
        disk.rename("a", "c").await.unwrap_err();
        disk.files().remove("a").unwrap_err();
        assert_eq!(names(&disk.snapshot()), "a b");
    });
}

#[test]
fn without_descriptors_what_is_open_goes_on() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.change_faults(|faults| faults.no_descriptors = true);
        let denied = |error: io::Error| assert_eq!(error.raw_os_error(), Some(state::EMFILE));
        denied(disk.open("a", OpenMode::Read).await.unwrap_err());
        denied(disk.files().create("b").err().unwrap());
        denied(disk.files().map("a").err().unwrap());
        denied(disk.list().await.unwrap_err());
        file.write_at(vec![1; BLOCK], 0).await.unwrap();
        disk.sync_directory().await.unwrap();
    });
}

#[test]
fn bits_rot_at_rest() {
    let disk = SimDisk::new(1);
    assert_eq!(disk.rot(), None);
    disk.put("a", vec![0; 100]);
    let (name, byte) = disk.rot().unwrap();
    assert_eq!(name, "a");
    let rotten = &disk.crash(Loss::All).snapshot()["a"];
    assert_eq!(rotten.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    assert_ne!(rotten[byte], 0);
}

#[test]
fn an_older_copy_shares_nothing_with_the_disk() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        let older = disk.copy(2);
        file.write_at(vec![1; BLOCK], 0).await.unwrap();
        assert_eq!(older.snapshot()["a"], [0; BLOCK]);
        assert_eq!(older.crash(Loss::All).snapshot()["a"], [0; BLOCK], "it is durable");
    });
}

#[test]
fn a_disk_that_hangs_ends_nothing_until_it_is_released() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.change_faults(|faults| faults.hangs = true);
        let mut write = std::pin::pin!(file.write_at(vec![1; BLOCK], 0));
        for _ in 0..10 {
            assert!(write.as_mut().now_or_never().is_none());
        }
        disk.change_faults(|faults| faults.hangs = false);
        write.await.unwrap();
    });
}

#[test]
fn a_slow_disk_takes_its_time() {
    run(1, async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.change_faults(|faults| faults.latency_max = Duration::from_secs(8));
        let begun = cores::now();
        file.write_at(vec![1; BLOCK], 0).await.unwrap();
        let took = cores::elapsed(begun);
        assert!((Duration::from_secs(1)..Duration::from_secs(16)).contains(&took), "{took:?}");
    });
}

#[test]
fn what_was_under_way_when_a_process_was_killed_may_have_happened() {
    let killed = |seed| {
        run(seed, async move {
            let disk = SimDisk::new(seed);
            let file = prepared(&disk, "a", 1).await;
            disk.change_faults(|faults| faults.latency_max = Duration::from_secs(1));
            let under_way = disk.clone();
            drop(spawn_in(1, async move {
                let write = file.write_at(vec![1; BLOCK], 0);
                let rename = under_way.rename("a", "b");
                let _ = futures_util::future::join(write, rename).await;
            }));
            let time = cores::rng().random_range(Duration::ZERO..Duration::from_secs(1));
            cores::sleep(time).await;
            let executor = Executor::current();
            assert_eq!(executor.process(), SURROUNDINGS);
            executor.kill(1);
            let next = disk.kill();
            cores::sleep(Duration::from_secs(9)).await;
            let files = next.snapshot();
            let name = names(&files);
            let written = files[&name].iter().filter(|&&byte| byte == 1).count();
            (name, written.div_ceil(BLOCK / 2))
        })
    };
    let outcomes: BTreeSet<_> = (0..200).map(killed).collect();
    for name in ["a", "b"] {
        for halves in [0, 1, 2] {
            assert!(outcomes.contains(&(name.to_owned(), halves)), "{name} {halves}: {outcomes:?}");
        }
    }
}

#[test]
fn the_power_goes_between_any_two_steps() {
    let steps = |cut: u64| {
        let disk = SimDisk::new(1);
        disk.cut_power_after(cut);
        let files = disk.files();
        let work = || {
            let mut output = files.create("a.tmp")?;
            output.write_all(b"1")?;
            output.sync()?;
            files.rename("a.tmp", "a")?;
            files.sync_directory()
        };
        let done = work();
        assert_eq!(disk.died().now_or_never().is_some(), done.is_err());
        let seen = |loss| {
            let files = disk.crash(loss).snapshot();
            files.iter().map(|(name, bytes)| format!("{name}:{} ", bytes.len())).collect::<String>()
        };
        (done.is_ok(), seen(Loss::Nothing), seen(Loss::All))
    };
    let left = |seen: &str, sure: &str| (false, seen.to_owned(), sure.to_owned());
    assert_eq!(steps(0), left("", ""));
    assert_eq!(steps(1), left("a.tmp:0 ", ""));
    assert_eq!(steps(2), left("a.tmp:1 ", ""));
    assert_eq!(steps(3), left("a.tmp:1 ", ""));
    assert_eq!(steps(4), left("a:1 ", ""), "it is renamed, and nobody promised that");
    assert_eq!(steps(5), (true, "a:1 ".to_owned(), "a:1 ".to_owned()));
}

#[test]
fn what_is_mapped_is_read_when_it_is_populated() {
    let disk = SimDisk::new(1);
    disk.put("a", vec![7; 10_000]);
    let map = disk.files().map("a").unwrap();
    assert_eq!(map.get(9_998..10_000), Some(&[7u8, 7][..]));
    assert!(map.get(9_998..10_001).is_none());
    assert!(!map.is_resident(4_000..9_000));
    disk.change_faults(|faults| faults.read_error = 1.0);
    map.populate(4_000..9_000).unwrap_err();
    disk.change_faults(|faults| faults.read_error = 0.0);
    map.populate(4_000..9_000).unwrap();
    assert!(map.is_resident(4_000..9_000) && !map.is_resident(9_000..10_001));
}

#[test]
fn bytes_stay_for_whoever_has_a_removed_file_open() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 1).await;
        disk.remove("a").await.unwrap();
        disk.sync_directory().await.unwrap();
        assert_eq!(file.read_at(0, BLOCK).await.unwrap(), [0; BLOCK]);
    });
}

#[test]
fn a_killed_process_leaves_the_volatile_sectors_readable_and_volatile() {
    block_on(async {
        let disk = SimDisk::new(1);
        prepared(&disk, "a", 1).await;
        let file = disk.open("b", OpenMode::Create).await.unwrap();
        disk.sync_directory().await.unwrap();
        file.write_at(vec![3; BLOCK], 0).await.unwrap();
        let next = disk.kill();
        assert_eq!(next.snapshot()["b"][0], 3);
        assert!(next.crash(Loss::All).snapshot()["b"].is_empty());
    });
}

#[test]
fn a_full_disk_refuses_growth_only() {
    block_on(async {
        let disk = SimDisk::new(1);
        let file = prepared(&disk, "a", 2).await;
        disk.set_capacity(Some(2 * BLOCK as u64));
        let error = file.write_at(vec![1; BLOCK], 2 * BLOCK as u64).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        file.write_at(vec![1; BLOCK], 0).await.unwrap();
        assert_eq!(disk.free_bytes().await.unwrap(), 0);
    });
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        block_on(async move {
            let faults = Faults { write_error: 0.3, pending_max: 3, ..Faults::default() };
            let disk = SimDisk::with_faults(seed, faults);
            let file = disk.open("a", OpenMode::Create).await.unwrap();
            for n in 0..20_u8 {
                let _ = file.write_at(vec![n; 2 * BLOCK], u64::from(n) * BLOCK as u64).await;
            }
            let _ = disk.sync_directory().await;
            disk.crash(Loss::Random).snapshot()
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
