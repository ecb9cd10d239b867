//! What the log's tests share: a single-threaded executor that can be stopped
//! anywhere, and short ways to make options and entries.

use super::{Entry, Identity, Log, OpenError, Options};
use crate::base::ids::{ClusterId, LogId};
pub(super) use crate::io::simulated::task::Turns;
use crate::io::{Disk, cores::spawn, simulated::disk::SimDisk};
use bytes::Bytes;
use futures_executor::LocalPool;
use futures_util::task::LocalSpawnExt;
use uuid::Uuid;

pub(super) const SEGMENT_BYTES: u64 = 32 * 1024;

pub(super) fn options(nonce_seed: u64) -> Options {
    let cluster = ClusterId(Uuid::from_u128(0xC1));
    Options {
        segment_bytes: SEGMENT_BYTES,
        group_bytes: 8 * 1024,
        free_margin_bytes: 0,
        nonce_seed,
        ..Options::new(Identity { cluster, node: 7 })
    }
}

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

pub(super) fn entry(term: u64, index: u64, payload: impl Into<Bytes>) -> Entry {
    Entry { id: id(term, index), kind: 3, payload: payload.into() }
}

/// An executor with the tasks that a log needs.
pub(super) struct Harness {
    pub(super) pool: LocalPool,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self { pool: LocalPool::new() }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.pool.spawner().spawn_local(task).unwrap();
    }

    /// Spawns the writer and the one who prepares segments.
    pub(super) fn start<D: Disk>(&self, log: &Log<D>) {
        self.spawn(log.run());
        let log = log.clone();
        self.spawn(async move {
            while log.need_spare().await {
                if log.prepare().await.is_err() {
                    Turns(20).await;
                }
            }
        });
    }

    pub(super) fn open(
        &mut self,
        disk: &SimDisk,
        options: Options,
    ) -> Result<(Log<SimDisk>, Vec<Entry>), OpenError> {
        let mut replayed = Vec::new();
        let log = self.pool.run_until(Log::open(disk.clone(), options, |entry, _| {
            replayed.push(entry.clone());
            Ok(())
        }))?;
        Ok((log, replayed))
    }

    pub(super) fn run<T>(&mut self, task: impl Future<Output = T>) -> T {
        self.pool.run_until(task)
    }
}

/// Starts, on the simulated executor, the writer and the one who prepares segments.
pub(super) fn start(log: &Log<SimDisk>) {
    drop(spawn(log.run()));
    let log = log.clone();
    drop(spawn(async move {
        while log.need_spare().await {
            if log.prepare().await.is_err() {
                return;
            }
        }
    }));
}

/// Appends and waits until it is durable.
pub(super) async fn append<D: Disk>(log: &Log<D>, entries: Vec<Entry>) -> std::io::Result<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    log.append(entries, |outcome| {
        let _ = sender.send(outcome);
    })?;
    receiver.await.unwrap()
}
