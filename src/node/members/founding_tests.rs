//! Nodes that meet in any order, over a network that loses any question, and of which any may start
//! again or lose its disk.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::founding::{Decision, Founder, Round, Said, Wait, decide};
use crate::base::{cluster::Gathering, ids::ClusterId};

fn founder(id: u128, address: &str, expect: usize, met: &[u128]) -> Founder {
    let id_of = |id: &u128| ClusterId(Uuid::from_u128(*id));
    let gathering = Gathering { expect, met: met.iter().map(id_of).collect() };
    Founder { id: id_of(&id), address: address.to_owned(), gathering }
}

fn empty(id: u128, address: &str, expect: usize, met: &[u128]) -> Said {
    Said::Empty(Some(founder(id, address, expect, met)))
}

#[test]
fn one_founds_when_all_have_met_the_same() {
    let a = founder(7, "a:1", 3, &[]);
    let all = [empty(8, "b:1", 3, &[6, 7, 8]), empty(6, "c:1", 3, &[6, 7, 8])];
    let Round { met, decision } = decide(&a, &all);
    assert_eq!(decision, Decision::Found);
    assert_eq!(met, founder(0, "", 0, &[6, 7, 8]).gathering.met);
    // Its own address among them changes nothing.
    let named = [all[0].clone(), empty(7, "a:1", 3, &[]), all[1].clone()];
    assert_eq!(decide(&a, &named).decision, Decision::Found);
    let b = founder(8, "b:1", 3, &[6, 7, 8]);
    let others = [empty(7, "a:1", 3, &[6, 7, 8]), all[1].clone()];
    assert_eq!(decide(&b, &others).decision, Decision::Wait(Wait::Founder("a:1".to_owned())));
}

#[test]
fn nobody_founds_for_any_other_reason() {
    let a = founder(1, "a:1", 3, &[1, 2, 3]);
    let b = empty(2, "b:1", 3, &[1, 2, 3]);
    let c = |expect, met: &[u128]| empty(3, "c:1", expect, met);
    let whole = c(3, &[1, 2, 3]);
    let meets = |said: &[Said]| decide(&a, said);
    assert_eq!(meets(&[b.clone(), whole.clone()]).decision, Decision::Found);
    for (said, want) in [
        (vec![b.clone(), Said::Nothing], Wait::Answers),
        (vec![b.clone(), whole.clone(), Said::Nothing], Wait::Answers),
        (vec![b.clone()], Wait::Nodes(2)),
        (vec![b.clone(), b.clone()], Wait::Nodes(2)),
        (vec![b.clone(), Said::Empty(None)], Wait::Nodes(2)),
        (vec![b.clone(), c(2, &[1, 2, 3])], Wait::Number(2)),
        (vec![b.clone(), empty(3, "b:1", 3, &[1, 2, 3])], Wait::Address("b:1".to_owned())),
        (vec![b.clone(), empty(3, "a:1", 3, &[1, 2, 3])], Wait::Address("a:1".to_owned())),
    ] {
        let round = meets(&said);
        assert_eq!(round, Round { met: Vec::new(), decision: Decision::Wait(want) }, "{said:?}");
    }
    for met in [&[][..], &[1, 3], &[1, 2, 3, 4]] {
        let round = meets(&[b.clone(), c(3, met)]);
        assert_eq!(round.decision, Decision::Wait(Wait::Meeting("c:1".to_owned())));
        assert_eq!(round.met.len(), 3, "others see whom it has met");
    }
    let joins = meets(&[b, Said::Nothing, Said::Member]);
    assert_eq!(joins, Round { met: Vec::new(), decision: Decision::Join });
}

const NODES: usize = 5;

/// A node of the model. Its address is its place.
#[derive(Clone)]
struct Node {
    id: u128,
    /// The places that it asks.
    asks: BTreeSet<usize>,
    met: Vec<ClusterId>,
    /// What it has heard in this round.
    heard: Vec<Said>,
    /// It founded a cluster, with those.
    founded: Option<BTreeSet<ClusterId>>,
    /// It was taken in.
    joined: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node asks its next place, which may not answer.
    Ask(usize, bool),
    /// A node concludes from what it heard, if it has asked all.
    Conclude(usize),
    /// A node starts again.
    Restart(usize),
    /// A node that founded nothing loses its disk.
    Lose(usize),
}

struct World {
    nodes: Vec<Node>,
    expect: usize,
    ids: u128,
}

