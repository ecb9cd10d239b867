//! What applying a batch costs, and what a read pays to find its place.

use std::hint::black_box;

use changeagent::{
    base::{
        batch::{Append, Batch, ChangeSpan, Command, NumberedBatch, Previous, Skips, encode},
        ids::{ChangeId, Timestamp},
    },
    state::{History, Located, State},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SUFFIX: &[u8; 268] = &[b'x'; 268];

/// One write request of one change of about 256 bytes.
fn append() -> Command {
    let spans = [ChangeSpan { end: SUFFIX.len() as u32, ..ChangeSpan::default() }];
    let spans = spans.into_iter().collect();
    Append { spans, suffixes: SUFFIX.to_vec().into(), ..Append::default() }.into()
}

fn batch(changes: usize) -> Batch {
    let bytes = encode(&vec![append(); changes], Timestamp(1));
    Batch::parse(bytes).expect("a batch that was just encoded")
}

fn numbered(first: u64, batch: Batch) -> NumberedBatch {
    NumberedBatch {
        first: ChangeId(first),
        batch,
        skips: Skips::default(),
        previous: Previous::default(),
    }
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    for changes in [1, 64, 1_000] {
        let commands = vec![append(); changes];
        group.throughput(Throughput::Elements(changes as u64));
        group.bench_function(format!("encode a batch of {changes}"), |b| {
            b.iter(|| encode(black_box(&commands), Timestamp(1)));
        });
        let bytes = batch(changes).bytes().clone();
        group.bench_function(format!("check and apply a batch of {changes}"), |b| {
            let mut state = State::default();
            b.iter(|| state.apply(Batch::parse(black_box(bytes.clone())).expect("sound")));
        });
    }
    group.finish();
}

fn history(c: &mut Criterion) {
    let mut group = c.benchmark_group("history");
    let mut history = History::default();
    for n in 0..10_000 {
        history.push(numbered(1 + 4 * n, batch(4)));
    }
    let mut id = 0;
    group.bench_function("locate one of 40,000 changes in memory", |b| {
        b.iter(|| {
            id = (id + 7_919) % 40_000;
            match history.locate(ChangeId(id + 1)) {
                Some(Located::Recent(batch)) => batch.change(ChangeId(id + 1)).suffix[0],
                _ => unreachable!("it is in memory"),
            }
        });
    });
    group.bench_function("push a batch of 64", |b| {
        let batch = batch(64);
        b.iter_batched_ref(
            History::default,
            |history| history.push(numbered(1, batch.clone())),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, apply, history);
criterion_main!(benches);
