//! How much memory the index takes, as the process sees it: growth of what is
//! resident over what was added. A plain program, not a timing.

mod workload;

use std::process::Command as Process;

use changeagent::{
    base::batch::{Action, Command, Idempotency},
    state::State,
};
use workload::{Place, append, batch, id, mix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Small, so that what is left of one in the allocator does not count.
const BATCH: u64 = 1_000;
const TENANTS: u64 = 100_000;
const COLLECTION: u64 = 1 << 40;

/// What is added, how many of it to a state that has how many tenants, and
/// collections of the first of them, and how.
struct Case {
    what: &'static str,
    count: u64,
    tenants: u64,
    collections: u64,
    /// A batch of those from the first number up to the second.
    commands: fn(u64, u64) -> Vec<Command>,
}

const CASES: [Case; 12] = [
    Case { what: "a tenant", count: TENANTS, tenants: 0, collections: 0, commands: tenants },
    Case {
        what: "a collection, all of one tenant",
        count: 100_000,
        tenants: 1,
        collections: 0,
        commands: collections,
    },
    Case {
        what: "a live key of 20 bytes, added in order",
        count: 1_000_000,
        tenants: 1,
        collections: 1,
        commands: |start, end| vec![append((start..end).map(|n| key(n, 0)))],
    },
    Case {
        what: "a live key of 20 bytes, added in mixed order",
        count: 1_000_000,
        tenants: 1,
        collections: 1,
        commands: |start, end| vec![append((start..end).map(|n| key(n * 7_919 % 1_000_000, 0)))],
    },
    Case {
        what: "a live key of 20 bytes, in 1,000 collections",
        count: 1_000_000,
        tenants: 1,
        collections: 1_000,
        commands: |start, end| vec![append((start..end).map(|n| key(n, mix(n) % 1_000)))],
    },
    Case {
        what: "a change in a tenant's list, 100,000 tenants",
        count: 10_000_000,
        tenants: TENANTS,
        collections: 0,
        commands: |start, end| vec![append((start..end).map(|n| Place::of(mix(n) % TENANTS)))],
    },
    Case {
        what: "a change in a tenant's list, one tenant",
        count: 10_000_000,
        tenants: 1,
        collections: 0,
        commands: |start, end| vec![append((start..end).map(|_| Place::of(0)))],
    },
    Case {
        what: "the same, and in one of 1,000 collections",
        count: 10_000_000,
        tenants: 1,
        collections: 1_000,
        commands: |start, end| vec![append((start..end).map(|n| of_collection(mix(n) % 1_000)))],
    },
    Case {
        what: "a change with one of 1,000 tags",
        count: 10_000_000,
        tenants: 0,
        collections: 0,
        commands: |start, end| vec![append((start..end).map(|n| tagged(mix(n) % 1_000)))],
    },
    Case {
        what: "a distinct tag, on one change",
        count: 1_000_000,
        tenants: 0,
        collections: 0,
        commands: |start, end| vec![append((start..end).map(tagged))],
    },
    Case {
        what: "an idempotency key",
        count: 1_000_000,
        tenants: 0,
        collections: 0,
        commands: |start, end| (start..end).map(idempotent).collect(),
    },
    Case {
        what: "a plain change",
        count: 10_000_000,
        tenants: 0,
        collections: 0,
        commands: |start, end| vec![append((start..end).map(|_| Place::default()))],
    },
];

fn tenants(start: u64, end: u64) -> Vec<Command> {
    let create = |n| Action::CreateTenant { tenant: id(n), name: format!("tenant {n:06}").into() };
    (start..end).map(create).map(Command::from).collect()
}

fn collections(start: u64, end: u64) -> Vec<Command> {
    let create = |n| Action::CreateCollection {
        tenant: id(0),
        collection: id(COLLECTION + n),
        name: format!("list {n:06}").into(),
    };
    (start..end).map(create).map(Command::from).collect()
}

fn of_collection(n: u64) -> Place {
    Place { collection: Some(id(COLLECTION + n)), ..Place::of(0) }
}

fn key(n: u64, collection: u64) -> Place {
    Place { key: Some(format!("key {n:016}")), ..of_collection(collection) }
}

fn tagged(n: u64) -> Place {
    Place { tag: Some(format!("tag:{n}")), ..Place::default() }
}

fn idempotent(n: u64) -> Command {
    let digest = |n| *id(n).as_bytes();
    let idempotency = Some(Idempotency { key: digest(n), request: digest(!n) });
    Command { idempotency, ..append([Place::default()]) }
}

fn add(state: &mut State, count: u64, commands: impl Fn(u64, u64) -> Vec<Command>) {
    for start in (0..count).step_by(BATCH as usize) {
        let applied = state.apply(batch(&commands(start, count.min(start + BATCH))));
        let decisions = applied.decisions.iter().flatten();
        decisions.for_each(|decision| assert!(decision.result.is_ok() && !decision.replayed));
    }
}

/// Bytes of memory that each of what `case` adds takes.
fn measure(case: &Case) -> f64 {
    // What it takes to make and apply a batch is resident before.
    for start in (0..10 * BATCH).step_by(BATCH as usize) {
        State::default().apply(batch(&(case.commands)(start, start + BATCH)));
    }
    let mut state = State::default();
    add(&mut state, case.tenants, tenants);
    add(&mut state, case.collections, collections);
    let before = resident();
    add(&mut state, case.count, case.commands);
    let after = resident();
    drop(state);
    (after as f64 - before as f64) / case.count as f64
}

/// Bytes resident in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
    let number = line.split_whitespace().next().expect("a number and its unit");
    1024 * number.parse::<u64>().expect("a number")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--case") {
        let n: usize = arguments.next().and_then(|n| n.parse().ok()).expect("its number");
        println!("{:.1}", measure(&CASES[n]));
        return;
    }
    println!("{:48} {:>10} {:>10}", "what", "number", "bytes each");
    let program = std::env::current_exe().expect("the path of this program");
    for (n, case) in CASES.iter().enumerate() {
        // Each in a process of its own: memory freed by one would hide what
        // the next one takes.
        let output = Process::new(&program).args(["--case", &n.to_string()]).output();
        let output = output.expect("this program runs again");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = String::from_utf8_lossy(&output.stdout);
        println!("{:48} {:>10} {:>10}", case.what, case.count, bytes.trim());
    }
}
