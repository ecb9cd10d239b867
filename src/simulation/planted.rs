//! The proof of the prover: with each bug that can be planted, some seed fails soon.
//!
//! `BUG=LoseWakeUp cargo test --release --lib simulation::planted -- --ignored --nocapture`
//! says by which seed that one is found; `FROM` begins at another.
//!
//! Two bugs are found below, where what shows them comes together: an answer that counts for
//! a later request in `raft/simulation/scenario_tests.rs`, a lost request that is told as not
//! sent in `raft/peer/network_tests`.

use super::{tests::given, world};
use crate::base::planted::{Bug, found_by};

/// The bugs, and within how many seeds each is found.
const BUGS: [(Bug, u64); 11] = [
    (Bug::AnswerBeforeApplied, 100),
    (Bug::BelieveDeposedLeader, 100),
    (Bug::ForgetIdempotency, 20),
    (Bug::IgnoreIfNoneMatch, 20),
    (Bug::KeepCollections, 20),
    (Bug::LoseWakeUp, 20),
    (Bug::ShowUncommitted, 200),
    (Bug::ShowUndurable, 200),
    (Bug::StampBeforeApplied, 200),
    (Bug::StampGoesBack, 50),
    (Bug::WeakStrongRead, 20),
];

/// Bugs that 52 seeds did not show. `BUG` names them, too.
const NOT_FOUND_YET: [(Bug, u64); 2] =
    [(Bug::CountReverted, 1_000), (Bug::ForgetMayHaveHappened, 1_000)];

#[test]
#[ignore = "it takes minutes: run it in release"]
fn each_planted_bug_is_found() {
    let only = std::env::var("BUG").ok();
    let from = given("FROM").unwrap_or(0);
    let named = only.is_some();
    let others = NOT_FOUND_YET.into_iter().filter(|_| named);
    for (bug, within) in BUGS.into_iter().chain(others) {
        let name = format!("{bug:?}");
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let found = found_by(bug, from..from + given("SEEDS").unwrap_or(within), |seed| {
            drop(world::attempt(seed));
        });
        let (seed, text) = found.unwrap_or_else(|| panic!("{name} is not found"));
        let seeds = seed - from + 1;
        println!("{name}: {seeds} seeds: {}", text.chars().take(300).collect::<String>());
    }
}
