//! Runs of many seeds. What fails prints its trace and the command that repeats it.

use std::{
    ops::Range,
    panic::catch_unwind,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::world::run;

/// Seeds that are always run.
const FIXED: Range<u64> = 0..16;

/// A number from the environment.
pub(super) fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, and is {text}")))
}

fn unknown_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

/// The run of `SEED`, with its trace.
#[test]
fn one_seed() {
    let Some(seed) = given("SEED") else { return };
    println!("{}", run(seed).trace);
}

#[test]
fn fixed_seeds() {
    FIXED.for_each(|seed| println!("seed {seed}: {:?}", run(seed).found));
}

/// Seeds that nobody has run before, for `FRESH` seconds.
#[test]
fn fresh_seeds() {
    let Some(seconds) = given("FRESH") else { return };
    let (begun, from) = (Instant::now(), unknown_seed());
    for seed in from.. {
        println!("seed {seed}: {:?}", run(seed).found);
        if begun.elapsed() > Duration::from_secs(seconds) {
            return;
        }
    }
}

/// `SEEDS` runs from the seed `FROM` on, or from an unknown one, in as many processes as
/// there are processors.
#[test]
fn many_seeds() {
    let Some(count) = given("SEEDS") else { return };
    let from = given("FROM").unwrap_or_else(unknown_seed);
    let processes = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let program = std::env::current_exe().unwrap();
    let child = |n: u64| {
        // Each takes every so manieth.
        let mut command = Command::new(&program);
        command.args(["--exact", "simulation::tests::some_seeds", "--nocapture"]);
        command.env_remove("SEEDS").env("FROM", (from + n).to_string());
        command.env("TO", (from + count).to_string()).env("STEP", processes.to_string());
        command.stdin(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..processes).map(child).collect();
    let ends: Vec<_> = children.into_iter().map(|mut child| child.wait().unwrap()).collect();
    assert!(ends.iter().all(ExitStatus::success), "a seed fails: see above");
}

/// What one of the processes of `many_seeds` does: it goes on after a seed that fails.
#[test]
fn some_seeds() {
    let (Some(from), Some(to), Some(step)) = (given("FROM"), given("TO"), given("STEP")) else {
        return;
    };
    let mut failed = Vec::new();
    for seed in (from..to).step_by(usize::try_from(step).unwrap()) {
        match catch_unwind(|| run(seed).found) {
            Ok(found) => println!("seed {seed}: {found:?}"),
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [3, 5] {
        let (one, other) = (run(seed), run(seed));
        let lines = one.trace.lines().zip(other.trace.lines());
        let differs = lines.enumerate().find(|(_, (one, other))| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
}
