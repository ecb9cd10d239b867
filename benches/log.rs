//! What the log costs: encoding groups, recovering from them, and group commits on the
//! machine's disk.

use bytes::Bytes;
use changeagent::base::ids::{ClusterId, LogId};
use changeagent::io::{Disk, cores, real::disk::RealDisk};
use changeagent::log::{
    Entry, Identity, Log, Options,
    format::{FrameRef, GroupPlace, HardState, encode_group, group_bytes},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::{join, join_all};
use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

const MIB: u64 = 1024 * 1024;

fn options() -> Options {
    let identity = Identity { cluster: ClusterId(uuid::Uuid::nil()), node: 1 };
    Options { segment_bytes: 16 * MIB, free_margin_bytes: 0, ..Options::new(identity) }
}

fn entries(from: u64, count: u64, bytes: usize) -> Vec<Entry> {
    let payload = Bytes::from(vec![7; bytes]);
    (from..from + count)
        .map(|index| Entry { id: LogId { term: 1, index }, kind: 1, payload: payload.clone() })
        .collect()
}

async fn append<D: Disk>(log: &Log<D>, entries: Vec<Entry>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let told = |outcome| sender.send(outcome).expect("somebody waits");
    log.append(entries, told).expect("queued");
    receiver.await.expect("told").expect("durable");
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (count, bytes) in [(1, 256), (1000, 256), (64, 16 * 1024), (1, 1024 * 1024)] {
        let entries = entries(0, count, bytes);
        let body = entries.iter().map(|entry| FrameRef::Entry(entry).encoded_bytes()).sum();
        let mut out = vec![0; group_bytes(body)];
        let place = GroupPlace { offset: 4096, nonce: 1, number: 1, previous: 0 };
        group.throughput(Throughput::Bytes(count * bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{count}x{bytes}")), |bencher| {
            bencher.iter(|| {
                let frames = entries.iter().map(FrameRef::Entry);
                black_box(encode_group(&mut out, &place, &HardState::default(), frames))
            });
        });
    }
    group.finish();
}

/// Runs `work` with a new directory on the machine's disk, on an executor.
fn on_disk<T, F: Future<Output = T>>(path: &Path, work: impl FnOnce(RealDisk) -> F) -> T {
    cores::Executor::new().block_on(work(RealDisk::open(path).expect("the directory is there")))
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("made")
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recover");
    for (count, bytes) in [(40_000, 256), (640, 16 * 1024)] {
        let directory = directory();
        on_disk(directory.path(), move |disk| async move {
            let log = Log::open(disk, options(), |_, _| Ok(())).await.expect("opens");
            let work = async {
                for part in 0..10 {
                    let part_entries = entries(part * count / 10, count / 10, bytes);
                    append(&log, part_entries).await;
                }
                log.set_committed(LogId { term: 1, index: count - 1 });
                log.close().await.expect("closed");
            };
            join(log.run(), work).await;
        });
        group.sample_size(20).throughput(Throughput::Bytes(count * bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{count}x{bytes}")), |bencher| {
            bencher.iter_custom(|rounds| on_disk(directory.path(), move |disk| open(disk, rounds)));
        });
    }
    group.finish();
}

/// Opens the log on `disk` so many times.
async fn open(disk: RealDisk, rounds: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        let mut seen = 0;
        let replay = |entry: &Entry, _| {
            seen += entry.payload.len();
            Ok(())
        };
        drop(Log::open(disk.clone(), options(), replay).await.expect("opens"));
        black_box(seen);
    }
    start.elapsed()
}

/// Appends on the machine's disk: `tasks` tasks, each waiting for its own.
fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable");
    group.sample_size(10);
    for tasks in [1_u64, 64, 1024] {
        group.throughput(Throughput::Elements(tasks));
        group.bench_function(BenchmarkId::new("append 256 B", tasks), |bencher| {
            bencher.iter_custom(|rounds| {
                let directory = directory();
                on_disk(directory.path(), move |disk| rounds_on_disk(disk, rounds, tasks))
            });
        });
    }
    group.finish();
}

async fn rounds_on_disk(disk: RealDisk, rounds: u64, tasks: u64) -> Duration {
    let log = Log::open(disk, options(), |_, _| Ok(())).await.expect("opens");
    let writer = cores::spawn(log.run());
    // The first spare is not what is measured.
    log.prepare().await.expect("room on the disk");
    let preparing = log.clone();
    let preparer = cores::spawn(async move {
        while preparing.need_spare().await {
            preparing.prepare().await.expect("room on the disk");
        }
    });
    let start = Instant::now();
    for round in 0..rounds {
        let index = round * tasks;
        join_all((index..index + tasks).map(|index| append(&log, entries(index, 1, 256)))).await;
    }
    let took = start.elapsed();
    log.close().await.expect("closed");
    writer.await;
    preparer.await;
    took
}

criterion_group!(benches, encode, recover, durable);
criterion_main!(benches);
