//! The model finds bugs that are planted in the log.

use super::model_tests::{lives, rots};
use crate::base::planted::{Bug, prove};

/// The most lives of the model that may not find a bug.
const SEEDS: std::ops::Range<u64> = 0..20;
/// What the model says when a log is not what was acknowledged, or more.
const LOST: [&str; 1] = ["is no prefix from"];

#[test]
fn acknowledge_before_durable() {
    prove(Bug::AcknowledgeBeforeDurable, SEEDS, &LOST, |seed| drop(lives(seed, 5)));
}

#[test]
fn skip_vote_durability() {
    prove(Bug::SkipVoteDurability, SEEDS, &LOST, |seed| drop(lives(seed, 5)));
}

#[test]
fn skip_segment_directory_sync() {
    prove(Bug::SkipSegmentDirectorySync, SEEDS, &LOST, |seed| drop(lives(seed, 5)));
}

#[test]
fn purge_one_segment_too_many() {
    let words = ["only purged entries go"];
    prove(Bug::PurgeOneSegmentTooMany, SEEDS, &words, |seed| drop(lives(seed, 5)));
}

#[test]
fn cut_log_at_corruption() {
    prove(Bug::CutLogAtCorruption, SEEDS, &["what was there is cut"], rots);
}