impl World {
    fn new(lists: &[Vec<usize>], expect: usize) -> Self {
        let node = |(at, list): (usize, &Vec<usize>)| Node {
            // The order of names is not that of addresses.
            id: 100 - at as u128,
            asks: list.iter().map(|place| place % NODES).filter(|place| *place != at).collect(),
            met: Vec::new(),
            heard: Vec::new(),
            founded: None,
            joined: false,
        };
        Self { nodes: lists.iter().enumerate().map(node).collect(), expect, ids: 1000 }
    }

    fn founder(&self, at: usize) -> Founder {
        let Node { id, met, .. } = &self.nodes[at];
        let mut founder = founder(*id, &format!("node-{at}:9000"), self.expect, &[]);
        founder.gathering.met.clone_from(met);
        founder
    }

    fn is_member(&self, at: usize) -> bool {
        self.nodes[at].founded.is_some() || self.nodes[at].joined
    }

    /// Node `at` asks the next place of its round.
    fn ask(&mut self, at: usize, answers: bool) {
        let Some(&place) = self.nodes[at].asks.iter().nth(self.nodes[at].heard.len()) else {
            return;
        };
        let said = match answers {
            false => Said::Nothing,
            true if self.is_member(place) => Said::Member,
            true => Said::Empty(Some(self.founder(place))),
        };
        self.nodes[at].heard.push(said);
    }

    fn conclude(&mut self, at: usize) {
        if self.is_member(at) || self.nodes[at].heard.len() < self.nodes[at].asks.len() {
            return;
        }
        let heard = std::mem::take(&mut self.nodes[at].heard);
        let Round { met, decision } = decide(&self.founder(at), &heard);
        match decision {
            Decision::Found => self.nodes[at].founded = Some(met.iter().copied().collect()),
            Decision::Join => self.nodes[at].joined = true,
            Decision::Wait(_) => {}
        }
        self.nodes[at].met = met;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask(at, answers) => self.ask(at % NODES, answers),
            Step::Conclude(at) => self.conclude(at % NODES),
            Step::Restart(at) => {
                let node = &mut self.nodes[at % NODES];
                (node.met, node.heard) = (Vec::new(), Vec::new());
            }
            Step::Lose(at) if self.nodes[at % NODES].founded.is_none() => {
                self.ids += 1;
                let node = &mut self.nodes[at % NODES];
                (node.id, node.joined) = (self.ids, false);
                (node.met, node.heard) = (Vec::new(), Vec::new());
            }
            Step::Lose(_) => {}
        }
    }

    /// All ask all and are answered, again and again.
    fn settles(&mut self) {
        for _ in 0..4 {
            for at in 0..NODES {
                self.nodes[at].heard.clear();
                (0..NODES).for_each(|_| self.ask(at, true));
                self.conclude(at);
            }
        }
    }

    /// The places of nodes that founded, with those that they asked.
    fn founders(&self) -> Vec<(usize, &BTreeSet<usize>)> {
        let founded = self.nodes.iter().enumerate().filter(|(_, node)| node.founded.is_some());
        founded.map(|(at, node)| (at, &node.asks)).collect()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..NODES;
    let step = prop_oneof![
        12 => (at(), prop::bool::weighted(0.9)).prop_map(|(at, answers)| Step::Ask(at, answers)),
        8 => at().prop_map(Step::Conclude),
        1 => at().prop_map(Step::Restart),
        1 => at().prop_map(Step::Lose),
    ];
    vec(step, 0..300)
}

proptest! {
    #[test]
    fn one_list_makes_one_cluster(steps in steps(), expect in 1..=NODES) {
        let lists = vec![(0..NODES).collect::<Vec<_>>(); NODES];
        let mut world = World::new(&lists, expect);
        for step in steps {
            world.step(step);
            prop_assert!(world.founders().len() <= 1, "{:?}", world.founders());
        }
        world.settles();
        prop_assert_eq!(world.founders().len(), 1, "somebody founds once all hear each other");
        prop_assert!((0..NODES).all(|at| world.is_member(at)));
    }

    #[test]
    fn nodes_that_name_each_other_never_found_two_clusters(
        steps in steps(),
        lists in vec(vec(0..NODES, 0..NODES), NODES),
        expect in 1..=3_usize,
    ) {
        let mut world = World::new(&lists, expect);
        for step in steps {
            world.step(step);
        }
        world.settles();
        let founders = world.founders();
        for (a, asked_by_a) in &founders {
            for (b, asked_by_b) in founders.iter().filter(|(b, _)| b != a) {
                prop_assert!(!asked_by_a.contains(b) && !asked_by_b.contains(a));
                prop_assert!(asked_by_a.is_disjoint(asked_by_b), "{a} and {b} share a node");
            }
        }
    }
}
