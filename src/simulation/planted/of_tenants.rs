//! Bugs of copies of some tenants, each in runs of a cluster and what follows it.

use rand::rngs::StdRng;

use super::{
    find,
    plans::{NOBODY, crash, cut, heal_network, plan, slow_disk, start, with_retention},
};
use crate::{
    base::{ids::NodeId, planted::Bug},
    io::simulated::disk::Loss,
    simulation::{client::Crowd, copies::CopyPlan, plan::Plan, world::run_planned},
};

/// A copy of these tenants that follows `origins` and comes behind `voters`.
fn with_part(mut plan: Plan, origins: &[NodeId], tenants: &[&'static str]) -> Plan {
    plan.copies.push(CopyPlan::of_tenants(origins, tenants));
    plan
}

/// A copy of some tenants, of a lone node, while changes of all come in batches.
fn quiet_part(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, keepers: 2, readers: 4, followers: 2, ..NOBODY };
    with_part(plan(rng, 1, crowd, vec![(4_000, heal_network())]), &[1], &["t1", "k"])
}

/// A copy asks one origin for what it does not hold, which lies behind, and follows another: the first
/// was away for a while, and then the second was for a moment.
fn two_origins(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 3, readers: 6, ..NOBODY };
    let mut steps = vec![(0, slow_disk(2, 400))];
    for _ in 0..3 {
        steps.extend([(1_000, crash(1, Loss::Nothing)), (1_500, start(1))]);
        steps.extend([(2_000, cut(4, 2)), (2_500, heal_network())]);
    }
    with_part(plan(rng, 3, crowd, steps), &[1, 2], &["k"])
}

/// A copy is away while history is purged beyond it, and so begins anew with its part of a checkpoint.
fn purged_beyond(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, keepers: 3, mirrors: 1, ..NOBODY };
    let steps = vec![(1_500, crash(2, Loss::All)), (6_000, start(2)), (4_000, heal_network())];
    with_part(with_retention(plan(rng, 1, crowd, steps), 5), &[1], &["k"])
}

/// Three levels, of fewer tenants each, while what they follow is killed, and they are.
fn tree(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 3, keepers: 2, readers: 3, followers: 3, mirrors: 1, ..NOBODY };
    let mut steps = Vec::new();
    for node in [4, 1, 5, 6] {
        steps.extend([(1_000, crash(node, Loss::Random)), (1_500, start(node))]);
    }
    let tree = with_part(plan(rng, 3, crowd, steps), &[1, 2, 3], &["t1", "t2", "k"]);
    with_part(with_part(tree, &[4], &["t2", "k"]), &[5], &["k"])
}

#[test]
fn number_part_anew() {
    find(Bug::NumberPartAnew, 3, &["one order", "no acknowledged loss"], quiet_part);
}

#[test]
fn show_part_as_whole() {
    find(Bug::ShowPartAsWhole, 3, &["no gap", "one order"], quiet_part);
}

#[test]
fn believe_older_origin() {
    find(Bug::BelieveOlderOrigin, 8, &["a node never goes back"], two_origins);
}

#[test]
fn forget_keys_in_part() {
    let rules = ["linearizable", "keys", "states", "conditions"];
    find(Bug::ForgetKeysInPart, 6, &rules, purged_beyond);
}

#[test]
fn a_tree_of_copies_of_tenants_shows_what_the_cluster_acknowledged() {
    let report = run_planned(0, tree);
    assert!(report.found.pages > 100 && report.found.ages > 50, "{:?}", report.found);
}
