//! Copies of the history: where each of them is, what it follows, and what goes wrong with it.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use super::{
    faults::{Fault, clock, copies},
    oracle::Roots,
    places::{Places, client_address},
    plan::{Plan, Shape},
};
use crate::{base::ids::NodeId, node::copy::CopyOf};

/// The most copies of a run: as many levels, where each follows the one before.
const COPIES_MAX: usize = 3;
/// For how long a copy is read after it last had all of its origin, where that is not for ever: no
/// less than the highest level of copies is old while nothing is wrong.
const STALE_MAX: Duration = Duration::from_secs(8);
/// The same where it is.
const EVER: Duration = Duration::from_secs(1 << 20);
/// The tenants of which there may be copies, by the names that they have all along.
const TENANTS: [&str; 3] = ["t1", "t2", "k"];

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// The places of those that it follows, nodes of the cluster or copies before this one: one is
    /// asked, and the next where that fails.
    pub origins: Vec<NodeId>,
    /// Of nothing but these tenants, by name; of all, where none are named.
    pub tenants: Vec<&'static str>,
    /// For how long it is read after it last had all of its origin.
    pub stale_max: Duration,
}

impl CopyPlan {
    /// One that is read however old it is.
    pub fn of(origins: &[NodeId]) -> Self {
        Self::of_tenants(origins, &[])
    }

    /// The same, of these tenants alone.
    pub fn of_tenants(origins: &[NodeId], tenants: &[&'static str]) -> Self {
        Self { origins: origins.to_vec(), tenants: tenants.to_vec(), stale_max: EVER }
    }
}

impl Shape {
    /// The place of the copy of that number, from 0 on: behind those of all nodes.
    pub fn copy(&self, number: usize) -> NodeId {
        self.places() + 1 + number as u64
    }
}

impl Plan {
    /// The same with copies, and with what goes wrong with them.
    pub fn with_copies(mut self, rng: &mut StdRng) -> Self {
        for number in 0..rng.random_range(1..=COPIES_MAX) {
            let copy = draw(rng, &self.shape, &self.copies, number);
            self.copies.push(copy);
        }
        let steps = std::mem::take(&mut self.steps);
        for step in steps {
            if rng.random() {
                let fault = copies::draw(rng, &self.shape, &self.copies);
                self.steps.push((rng.random_range(Duration::ZERO..=step.0), fault));
            }
            self.steps.push(step);
        }
        self
    }
}

/// A copy of that number: most follow the one before, others the cluster.
fn draw(rng: &mut StdRng, shape: &Shape, before: &[CopyPlan], number: usize) -> CopyPlan {
    let mut members: Vec<NodeId> = (1..=shape.voters + shape.learners).collect();
    let mut origins = Vec::new();
    if number > 0 && rng.random_ratio(3, 4) {
        origins.push(shape.copy(number - 1));
    }
    while origins.is_empty() || (!members.is_empty() && rng.random()) {
        origins.push(members.swap_remove(rng.random_range(0..members.len())));
    }
    let stale_max = if rng.random_ratio(1, 4) { STALE_MAX } else { EVER };
    CopyPlan { tenants: draw_tenants(rng, shape, before, &origins), origins, stale_max }
}

/// Some of the tenants that all of these origins have, or all.
fn draw_tenants(
    rng: &mut StdRng,
    shape: &Shape,
    before: &[CopyPlan],
    origins: &[NodeId],
) -> Vec<&'static str> {
    let mut known: Vec<&str> = TENANTS.to_vec();
    let mut is_part = rng.random_ratio(1, 3);
    for (number, copy) in before.iter().enumerate() {
        if !copy.tenants.is_empty() && origins.contains(&shape.copy(number)) {
            known.retain(|tenant| copy.tenants.contains(tenant));
            is_part = true;
        }
    }
    if !is_part {
        return Vec::new();
    }
    let last = known.swap_remove(rng.random_range(0..known.len()));
    known.into_iter().filter(|_| rng.random()).chain([last]).collect()
}

/// The members that each copy comes from. Not of those whose time of day steps, or that of what they
/// follow: then nobody knows for how long they were down.
pub fn roots(plan: &Plan) -> Roots {
    let steps = |node| {
        let is_it =
            |fault: &Fault| matches!(fault, Fault::Clock(clock::Fault::Step(of, _)) if *of == node);
        plan.steps.iter().any(|(_, fault)| is_it(fault))
    };
    let mut roots = Roots::new();
    for (number, CopyPlan { origins, .. }) in plan.copies.iter().enumerate() {
        let copy = plan.shape.copy(number);
        let of = |origin: &NodeId| match *origin < plan.shape.copy(0) {
            true => Some(vec![*origin]),
            false => roots.get(origin).cloned(),
        };
        let of: Option<Vec<Vec<NodeId>>> = origins.iter().map(of).collect();
        if let Some(of) = of.filter(|_| !steps(copy)) {
            roots.insert(copy, of.concat());
        }
    }
    roots
}

/// Makes the places of the copies of a plan.
pub fn add(plan: &Plan, places: &Places) {
    for (number, copy) in plan.copies.iter().enumerate() {
        let origins = copy.origins.iter().copied().map(client_address).collect();
        let tenants = copy.tenants.iter().map(|&tenant| tenant.to_owned()).collect();
        let of = CopyOf { origins, caller: None, tenants, stale_max: copy.stale_max, token: None };
        let place = places.add_copy(plan.shape.setup, of);
        assert_eq!(place, plan.shape.copy(number), "copies come behind all nodes");
    }
}
