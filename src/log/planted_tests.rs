//! The model finds bugs that are planted in the log.

use super::model_tests::{lives, rots};
use crate::base::planted::{Bug, prove};

/// The most lives of the model that may not find a bug.
const SEEDS: std::ops::Range<u64> = 0..200;

#[test]
fn bugs_of_durability_are_found() {
    for bug in [
        Bug::AcknowledgeBeforeDurable,
        Bug::SkipVoteDurability,
        Bug::SkipSegmentDirectorySync,
        Bug::PurgeOneSegmentTooMany,
    ] {
        prove(bug, SEEDS, &[""], |seed| drop(lives(seed, 5)));
    }
}

#[test]
fn a_log_that_is_cut_at_damage_is_found() {
    prove(Bug::CutLogAtCorruption, SEEDS, &[""], rots);
}
