//! Every scenario is played and must come out as it is written down. With the
//! environment variable `REWRITE` set, what came out is written down instead.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::script::play;
use crate::base::planted::{Bug, prove};

fn file(name: &str) -> PathBuf {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/raft/simulation/scenarios");
    scenarios.join(name).with_extension("txt")
}

fn check(name: &str) {
    let file = file(name);
    let script = fs::read_to_string(&file).unwrap();
    let played = play(&script);
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&file, played).unwrap();
        return;
    }
    let differs = script.lines().zip(played.lines()).position(|(one, other)| one != other);
    if let Some(line) = differs {
        panic!("{name}.txt, line {}: this came out:\n{played}", line + 1);
    }
    assert_eq!(script, played);
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_scenario_is_played() {
            let scenarios = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/simulation/scenarios");
            let files = fs::read_dir(scenarios).unwrap().count();
            assert_eq!(files, [$(stringify!($name)),*].len());
        }
    };
}

scenarios! {
    conflicting_tails
    election
    entries_in_flight
    lagging_follower
    late_answers
    leader_removed
    leader_removed_in_flight
    leader_transfer
    membership_change
    one_way_loss
    partition
    pre_vote
    restart_of_all
}

/// What it takes to see it comes together in a script, and hardly ever by chance.
#[test]
fn planted_credit_answer_to_later_request() {
    let script = fs::read_to_string(file("late_answers")).unwrap();
    let words = ["a read is answered without c"];
    prove(Bug::CreditAnswerToLaterRequest, 0..1, &words, |_| {
        let played = play(&script);
        assert!(!played.contains("read 1: a b\n"), "a read is answered without c");
    });
}
