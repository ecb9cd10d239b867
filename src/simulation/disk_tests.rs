//! Runs in which disks fail above all, and the bugs that they find.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use super::{
    faults::{Fault, disk, process},
    plan::Plan,
    tests::given,
    world::{attempt_planned, run_planned},
};
use crate::{
    base::planted::{Bug, found_by},
    node::retention::Retention,
};

/// Bugs, and within how many seeds of such runs each is found.
const BUGS: [(Bug, u64); 6] = [
    (Bug::AcknowledgeBeforeDurable, 40),
    (Bug::SkipSegmentDirectorySync, 20),
    (Bug::SkipCheckpointSync, 10),
    (Bug::ForgetTombstone, 10),
    (Bug::ApplyTwiceAfterCheckpoint, 40),
    (Bug::PurgeOneSegmentTooMany, 10),
];

/// Bugs for which nobody has looked long enough to say so. `BUG` names them, too. Those of the
/// log and of writing checkpoints are found below, by `log/planted_tests.rs` and
/// `checkpoint/crash_tests.rs`.
const NOT_FOUND_YET: [(Bug, u64); 7] = [
    (Bug::SkipVoteDurability, 1_000),
    (Bug::CutLogAtCorruption, 1_000),
    (Bug::SkipCheckpointDirectorySync, 1_000),
    (Bug::RenameCheckpointBeforeSync, 1_000),
    (Bug::ForgetHighestMember, 1_000),
    (Bug::KeepContradictedTail, 1_000),
    (Bug::LeadWithFailedDisk, 1_000),
];

/// History is purged all the time, and little goes wrong but with disks.
fn draw(rng: &mut StdRng) -> Plan {
    let mut plan = Plan::draw(rng);
    let min_changes = rng.random_range(5..50);
    plan.shape.setup.retention = Some(Retention { min_changes, min_age: Duration::ZERO });
    plan.shape.setup.segment_bytes = 32 << 10;
    plan.crowd.writers = rng.random_range(2..=4);
    plan.crowd.keepers = 2;
    let (shape, count) = (plan.shape.clone(), rng.random_range(10..40));
    let step = |_| {
        let fault = match rng.random_range(0..10) {
            0..5 => Fault::Disk(disk::Fault::draw(rng, &shape)),
            5 => Fault::Process(process::Fault::draw(rng, &shape)),
            _ => Fault::Process(process::Fault::StartAll),
        };
        (rng.random_range(Duration::ZERO..Duration::from_secs(3)), fault)
    };
    plan.steps = (0..count).map(step).collect();
    plan
}

/// `SEEDS` runs from `FROM` on, two without.
#[test]
fn disks_fail() {
    let from = given("FROM").unwrap_or(0);
    for seed in from..from + given("SEEDS").unwrap_or(2) {
        println!("seed {seed}: {:?}", run_planned(seed, draw).found);
    }
}

/// `BUG=SkipCheckpointSync` proves that one alone.
#[test]
#[ignore = "it takes minutes"]
fn each_planted_bug_of_disks_is_found() {
    let (only, from) = (std::env::var("BUG").ok(), given("FROM").unwrap_or(0));
    let others = NOT_FOUND_YET.into_iter().filter(|_| only.is_some());
    for (bug, within) in BUGS.into_iter().chain(others) {
        if only.as_ref().is_some_and(|only| *only != format!("{bug:?}")) {
            continue;
        }
        let seeds = from..from + given("SEEDS").unwrap_or(within);
        let found = found_by(bug, seeds, |seed| drop(attempt_planned(seed, draw)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!(
            "{bug:?}: number {}: {}",
            seed - from + 1,
            why.chars().take(200).collect::<String>()
        );
    }
}
