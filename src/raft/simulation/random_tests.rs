//! Clusters to which anything happens, by chance: writes, lost messages, power
//! cuts, disks that stand still, members that come and go. At any time all nodes
//! serve beginnings of one list; in the end they all serve the whole, with every
//! acknowledged change where it was said to be and no change twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use openraft::ChangeMembers;
use rand::{RngExt, rngs::StdRng};

use super::{
    cluster::{Cluster, Outcome, address},
    node::written,
};
use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::{
            disk::Loss,
            executor::{Executor, run},
        },
    },
};

/// How many runs there are.
const SEEDS: u64 = 30;
/// What happens in a run.
const STEPS: u32 = 150;
/// The cluster begins with the first three.
const NODES: [NodeId; 5] = [1, 2, 3, 4, 5];
/// In the end all must be well within this time.
const RECOVERY: Duration = Duration::from_secs(60);

/// A run and what it has shown so far.
struct Run {
    cluster: Cluster,
    rng: StdRng,
    trace: String,
    /// How many changes were proposed.
    proposed: u32,
    /// The longest list that a node served.
    list: Vec<String>,
    /// Who led each term.
    leaders: BTreeMap<String, String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.trace);
        }
    }
}

/// Plays the run of a seed and gives back all that happened in it.
fn play(seed: u64) -> String {
    println!("seed {seed}");
    run(seed, async {
        let mut run = Run {
            cluster: Cluster::default(),
            rng: Executor::current().rng(),
            trace: String::new(),
            proposed: 0,
            list: Vec::new(),
            leaders: BTreeMap::new(),
        };
        for id in &NODES[..3] {
            run.cluster.start(*id).await;
        }
        run.cluster.initialize().await;
        // Before that, a power cut leaves nothing of the cluster.
        cores::sleep(Duration::from_secs(1)).await;
        for _ in 0..STEPS {
            run.step().await;
            run.rest().await;
            run.check();
        }
        run.recover().await;
        run.check_end();
        std::mem::take(&mut run.trace)
    })
}

impl Run {
    fn note(&mut self, text: &str) {
        self.take_record();
        writeln!(self.trace, "{:?}: {text}", Executor::current().elapsed()).unwrap();
    }

    fn take_record(&mut self) {
        for (time, text) in self.cluster.record.take() {
            assert!(!text.contains("stopped"), "{text}");
            if let Some((id, term)) = text.split_once(" leads term ") {
                let leader = self.leaders.entry(term.into()).or_insert_with(|| id.into());
                assert_eq!(leader, id, "term {term} has two leaders");
            }
            writeln!(self.trace, "{time:?}: {text}").unwrap();
        }
    }

    fn one_of(&mut self, ids: &[NodeId]) -> Option<NodeId> {
        let at = self.rng.random_range(0..ids.len().max(1));
        ids.get(at).copied()
    }

    fn running(&self) -> Vec<NodeId> {
        self.cluster.running().map(|(id, _)| id).collect()
    }

    fn down(&self) -> Vec<NodeId> {
        self.cluster.ids().into_iter().filter(|&id| self.cluster.node(id).is_none()).collect()
    }

