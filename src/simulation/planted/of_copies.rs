//! Bugs of copies, each in runs of a cluster and what follows it.

use rand::rngs::StdRng;

use super::{
    find,
    plans::{
        NOBODY, block, crash, cut, heal_network, plan, slow_disk, slow_network, start,
        with_retention,
    },
};
use crate::{
    base::{ids::NodeId, planted::Bug},
    io::simulated::disk::Loss,
    simulation::{
        client::{Crowd, Habits},
        copies::CopyPlan,
        plan::Plan,
        world::run_planned,
    },
};

/// A copy of `origins` that comes behind `voters`.
fn with_copy(mut plan: Plan, origins: &[NodeId]) -> Plan {
    plan.copies.push(CopyPlan::of(origins));
    plan
}

/// A copy follows a node that lags behind the cluster.
fn lagging_origin(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, keepers: 3, readers: 4, ..NOBODY };
    let steps = vec![(0, slow_disk(2, 500)), (6_000, heal_network())];
    with_copy(plan(rng, 3, crowd, steps), &[2])
}

/// A copy has what it hears a while before it has it durably, and loses its power then. It does not
/// reach its origin for a while once it is back.
fn slow_copy(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 3, readers: 3, ..NOBODY };
    let mut steps = vec![(1_000, slow_disk(2, 400))];
    for _ in 0..3 {
        steps.extend([(1_500, crash(2, Loss::All)), (0, slow_disk(2, 1)), (0, block(2, 1))]);
        steps.extend([(50, start(2)), (700, heal_network()), (500, slow_disk(2, 400))]);
    }
    let mut plan = plan(rng, 1, crowd, steps);
    // What is not durable is not to be missed where a segment ends.
    plan.shape.setup.segment_bytes = 1 << 20;
    with_copy(plan, &[1])
}

/// A copy is killed now and then, and does not reach its origin for a while once it is back.
fn restarted_copy(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, readers: 3, ..NOBODY };
    let mut steps = Vec::new();
    for _ in 0..2 {
        steps.extend([(1_200, crash(2, Loss::All)), (0, block(2, 1)), (1_500, start(2))]);
        steps.push((700, heal_network()));
    }
    with_copy(plan(rng, 1, crowd, steps), &[1])
}

/// A copy is away while history is purged beyond it, and so begins anew with a checkpoint; then it
/// loses its power twice.
fn purged_beyond(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 5, ..NOBODY };
    let mut steps = vec![(1_500, crash(2, Loss::All)), (6_000, start(2))];
    for _ in 0..2 {
        steps.extend([(1_500, crash(2, Loss::All)), (50, start(2))]);
    }
    steps.push((1_000, heal_network()));
    with_copy(with_retention(plan(rng, 1, crowd, steps), 5), &[1])
}

/// A copy follows a node that is cut off from the cluster while history is purged beyond it, and so begins anew
/// from a snapshot.
fn origin_begins_anew(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 5, ..NOBODY };
    let mut steps = vec![(1_500, block(1, 2))];
    steps.extend([(0, block(2, 1)), (0, block(3, 2)), (0, block(2, 3))]);
    steps.extend([(8_000, heal_network()), (6_000, heal_network())]);
    with_copy(with_retention(plan(rng, 3, crowd, steps), 5), &[2])
}

/// The ways of a copy to its origins break now and then while writes are under way.
fn broken_origins(rng: &mut StdRng) -> Plan {
    let habits = Habits { keyed: (0, 1), ..Habits::default() };
    let crowd = Crowd { writers: 4, habits, ..NOBODY };
    let cut = |node| (0, cut(4, node));
    let mut steps = vec![(0, slow_network(50))];
    for _ in 0..10 {
        steps.extend([(400, heal_network()), (0, slow_network(50)), cut(1), cut(2), cut(3)]);
    }
    with_copy(plan(rng, 3, crowd, steps), &[1, 2, 3])
}

/// The copy that another follows does not reach the cluster for a while.
fn cut_off_origin(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, readers: 3, ..NOBODY };
    let steps = vec![(1_000, block(2, 1)), (12_000, heal_network())];
    with_copy(with_copy(plan(rng, 1, crowd, steps), &[1]), &[2])
}

/// Three levels, each of which follows the one before, while what they follow is killed.
fn tree(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 3, keepers: 2, readers: 2, followers: 3, ..NOBODY };
    let mut steps = Vec::new();
    for node in [4, 1, 5, 6] {
        steps.extend([(1_000, crash(node, Loss::Random)), (1_500, start(node))]);
    }
    let tree = with_copy(plan(rng, 3, crowd, steps), &[1, 2, 3]);
    with_copy(with_copy(tree, &[4]), &[5])
}

#[test]
fn copy_reads_weakly() {
    find(Bug::CopyReadsWeakly, 6, &["linearizable"], lagging_origin);
}

#[test]
fn copy_shows_undurable() {
    find(Bug::ShowUndurable, 6, &["a node never goes back"], slow_copy);
}

#[test]
fn forget_age_of_copy() {
    find(Bug::ForgetAgeOfCopy, 6, &["age"], restarted_copy);
}

#[test]
fn ignore_age_of_origin() {
    find(Bug::IgnoreAgeOfOrigin, 6, &["age"], cut_off_origin);
}

/// What a run says when a copy cannot go on from what it holds, and begins anew.
const ANEW: &str = "nothing was damaged";

#[test]
fn copy_begins_anew_before_durable() {
    find(Bug::SkipSnapshotSync, 6, &[super::LIVENESS, ANEW], purged_beyond);
}

#[test]
fn copy_applies_twice() {
    find(Bug::ApplyTwiceAfterCheckpoint, 6, &[super::LIVENESS, ANEW], purged_beyond);
}

#[test]
fn give_of_snapshot() {
    find(Bug::GiveOfSnapshot, 6, &["what is applied is in the log"], origin_begins_anew);
}

#[test]
fn hand_on_again() {
    find(Bug::HandOnAgain, 8, &["no duplicate"], broken_origins);
}

#[test]
fn a_tree_of_copies_shows_what_the_cluster_acknowledged() {
    let report = run_planned(0, tree);
    assert!(report.found.pages > 100 && report.found.ages > 50, "{:?}", report.found);
}
