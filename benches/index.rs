//! What the index costs whoever writes, and what it saves whoever reads.

mod workload;

use std::{hint::black_box, time::Duration};

use changeagent::{
    base::{
        batch::{Action, Append, Batch, Command, Conditions, Versions},
        ids::ChangeId,
    },
    state::{Cursor, History, Located, State, index::ListKey},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use workload::{Place, append, batch, id, mix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 10_000;
/// Changes that each tenant, collection and tag has.
const EACH: u64 = 100;

fn create_tenant(n: u64) -> Command {
    Action::CreateTenant { tenant: id(n), name: format!("tenant {n}").into() }.into()
}

fn create_collection(tenant: u64, n: u64) -> Command {
    let name = format!("collection {n}").into();
    Action::CreateCollection { tenant: id(tenant), collection: id(n), name }.into()
}

/// The UUID number of the collection of tenant `n`.
fn collection_of(n: u64) -> u64 {
    1 << 40 | n
}

/// A list of `size` changes. Each of a few tenants has a collection and a tag
/// of its own and `EACH` changes, evenly spread, that have all three; every
/// other change bears a tag that `EACH` changes bear.
struct List {
    state: State,
    history: History,
    tenants: u64,
}

impl List {
    fn new(size: u64) -> Self {
        let kinds = size / EACH;
        let tenants = (kinds / 10).clamp(1, 1_000);
        let mut state = State::default();
        let creations: Vec<Command> = (0..tenants)
            .flat_map(|n| [create_tenant(n), create_collection(n, collection_of(n))])
            .collect();
        state.apply(batch(&creations));
        let mut history = History::new(usize::MAX);
        for start in (0..size).step_by(BATCH as usize) {
            let places = (start..size.min(start + BATCH)).map(|n| {
                let kind = n % kinds;
                let place = if kind < tenants { Place::of(kind) } else { Place::default() };
                let collection = place.tenant.map(|_| id(collection_of(kind)));
                Place { collection, tag: Some(format!("t{kind}")), ..place }
            });
            history.push(state.apply(batch(&[append(places)])).batch);
        }
        assert_eq!(state.last(), ChangeId(size));
        Self { state, history, tenants }
    }

    /// Finds all that `cursor` goes through, and where each change lies.
    fn read(&self, mut cursor: Cursor) -> usize {
        let (mut from, mut bytes, mut found) = (ChangeId(1), 0, 0);
        let (last, mut steps) = (self.state.last(), usize::MAX);
        while let Ok(Some(id)) = cursor.next(self.state.index(), from, last, &mut steps) {
            let Some(Located::Recent(batch)) = self.history.locate(id) else {
                unreachable!("all changes are in memory");
            };
            bytes += batch.change(id).suffix.len();
            found += 1;
            from = id.next();
        }
        assert_eq!(found, EACH);
        bytes
    }

    fn tenant(&self, n: u64) -> Cursor {
        let tenant = self.state.index().catalog.tenant(id(n)).expect("it was created");
        Cursor::tenant(tenant, &[])
    }

    fn collection(&self, n: u64) -> Cursor {
        let collection = self.state.index().catalog.collection(id(collection_of(n)));
        Cursor::collection(collection.expect("it was created"), &[])
    }

    fn tag(&self, n: u64) -> Cursor {
        Cursor::tagged(&[ListKey::tag(format!("\"t{n}\"").as_bytes())])
    }
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("find 100 changes");
    for size in [1_000, 100_000, 10_000_000] {
        let list = List::new(size);
        group.bench_function(BenchmarkId::new("of a tenant, of", size), |b| {
            b.iter(|| list.read(list.tenant(black_box(0))));
        });
        group.bench_function(BenchmarkId::new("of a collection, of", size), |b| {
            b.iter(|| list.read(list.collection(black_box(0))));
        });
        group.bench_function(BenchmarkId::new("with a tag, of", size), |b| {
            b.iter(|| list.read(list.tag(black_box(0))));
        });
        let mut n = 0;
        group.bench_function(BenchmarkId::new("of each tenant in turn, of", size), |b| {
            b.iter(|| {
                n = (n + 1) % list.tenants;
                list.read(list.tenant(n))
            });
        });
    }
    group.finish();
}

/// Benches applying `batches` over and over to a state that has one tenant and
/// collection for each number below `tenants`.
fn bench_apply(c: &mut Criterion, name: &str, tenants: u64, place: impl Fn(u64) -> Place) {
    let mut state = State::default();
    let batches: Vec<Batch> = (0..10)
        .map(|n| {
            let commands = (n * BATCH..(n + 1) * BATCH).map(|n| append([place(n)]));
            batch(&commands.collect::<Vec<_>>())
        })
        .collect();
    for n in 0..tenants {
        state.apply(batch(&[create_tenant(n), create_collection(n, collection_of(n))]));
    }
    let mut turns = batches.iter().cycle();
    let mut group = c.benchmark_group("apply 10,000 changes");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(name, |b| {
        b.iter(|| {
            let bytes = turns.next().expect("a cycle has no end").bytes().clone();
            state.apply(Batch::parse(bytes).expect("sound"))
        });
    });
    group.finish();
}

fn apply(c: &mut Criterion) {
    bench_apply(c, "plain", 0, |_| Place::default());
    bench_apply(c, "of one tenant", 1, |_| Place::of(0));
    bench_apply(c, "of 1,000 tenants", 1_000, |n| Place::of(mix(n) % 1_000));
    bench_apply(c, "each with one of 100,000 tags", 0, |n| Place {
        tag: Some(format!("t{}", mix(n) % 100_000)),
        ..Place::default()
    });
    bench_apply(c, "of 1,000 tenants, with collection, key and tag", 1_000, |n| {
        let tenant = mix(n) % 1_000;
        Place {
            collection: Some(id(collection_of(tenant))),
            key: Some(format!("key {:016}", mix(n) % 100_000)),
            tag: Some(format!("t{}", mix(!n) % 10_000)),
            ..Place::of(tenant)
        }
    });
}

/// What a condition costs: the same writes of one of 100,000 keys with and
/// without `If-Match: *`.
fn conditions(c: &mut Criterion) {
    const KEYS: u64 = 100_000;
    let key = |n: u64| Place {
        collection: Some(id(collection_of(0))),
        key: Some(format!("key {:016}", mix(n) % KEYS)),
        ..Place::of(0)
    };
    let mut group = c.benchmark_group("apply 10,000 changes");
    group.throughput(Throughput::Elements(BATCH));
    let if_match = Conditions { if_match: Some(Versions::Any), if_none_match: None };
    for (name, conditions) in
        [("of keys", Conditions::default()), ("of keys, on a condition", if_match)]
    {
        let mut state = State::default();
        state.apply(batch(&[create_tenant(0), create_collection(0, collection_of(0))]));
        let every = (0..KEYS).map(|n| Place { key: Some(format!("key {n:016}")), ..key(0) });
        state.apply(batch(&[append(every)]));
        let commands = (0..BATCH).map(|n| {
            let command = append([key(n)]);
            let Action::Append(append) = command.action else { unreachable!("it appends") };
            Append { conditions: conditions.clone(), ..append }.into()
        });
        let batch = batch(&commands.collect::<Vec<_>>());
        group.bench_function(name, |b| {
            b.iter(|| {
                let bytes = batch.bytes().clone();
                let applied = state.apply(Batch::parse(bytes).expect("sound"));
                assert_eq!(u64::from(applied.batch.changes()), BATCH, "all are accepted");
            });
        });
    }
    group.finish();
}

fn keys(c: &mut Criterion) {
    const KEYS: u64 = 1_000_000;
    let mut state = State::default();
    state.apply(batch(&[create_tenant(0), create_collection(0, collection_of(0))]));
    for start in (0..KEYS).step_by(BATCH as usize) {
        let places = (start..start + BATCH).map(|n| Place {
            collection: Some(id(collection_of(0))),
            // An odd factor: each key once, not in order.
            key: Some(format!("key {:016}", n * 7_919 % KEYS)),
            ..Place::of(0)
        });
        state.apply(batch(&[append(places)]));
    }
    let collection = state.index().catalog.collection(id(collection_of(0))).expect("created");
    assert_eq!(collection.keys() as u64, KEYS);
    let mut n = 0;
    c.bench_function("a page of 100 keys out of 1,000,000", |b| {
        b.iter(|| {
            n += 1;
            let after = format!("key {:016}", mix(n) % (KEYS - 200));
            let page = collection.keys_after(Some(&after), "key", 100);
            assert_eq!(page.entries.len(), 100);
            page
        });
    });
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(name = benches; config = config(); targets = find, apply, conditions, keys);
criterion_main!(benches);
