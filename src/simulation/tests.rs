//! Runs of many seeds.

use super::world::run;

/// Seeds that are always run.
const FIXED: std::ops::Range<u64> = 0..8;

/// A number from the environment.
pub fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// The run of `SEED`, with its trace.
#[test]
fn one_seed() {
    let report = run(given("SEED").unwrap_or(0));
    println!("{}", report.trace);
}

#[test]
fn fixed_seeds() {
    FIXED.for_each(|seed| println!("seed {seed}: {:?}", run(seed).found));
}

/// `SEEDS` runs from `FROM` on; in so many processes as `PROCESSES` says.
#[test]
fn many_seeds() {
    let Some(count) = given("SEEDS") else { return };
    let from = given("FROM").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    (from..from + count).for_each(|seed| println!("seed {seed}: {:?}", run(seed).found));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (one, other) = (run(3), run(3));
    let differs = one.trace.lines().zip(other.trace.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert_eq!(one, other);
}
