//! Runs in which everything happens that can: each kind of fault, and each kind of request with
//! each outcome. They prove that what is drawn takes effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    coverage::Coverage,
    faults::{Fault, disk, network, process},
    plan::Plan,
    tests::given,
    world::run_planned,
};
use crate::{
    io::simulated::{disk::Loss, tally::Event},
    node::retention::Retention,
};

/// Within so many such runs everything happens.
const RUNS: u64 = 12;
/// Among so many drawn faults are all kinds.
const DRAWN: usize = 20_000;
/// How long a fault lasts.
const LASTS: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(4_000);
/// How long one lasts that breaks connections of which nobody hears anything.
const LASTS_LONG: Duration = Duration::from_secs(20);
/// How long all is well between two.
const PAUSE: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(600);
/// How often what is wrong with disks happens, which does nothing unless they are used.
const DISK_FAULTS: usize = 2;

/// Requests with what came of them.
const ENDS: [&str; 48] = [
    "append in several places: done",
    "append in several places: gone",
    "append several: done",
    "append: done",
    "append: failed",
    "append: gone",
    "append: unknown",
    "delete if it is that: done",
    "delete if it is that: refused",
    "delete if there is one: done",
    "delete: done",
    "delete: refused",
    "end a collection: done",
    "end a tenant: done",
    "half a request",
    "known after all: true",
    "make a collection: done",
    "make a collection: gone",
    "make a collection: refused",
    "make a tenant: done",
    "make a tenant: refused",
    "no answer",
    "put if it is not that: done",
    "put if it is not that: refused",
    "put if it is one of those: done",
    "put if it is one of those: refused",
    "put if it is that: done",
    "put if it is that: refused",
    "put if there is none: done",
    "put if there is none: refused",
    "put if there is one: done",
    "put if there is one: refused",
    "read a collection locally: done",
    "read a state: done",
    "read a tenant locally: done",
    "read a tenant locally: purged",
    "read all locally: purged",
    "read all strongly: done",
    "read later of all locally: done",
    "read later of several locally: done",
    "read all from an id on: done",
    "read keys strongly: done",
    "read names: done",
    "read several locally: done",
    "read several strongly: done",
    "retain: done",
    "Events: done",
    "Lines: done",
];

/// Of members what is asked for, and is done.
const DONE: [&str; 5] = [
    "adopt a node: done",
    "demote a member: done",
    "hand leadership over: done",
    "promote a member: done",
    "remove a member: done",
];

/// Each kind of fault happens, and is over soon after, so that most of them meet a cluster that
/// works.
fn draw(rng: &mut StdRng) -> Plan {
    let mut plan = Plan::draw(rng);
    plan.shape.voters = [3, 3, 5][rng.random_range(0..3)];
    plan.shape.late = 1;
    let min_changes = rng.random_range(5..50);
    plan.shape.setup.retention = Some(Retention { min_changes, min_age: Duration::ZERO });
    plan.shape.setup.segment_bytes = 32 << 10;
    let crowd = &mut plan.crowd;
    (crowd.writers, crowd.keepers, crowd.readers) = (2, 1, 1);
    (crowd.followers, crowd.makers, crowd.rude) = (1, 2, 1);
    (crowd.retainers, crowd.backward) = (1, 1);
    (crowd.combined, crowd.mirrors) = (1, 1);
    // Copies have runs of their own.
    plan.copies.clear();
    plan.minority.clear();
    plan.steps.clear();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..DRAWN {
        let fault = Fault::draw(rng, &plan.shape);
        let is_of_disk = matches!(fault, Fault::Disk(_));
        let most = if is_of_disk { DISK_FAULTS } else { 1 };
        let before = times.entry(fault.name()).or_default();
        if *before < most {
            *before += 1;
            let begun = Duration::ZERO;
            plan.steps.extend(first(&fault).map(|first| (begun, first)));
            let (end, is_long) =
                (end(&fault), matches!(fault, Fault::Network(network::Fault::Isolate(_))));
            let then = then(&fault);
            plan.steps.push((rng.random_range(PAUSE), fault));
            plan.steps.extend(then.map(|then| (begun, then)));
            let lasts = match is_long {
                true => LASTS_LONG,
                false => rng.random_range(LASTS),
            };
            plan.steps.push((lasts, end));
            let started = Fault::Process(process::Fault::StartAll);
            plan.steps.push((begun, started));
        }
    }
    plan
}

/// Without which a fault does nothing.
fn first(fault: &Fault) -> Option<Fault> {
    match fault {
        Fault::Disk(disk::Fault::PutBack(node)) => Some(Fault::Disk(disk::Fault::Copy(*node))),
        Fault::Process(process::Fault::Start(node)) => {
            Some(Fault::Process(process::Fault::Crash(*node, Loss::Random)))
        }
        _ => None,
    }
}

/// Without which a fault may do nothing: connections that stand need no entry.
fn then(fault: &Fault) -> Option<Fault> {
    match fault {
        Fault::Network(network::Fault::Closed(..)) => {
            Some(Fault::Network(network::Fault::CutAll(100)))
        }
        _ => None,
    }
}

/// What ends a fault.
fn end(fault: &Fault) -> Fault {
    match fault {
        Fault::Disk(_) => Fault::Disk(disk::Fault::Heal),
        Fault::Process(_) => Fault::Process(process::Fault::ResumeAll),
        _ => Fault::Network(network::Fault::Heal),
    }
}

/// The names of all faults, of all that they do, and of all ends of requests.
fn everything() -> BTreeSet<String> {
    let mut rng = StdRng::seed_from_u64(0);
    let mut plan = Plan::draw(&mut rng);
    (plan.shape.voters, plan.shape.late) = (5, 1);
    let faults = (0..DRAWN).map(|_| Fault::draw(&mut rng, &plan.shape).name());
    let events = Event::ALL.map(|event| format!("{event:?}"));
    faults.chain(events).chain(ENDS.into_iter().chain(DONE).map(String::from)).collect()
}

/// `cargo test --release --lib simulation::everything -- --ignored --nocapture`; with `SEED` it
/// runs that one alone, and says what happened.
#[test]
#[ignore = "it takes minutes: run it in release"]
fn all_that_can_go_wrong_does() {
    let mut coverage = Coverage::default();
    let only = given("SEED");
    for seed in only.map_or(0..RUNS, |seed| seed..seed + 1) {
        let report = run_planned(seed, draw);
        println!("seed {seed}: {:?}", report.found);
        coverage.merge(&report.coverage);
        if coverage.lacks(everything()).is_empty() {
            break;
        }
    }
    println!("{coverage}");
    let lacking = coverage.lacks(everything());
    assert!(only.is_some() || lacking.is_empty(), "in none of the runs there is {lacking:#?}");
}
