use super::*;
use futures_executor::block_on;

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
fn unsynced_directory_changes_may_be_lost() {
    block_on(async {
        let disk = SimDisk::new(1);
        prepared(&disk, "a", 1).await;
        disk.rename("a", "b").await.unwrap();
        assert!(disk.crash(Loss::All).snapshot().contains_key("a"));
        let disk = SimDisk::new(1);
        prepared(&disk, "a", 1).await;
        disk.rename("a", "b").await.unwrap();
        disk.sync_directory().await.unwrap();
        assert!(disk.crash(Loss::All).snapshot().contains_key("b"));
        let disk = SimDisk::new(1);
        prepared(&disk, "a", 1).await;
        disk.rename("a", "b").await.unwrap();
        let after = disk.crash(Loss::Nothing).snapshot();
        assert!(after.contains_key("b") && !after.contains_key("a"));
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
