//! Thousands of directories, each damaged in one way.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    image::Files,
    mutation::Mutation,
    origin::{Origin, Running, origin},
    reading::{Seen, Verdict, judge, read},
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        cores,
        simulated::{disk::SimDisk, executor::run},
    },
    node::replica::{Checked, check},
    raft::is_derived,
    simulation::tests::given,
};

/// What can be made anew is within that.
const MADE_ANEW: Duration = Duration::from_secs(30);

/// What became of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Served(Verdict),
    /// Some could not be read, until it was made anew.
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

/// Whether `changeagent check` finds a directory sound.
fn is_sound(seed: u64, files: &Files) -> bool {
    let disk = disk_of(seed, files);
    match run(seed, check(&disk)) {
        Ok(Some(Checked::Sound(sound))) => sound.spoiled.is_none(),
        _ => false,
    }
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
        let mut files = self.origin.image.at_rest();
        let mutation = Mutation::draw_in_place(rng, &files);
        mutation.apply(&mut files, &self.other);
        println!("seed {seed}, while it runs: {mutation:?}");
        let disk = disk_of(rng.random(), &self.origin.image.files);
        let is_changed =
            |(name, bytes): &(&String, &Vec<u8>)| **bytes != self.origin.image.files[*name];
        let can_heal = files.iter().filter(is_changed).all(|(name, _)| is_derived(name));
        let (seen, healed, health) = run(seed, async {
            let mut node = Running::on(disk.clone(), None).await.expect("it starts");
            if rng.random() {
                // Some of it is in memory, and was found sound.
                read(&mut node, &self.origin.names).await;
            }
            for (name, bytes) in &files {
                if *bytes != self.origin.image.files[name] {
                    disk.damage(name, |there| there.copy_from_slice(bytes));
                }
            }
            let seen = read(&mut node, &self.origin.names).await;
            cores::sleep(MADE_ANEW).await;
            let healed = read(&mut node, &self.origin.names).await;
            (seen, healed, node.get("/health").await.body)
        });
        let judged = |seen| judge(&self.all, seen, None).unwrap_or_else(|why| panic!("{why}"));
        let outcome = match (judged(&seen), judged(&healed)) {
            (Verdict::Damaged, Verdict::Whole) => {
                assert!(can_heal, "a segment is not made anew");
                assert!(is_sound(seed, &disk.snapshot()), "what is made anew is not sound");
                Outcome::MadeAnew
            }
            (first, second) => {
                assert_eq!(first, second, "it does not become worse");
                if first == Verdict::Damaged {
                    assert!(!can_heal, "what can be made anew was not made anew");
                    assert!(health.contains("\"damaged\":[{"), "{health}");
                    assert!(!is_sound(seed, &disk.snapshot()), "the check finds nothing");
                }
                Outcome::Served(first)
            }
        };
        println!("    {outcome:?}");
        *self.outcomes.entry(outcome).or_default() += 1;
    }
}

/// Whether a refusal says which file it is about, or that one is missing.
fn names_a_place(why: &str, files: &Files) -> bool {
    files.keys().any(|name| why.contains(name.as_str())) || why.contains("missing")
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
