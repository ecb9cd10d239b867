//! openraft's own suite for storage, on the real disk and on the simulated one.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt::AsyncRuntime;
use tempfile::TempDir;

use super::{LogStore, Replay, StateMachine, TypeConfig, runtime::RaftRuntime};
use crate::{
    base::ids::ClusterId,
    feed::Fanout,
    io::{Disk, cores, real::disk::RealDisk, simulated::disk::SimDisk},
    log::{Identity, Log, Options},
};

type Stores<D> = (LogStore<D>, StateMachine<D>);
type StorageError = openraft::StorageError<TypeConfig>;

/// An empty node 0 on `disk`, whose writer runs.
async fn stores<D: Disk>(disk: D) -> Stores<D> {
    let identity = Identity { cluster: ClusterId(uuid::Uuid::from_u128(1)), node: 0 };
    let options = Options { segment_bytes: 1 << 20, ..Options::new(identity) };
    let mut replay = Replay::default();
    let log = Log::open_into(disk, options, &mut replay).await.unwrap();
    cores::spawn(log.run());
    let machine = StateMachine::new(log.clone(), replay, Fanout::new(1));
    (LogStore::new(log, tokio::sync::watch::channel(false).1), machine)
}

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore<RealDisk>, StateMachine<RealDisk>, TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore<RealDisk>, StateMachine<RealDisk>), StorageError> {
        // Beside the build: the directory for temporary files may be memory.
        let beside = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
        let (log, machine) = stores(RealDisk::open(directory.path()).unwrap()).await;
        Ok((directory, log, machine))
    }
}

#[derive(Default)]
struct Simulated {
    seed: AtomicU64,
}

impl StoreBuilder<TypeConfig, LogStore<SimDisk>, StateMachine<SimDisk>> for Simulated {
    async fn build(&self) -> Result<((), LogStore<SimDisk>, StateMachine<SimDisk>), StorageError> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let (log, machine) = stores(SimDisk::new(seed)).await;
        Ok(((), log, machine))
    }
}

fn run<T>(test: impl Future<Output = Result<T, StorageError>>) {
    let passed = Cell::new(false);
    RaftRuntime::run(async {
        test.await.unwrap();
        passed.set(true);
    });
    assert!(passed.get());
}

#[test]
fn the_storage_suite_of_openraft_passes_on_the_real_disk() {
    run(Suite::test_all(OnDisk));
}

#[test]
fn the_storage_suite_of_openraft_passes_on_the_simulated_disk() {
    run(Suite::test_all(Simulated::default()));
}
