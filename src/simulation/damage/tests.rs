//! Thousands of directories, each damaged in one way.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    image::Files,
    mutation::Mutation,
    origin::{Origin, Running, origin},
    reading::{Seen, Verdict, judge, read},
};
use crate::{
    base::{
        planted::{Bug, prove},
        timing::SCRUB_BEGIN,
    },
    io::{
        cores,
        simulated::{disk::SimDisk, executor::run},
    },
    log,
    node::replica::{Checked, check},
    raft::is_derived,
    simulation::tests::given,
};

/// All is verified once within that, and what can be made anew is.
const MADE_ANEW: Duration = SCRUB_BEGIN.saturating_add(Duration::from_secs(60));

const PAUSE: Duration = Duration::from_secs(10);

/// What became of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Served(Verdict),
    /// It was made anew.
    MadeAnew,
}

fn disk_of(seed: u64, files: &Files) -> SimDisk {
    let disk = SimDisk::new(seed);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

/// What a node serves of `disk`, or why it does not.
fn served(seed: u64, disk: &SimDisk, origin: &Origin) -> Result<Seen, String> {
    run(seed, async {
        let mut node = Running::on(disk.clone(), None).await?;
        Ok(read(&mut node, &origin.names).await)
    })
}

/// What `changeagent check` finds wrong with a directory.
fn unsound(seed: u64, files: &Files) -> Option<String> {
    let disk = disk_of(seed, files);
    match run(seed, check(&disk)) {
        Ok(Some(Checked::Sound(sound))) => {
            sound.spoiled.map(|(file, fault)| format!("{file}: {fault}"))
        }
        Ok(Some(Checked::Damaged(damage))) => Some(damage.error.to_string()),
        Ok(None) => Some("nothing is there".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn is_sound(seed: u64, files: &Files) -> bool {
    unsound(seed, files).is_none()
}

struct Campaign {
    origin: Origin,
    /// A directory of another node.
    other: Files,
    /// What is served of the whole one.
    all: Seen,
    outcomes: BTreeMap<Outcome, usize>,
}

impl Campaign {
    fn new(seed: u64, is_killed: bool) -> Self {
        let (origin, other) = (origin(seed, is_killed), origin(seed + 1, is_killed).image.files);
        let disk = disk_of(seed, &origin.image.files);
        let all = served(seed, &disk, &origin).expect("what is whole is served");
        assert!(all.lists["/changes"].changes.len() > 60 && all.repeated.len() > 10);
        let segments = origin.image.files.keys().filter(|name| name.ends_with(".seg")).count();
        assert!(segments > 4, "{:?}", origin.image.files.keys());
        assert!(origin.image.files.keys().any(|name| name.ends_with(".checkpoint")));
        Self { origin, other, all, outcomes: BTreeMap::new() }
    }

    /// Damages the directory as the seed says, and judges what is made of it.
    fn case(&mut self, seed: u64) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mutation = Mutation::draw(rng, &self.origin.image.files);
        let mut files = self.origin.image.files.clone();
        mutation.apply(&mut files, &self.other);
        println!("seed {seed}: {mutation:?}");
        let disk = disk_of(rng.random(), &files);
        let outcome = match served(seed, &disk, &self.origin) {
            Err(why) => {
                assert!(names_a_place(&why, &files), "{why}");
                // But for what is made anew of the rest.
                let kept = |mut files: Files| {
                    files.retain(|name, _| !name.ends_with(".index"));
                    files
                };
                let (left, files) = (kept(disk.snapshot()), kept(files.clone()));
                assert_eq!(left, files, "who refuses changes nothing: {why}");
                Outcome::Refused
            }
            Ok(seen) => {
                let changes = &self.all.lists["/changes"].changes;
                let must_hold = self.origin.image.must_hold(&files, changes);
                let verdict = judge(&self.all, &seen, must_hold);
                Outcome::Served(verdict.unwrap_or_else(|why| panic!("{why}")))
            }
        };
        // What is derived it has made good, or removed; of the log not all is read at a start.
        let is_log_whole = log_of(&files) == log_of(&self.origin.image.files);
        if is_log_whole && outcome == Outcome::Served(Verdict::Whole) {
            assert_eq!(unsound(seed, &disk.snapshot()), None, "the check finds something");
        }
        // Whatever a node cannot make good is found offline as well.
        let is_unsound = matches!(outcome, Outcome::Refused | Outcome::Served(Verdict::Damaged));
        assert!(!(is_unsound && is_sound(seed, &files)), "the check finds nothing: {outcome:?}");
        println!("    {outcome:?}");
        *self.outcomes.entry(outcome).or_default() += 1;
    }
}

impl Campaign {
    /// Damages what a node does not write any more while it runs, as the seed says, and judges
    /// what it serves, at once and when it had time to make anew what it can.
    fn case_at_rest(&mut self, seed: u64) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let whole = self.origin.image.at_rest();
        let mut files = whole.clone();
        let mutation = Mutation::draw_at_rest(rng, &files);
        mutation.apply(&mut files, &self.other);
        println!("seed {seed}, while it runs: {mutation:?}");
        let disk = disk_of(rng.random(), &self.origin.image.files);
        let mut changed = whole.iter().filter(|(name, bytes)| files.get(*name) != Some(*bytes));
        let changed = changed.next().map(|(name, bytes)| (name, bytes, files.get(name)));
        let (seen, healed, health) = run(seed, async {
            let mut node = Running::on(disk.clone(), None).await.expect("it starts");
            if rng.random() {
                // Some of it is in memory, and was found sound.
                read(&mut node, &self.origin.names).await;
            }
            match changed {
                Some((name, _, Some(bytes))) => {
                    disk.damage(name, |there| there.copy_from_slice(bytes));
                }
                Some((name, _, None)) => disk.take(name),
                None => {}
            }
            let seen = read(&mut node, &self.origin.names).await;
            let begun = cores::now();
            while cores::elapsed(begun) < MADE_ANEW {
                // A connection that is not used is closed.
                cores::sleep(PAUSE).await;
                assert_eq!(node.get("/health").await.status, 200);
            }
            let healed = read(&mut node, &self.origin.names).await;
            (seen, healed, node.get("/health").await.body)
        });
        let judged = |seen| judge(&self.all, seen, None).unwrap_or_else(|why| panic!("{why}"));
        let (first, then) = (judged(&seen), judged(&healed));
        let unsound = unsound(seed, &disk.snapshot());
        let is_sound = unsound.is_none();
        let outcome = match changed {
            None => Outcome::Served(first),
            Some((name, was, is)) if can_heal(name, was, is) => {
                assert_eq!(then, Verdict::Whole, "what can be made anew was not made anew");
                assert_eq!(unsound, None, "what can be made anew was not made anew: {health}");
                assert!(!health.contains("\"damaged\":[{"), "it is told no more: {health}");
                Outcome::MadeAnew
            }
            Some(_) => {
                assert_eq!(first, then, "it becomes neither worse nor better");
                // What is purged, nobody reads.
                assert!(!is_sound || then == Verdict::Whole, "the check finds nothing");
                assert!(is_sound || health.contains("\"damaged\":[{"), "it is told: {health}");
                Outcome::Served(then)
            }
        };
        println!("    {outcome:?}");
        *self.outcomes.entry(outcome).or_default() += 1;
    }
}

/// Whether a node without others can make a file anew that was so and is so now, or is missing: what is
/// made of the log; what it has open; of a segment, whatever is not an entry.
fn can_heal(name: &str, was: &[u8], is: Option<&Vec<u8>>) -> bool {
    let Some(is) = is else { return true };
    let Some(sequence) = log::number(name, log::SUFFIX) else { return is_derived(name) };
    let read = log::reread(sequence, &Bytes::copy_from_slice(was), None).expect("it was sound");
    let mut frames = read.sealed.entries.iter().map(|(_, place)| log::frame_range(*place));
    frames.all(|frame| was[frame.clone()] == is[frame])
}

/// The segments of a directory, and its checkpoint.
fn log_of(files: &Files) -> BTreeMap<&String, &Vec<u8>> {
    let is_of_log = |name: &str| name.ends_with(".seg") || name.ends_with(".checkpoint");
    files.iter().filter(|(name, _)| is_of_log(name)).collect()
}

/// Whether a refusal says which file it is about and at which byte, which one is missing, or whose it is.
fn names_a_place(why: &str, files: &Files) -> bool {
    let is_there = files.keys().any(|name| why.contains(name.as_str()));
    let names = |ends: &str| {
        let mut words = why.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        words.any(|word| word.strip_suffix(ends).is_some_and(|number| number.len() == 20))
    };
    let names_one = is_there || [".seg", ".checkpoint"].iter().any(|ends| names(ends));
    let mut after = why.split("byte ").skip(1);
    let has_byte = after.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_of_other = ["belongs to", "is of cluster", "is not the name of a segment"];
    let is_whole = is_of_other.iter().any(|text| why.contains(text));
    let is_missing = !is_there && why.contains("is missing");
    names_one && (has_byte || is_whole || is_missing) || why.contains("is a backup")
}

/// Damages directories of both kinds, from the seed `FROM` on.
fn campaign(cases: u64) {
    let from = given("FROM").unwrap_or(1);
    for is_killed in [false, true] {
        let mut campaign = Campaign::new(from, is_killed);
        for seed in from..from + cases {
            campaign.case(seed);
        }
        println!("killed: {is_killed}, {:?}", campaign.outcomes);
        let seen = |outcome| campaign.outcomes.contains_key(&outcome);
        assert!(seen(Outcome::Refused) && seen(Outcome::Served(Verdict::Whole)));
    }
}

/// Damages directories under nodes that run, from the seed `FROM` on.
fn campaign_at_rest(cases: u64) -> BTreeMap<Outcome, usize> {
    let from = given("FROM").unwrap_or(1);
    let mut campaign = Campaign::new(from, false);
    for seed in from..from + cases {
        campaign.case_at_rest(seed);
    }
    campaign.outcomes
}

#[test]
fn what_is_damaged_under_a_node_is_told_and_the_rest_is_served() {
    let outcomes = campaign_at_rest(given("CASES").unwrap_or(100));
    println!("{outcomes:?}");
    let seen = |verdict| outcomes.contains_key(&Outcome::Served(verdict));
    assert!(seen(Verdict::Whole) && seen(Verdict::Damaged));
    assert!(outcomes.contains_key(&Outcome::MadeAnew));
}

#[test]
fn heal_untold() {
    let campaign = std::cell::RefCell::new(Campaign::new(1, false));
    let run = |seed| campaign.borrow_mut().case_at_rest(seed);
    prove(Bug::HealUntold, 1..60, &["made anew"], run);
}

#[test]
fn serve_unverified() {
    let campaign = std::cell::RefCell::new(Campaign::new(1, false));
    let run = |seed| campaign.borrow_mut().case_at_rest(seed);
    prove(Bug::ServeUnverified, 1..60, &["change"], run);
}

#[test]
fn a_damaged_directory_is_refused_or_served_as_it_was() {
    campaign(given("CASES").unwrap_or(100));
}