    /// Something happens.
    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..45 => self.propose().await,
            45..51 => self.cut(),
            51..63 => {
                self.note("> heal");
                self.cluster.network.heal();
            }
            63..68 => self.crash(),
            68..77 => self.restart().await,
            77..80 => self.pause_disk(true),
            80..85 => self.pause_disk(false),
            85..88 => self.transfer().await,
            88..97 => self.change_members().await,
            _ => self.change_jitter(),
        }
    }

    async fn rest(&mut self) {
        let ms_max = if self.rng.random_ratio(1, 10) { 2_000 } else { 100 };
        let ms = self.rng.random_range(0..ms_max);
        cores::sleep(Duration::from_millis(ms)).await;
    }

    async fn propose(&mut self) {
        let leader = self.cluster.leader().map(|(id, _)| id);
        let running = self.running();
        let by_chance = self.one_of(&running);
        let to = if self.rng.random_ratio(4, 5) { leader.or(by_chance) } else { by_chance };
        let Some(id) = to else { return };
        for _ in 0..self.rng.random_range(1..=4) {
            self.proposed += 1;
            let label = format!("c{}", self.proposed);
            self.note(&format!("> propose {id} {label}"));
            self.cluster.propose(id, &label).await;
        }
    }

    fn cut(&mut self) {
        let ids = self.cluster.ids();
        let Some((one, other)) = self.one_of(&ids).zip(self.one_of(&ids)) else { return };
        let both = self.rng.random();
        if one == other {
            self.note(&format!("> isolate {one}"));
            for id in ids {
                self.cluster.network.cut((one, id));
                self.cluster.network.cut((id, one));
            }
            return;
        }
        self.note(&format!("> cut {one}{}{other}", if both { '-' } else { '>' }));
        self.cluster.network.cut((one, other));
        if both {
            self.cluster.network.cut((other, one));
        }
    }

    fn crash(&mut self) {
        let running = self.running();
        let count = if self.rng.random_ratio(1, 8) { running.len() } else { 1 };
        for _ in 0..count {
            let running = self.running();
            let Some(id) = self.one_of(&running) else { return };
            let loss = if self.rng.random() { Loss::All } else { Loss::Random };
            self.note(&format!("> crash {id} {loss:?}"));
            self.cluster.crash(id, loss);
        }
    }

    async fn restart(&mut self) {
        let down = self.down();
        let Some(id) = self.one_of(&down) else { return };
        self.note(&format!("> restart {id}"));
        self.cluster.start(id).await;
    }

    fn pause_disk(&mut self, is_paused: bool) {
        let running = self.running();
        let Some(id) = self.one_of(&running) else { return };
        self.note(&format!("> {} the disk of {id}", if is_paused { "pause" } else { "resume" }));
        self.cluster.pause_disk(id, is_paused);
    }

    async fn transfer(&mut self) {
        let running = self.running();
        let Some(id) = self.one_of(&running) else { return };
        self.note(&format!("> transfer {id}"));
        self.cluster.transfer(id).await;
    }

    async fn change_members(&mut self) {
        let Some(id) = self.one_of(&NODES) else { return };
        let number = self.rng.random::<u16>();
        match self.rng.random_range(0..5) {
            0 => self.finish_change(number),
            1 | 2 => {
                self.ensure(id).await;
                self.note(&format!("> add-learner {id}"));
                self.cluster.add_learner(id);
            }
            3 => {
                self.ensure(id).await;
                self.note(&format!("> promote {id}"));
                let changes = ChangeMembers::AddVoters(BTreeMap::from([(id, address(id))]));
                self.cluster.change_members(format!("promote {id} ({number})"), changes);
            }
            _ => {
                self.note(&format!("> remove {id}"));
                let changes = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
                self.cluster.change_members(format!("remove {id} ({number})"), changes);
            }
        }
    }

    /// Starts a node that there is none of yet.
    async fn ensure(&mut self, id: NodeId) {
        if !self.cluster.ids().contains(&id) {
            self.note(&format!("> start {id}"));
            self.cluster.start(id).await;
        }
    }

    fn finish_change(&mut self, number: u16) {
        self.note("> finish-change");
        self.cluster.finish_change(format!("finish-change ({number})"));
    }

    fn change_jitter(&mut self) {
        let ms = if self.rng.random() { self.rng.random_range(1..300) } else { 0 };
        self.note(&format!("> messages take up to {ms} ms more"));
        self.cluster.network.set_jitter(Duration::from_millis(ms));
    }

    /// What holds at any time.
    fn check(&mut self) {
        self.take_record();
        let lists = self.cluster.running().map(|(id, node)| (id, node.changes()));
        for (id, list) in lists.collect::<Vec<_>>() {
            let common = list.len().min(self.list.len());
            assert_eq!(list[..common], self.list[..common], "node {id} serves another list");
            if list.len() > self.list.len() {
                self.list = list;
            }
        }
    }

    /// Ends everything that is wrong, and waits until all is well.
    async fn recover(&mut self) {
        self.note("> recover");
        self.cluster.network.heal();
        self.cluster.network.set_jitter(Duration::ZERO);
        for id in self.cluster.ids() {
            self.cluster.pause_disk(id, false);
        }
        for id in self.down() {
            self.cluster.start(id).await;
        }
        let limit = Executor::current().elapsed() + RECOVERY;
        for attempt in 0.. {
            self.note_standings();
            assert!(Executor::current().elapsed() < limit, "it does not recover");
            self.finish_change(attempt);
            let label = format!("last-{attempt}");
            let leader = self.cluster.leader().map_or(1, |(id, _)| id);
            self.cluster.propose(leader, &label).await;
            cores::sleep(Duration::from_secs(1)).await;
            self.check();
            let acknowledged = matches!(self.cluster.outcomes()[&label], Outcome::Acknowledged(_));
            if acknowledged && self.lists_are_equal() {
                return self.switch_off_removed();
            }
        }
    }

    fn note_standings(&mut self) {
        for (id, node) in self.cluster.running().collect::<Vec<_>>() {
            let members = written(&node.membership());
            self.note(&format!("{id} {members} {:?}", node.standing()));
        }
    }

    /// Whether all members have the same list.
    fn lists_are_equal(&self) -> bool {
        let Some((_, leader)) = self.cluster.leader() else { return false };
        let members = leader.membership();
        let mut nodes = self.cluster.running().filter(|(id, _)| members.get_node(id).is_some());
        nodes.all(|(_, node)| node.changes() == self.list)
    }

    /// Ends the nodes that are no members: nobody tells them what became of what
    /// they proposed.
    fn switch_off_removed(&mut self) {
        let Some((_, leader)) = self.cluster.leader() else { return };
        let members = leader.membership();
        let nodes = self.running().into_iter().filter(|id| members.get_node(id).is_none());
        nodes.for_each(|id| self.cluster.crash(id, Loss::All));
    }

    /// What holds in the end.
    fn check_end(&mut self) {
        let mut at = BTreeMap::new();
        for (change, index) in self.list.iter().zip(1..) {
            assert_eq!(at.insert(change.clone(), index), None, "{change} is there twice");
        }
        for (label, outcome) in self.cluster.outcomes() {
            let at = at.get(&label).copied();
            match outcome {
                Outcome::Acknowledged(id) => assert_eq!(at, Some(id.0), "{label}: {outcome}"),
                Outcome::Refused => assert_eq!(at, None, "{label}: {outcome}"),
                Outcome::Unknown => {}
                Outcome::Pending => panic!("nobody says what became of {label}"),
            }
        }
        self.note(&format!("list: {}", self.list.join(" ")));
        for (id, checksum) in self.cluster.checksums() {
            self.note(&format!("disk of {id}: {checksum:08x}"));
        }
    }
}

#[test]
fn whatever_happens_nodes_agree_and_what_was_acknowledged_stays() {
    (0..SEEDS).for_each(|seed| drop(play(seed)));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(play(SEEDS), play(SEEDS));
}
