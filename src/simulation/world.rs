//! One run from its seed to its verdict: nodes are started and made a cluster, clients and
//! faults do what was planned, all is healed, and what the clients were told is judged.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use rand::rngs::StdRng;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    client::{self, Client, Shared},
    copies,
    coverage::Coverage,
    ending,
    faults::{self, clock},
    history::{Asked, Consistency, Filter, New, Numbered, Place, Told},
    oracle::{self, Found},
    places::{Places, Presence, Setup, client_address, process_of},
    plan::Plan,
    record::{Record, note, take_trace, with_logs},
    wire::{Heard, Link, Request},
};
use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::{
            cores::JoinHandle,
            executor::{self, Executor},
            tally,
        },
    },
};

/// In so long nodes are to become a cluster, in which nothing is wrong yet.
const FORMATION: Duration = Duration::from_secs(60);
/// In so long after everything is well again all nodes are to serve all that there is.
pub(super) const RECOVERY: Duration = Duration::from_secs(120);
/// How often is looked meanwhile whether what clients were shown can be true.
const RECOVERY_LOOKS: u32 = 12;
/// In so long all clients have come to an end.
const CLIENTS_END: Duration = Duration::from_secs(90);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);
/// The most changes that are read at once.
pub(super) const LIMIT: u64 = 1_000;

/// A run as those who change it see it.
pub struct World {
    pub places: Places,
    shared: Shared,
    numbered: RefCell<Vec<Numbered>>,
}

/// The cluster as a node describes it.
#[derive(Deserialize)]
struct Cluster {
    cluster: Uuid,
    node: u64,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub trace: String,
    pub found: Found,
    pub coverage: Coverage,
}

/// Runs what a seed decides.
///
/// # Panics
/// When something is not as it must be; the trace is printed then.
pub fn run(seed: u64) -> Report {
    let printed = PrintedOnPanic(seed);
    let report = attempt(seed);
    drop(printed);
    report
}

/// The same without a word.
///
/// # Panics
/// When something is not as it must be.
pub fn attempt(seed: u64) -> Report {
    attempt_planned(seed, Plan::draw)
}

/// Runs a plan that `draw` makes of a seed.
///
/// # Panics
/// When something is not as it must be; the trace is printed then.
pub fn run_planned(seed: u64, draw: impl Fn(&mut StdRng) -> Plan) -> Report {
    let printed = PrintedOnPanic(seed);
    let report = attempt_planned(seed, draw);
    drop(printed);
    report
}

/// The same, which says nothing but what comes of it.
///
/// # Panics
/// When something is not as it must be.
pub fn attempt_planned(seed: u64, draw: impl Fn(&mut StdRng) -> Plan) -> Report {
    drop((take_trace(), tally::take()));
    let (found, coverage) = with_logs(|| {
        executor::run(seed, async {
            let plan = draw(&mut Executor::current().rng());
            note(&format!("seed {seed}: {plan}"));
            let world = World::new(&plan);
            (world.run(&plan).await, world.coverage())
        })
    });
    Report { trace: take_trace(), found, coverage }
}

/// Gives a node a clock of its own.
fn set_clock(node: NodeId) {
    let executor = Executor::current();
    let mut rng = executor.rng();
    let (ahead, drift) = (clock::any_step(&mut rng), clock::any_drift(&mut rng));
    executor.change_clock(process_of(node), |clock, now| {
        clock.step_wall(ahead);
        clock.set_drift(now, drift);
    });
}

struct PrintedOnPanic(u64);

impl Drop for PrintedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            println!("{}", take_trace());
            println!(
                "seed {seed} fails; SEED={seed} cargo test --lib simulation::tests::one_seed -- --nocapture"
            );
        }
    }
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let places = Places::default();
        for node in 1..=plan.shape.places() {
            // A node that comes later may come for either.
            let is_early = plan.shape.is_early(node);
            let votes = node <= plan.shape.voters || (!is_early && node % 2 == 0);
            let presence = if is_early { Presence::Present } else { Presence::Absent };
            places.add(Setup { votes, ..plan.shape.setup }, presence);
            set_clock(node);
        }
        copies::add(plan, &places);
        places.copies().for_each(set_clock);
        let (record, ended) = (Record::default(), Rc::new(Cell::new(false)));
        let (estate, habits) = (Rc::default(), plan.crowd.habits);
        let secrets = Rc::default();
        let shared = Shared { places: places.clone(), record, estate, habits, secrets, ended };
        Self { places, shared, numbered: RefCell::default() }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// How often each thing happened in the run.
    fn coverage(&self) -> Coverage {
        let mut coverage = self.record().take_coverage();
        tally::take().iter().for_each(|(event, count)| coverage.add(&format!("{event:?}"), *count));
        coverage
    }

    async fn run(&self, plan: &Plan) -> Found {
        self.form().await;
        client::prepare(&self.shared).await;
        self.places.copies().for_each(|copy| self.places.start(copy));
        let archive = self.archive();
        let clients = client::start(plan.crowd, &self.shared);
        for (after, fault) in &plan.steps {
            cores::sleep(*after).await;
            note(&format!("> {fault:?}"));
            // Apart, as each fault has a future of its own.
            if Box::pin(fault.apply(self)).await {
                self.record().count(&fault.name());
            }
        }
        if !plan.minority.is_empty() {
            note(&format!("> all but these are well: {:?}", plan.minority));
            faults::heal(self);
            plan.minority.iter().for_each(|(node, broken)| broken.apply(*node, self));
            let is_well = |node: &NodeId| plan.minority.iter().all(|(other, _)| other != node);
            self.recover(self.places.all().filter(is_well).collect()).await;
        }
        note("> heal");
        faults::heal(self);
        self.recover(self.places.serving().collect()).await;
        self.take_in_the_last().await;
        self.shared.ended.set(true);
        let over = async {
            for client in clients.into_iter().chain(archive) {
                client.await;
            }
        };
        assert!(cores::within(CLIENTS_END, over).await.is_some(), "a client does not end");
        let newest = ending::read_all(&self.shared).await;
        ending::agree(&self.shared).await;
        ending::first_attempts(&self.shared, newest).await;
        if plan.is_retained() {
            ending::be_retained(&self.shared).await;
        }
        if plan.is_erased() {
            ending::be_erased(&self.shared).await;
        }
        ending::be_quiet(&self.shared).await;
        let retained_min = plan.shape.setup.retention.map(|retention| retention.min_changes);
        let first_copy = Some(plan.shape.copy(0));
        let settings = oracle::Settings { retained_min, tells_previous: true, first_copy };
        let history = self.record().take_history();
        let found = oracle::check(&history, settings);
        let found = oracle::check_numbers(&self.numbered.borrow()).and(found);
        let ages = oracle::check_ages(&history, &self.record().times(), &copies::roots(plan));
        let found = found.and_then(|found| Ok(oracle::Found { ages: ages?, ..found }));
        let found = found.unwrap_or_else(|violation| panic!("{violation}"));
        note(&format!("{found:?}"));
        found
    }

    /// Starts all nodes, and waits until they are one cluster.
    pub(super) async fn form(&self) {
        let count = self.places.count();
        self.places.all().for_each(|node| self.places.start(node));
        let mut link = Link::new(client_address(1));
        let formed = async {
            loop {
                cores::sleep(LOOK).await;
                let heard = link.ask(&Request::get("/cluster/members".to_owned())).await;
                let Heard::Answer(answer) = heard else { continue };
                let learners = answer.body.matches(r#""role":"learner""#).count() as u64;
                let voters = answer.body.matches(r#""role":"voter""#).count() as u64;
                let to_vote = self.places.all().filter(|node| self.places.votes(*node)).count();
                if voters == to_vote as u64 && voters + learners == count {
                    return;
                }
            }
        };
        assert!(cores::within(FORMATION, formed).await.is_some(), "no cluster is formed");
        link.close();
        note("the cluster is formed");
    }

    /// Clients that read everything at each node as it goes on.
    fn archive(&self) -> Vec<JoinHandle<()>> {
        let archivist = |node| {
            let (shared, id) = (self.shared.clone(), 100 + node);
            executor::spawn_in(client::FIRST_PROCESS + id, async move {
                let mut client = Client::new(id, shared.clone());
                let mut since = 0;
                while !shared.ended.get() {
                    if matches!(shared.places.presence(node), Presence::Absent | Presence::Alone) {
                        cores::sleep(LOOK).await;
                        continue;
                    }
                    let more = format!("&limit={LIMIT}&block=2");
                    let read = client
                        .read(node, Filter::default(), since, Consistency::Local, &more)
                        .await;
                    match read {
                        Told::Page { last, .. } => since = last,
                        Told::Purged { first } => since = first.saturating_sub(1),
                        _ => cores::sleep(LOOK).await,
                    }
                }
            })
        };
        self.places.every().map(archivist).collect()
    }

    /// Starts those nodes, and waits until each takes a write and shows it.
    async fn recover(&self, nodes: Vec<NodeId>) {
        let recovered = async {
            for &node in &nodes {
                self.is_well(node, &nodes).await;
            }
        };
        let mut recovered = pin!(recovered);
        for _ in 0..RECOVERY_LOOKS {
            if cores::within(RECOVERY / RECOVERY_LOOKS, recovered.as_mut()).await.is_some() {
                return;
            }
            // What somebody was shown already may be why, and is wrong for good.
            if let Some(violation) = self.shared.record.with_history(oracle::Truth::of).err() {
                panic!("{violation}, and not all of {nodes:?} serve yet");
            }
        }
        panic!("all is well with {nodes:?}, and not all of them serve");
    }

    /// Asks each node that runs for its number; says whether one told.
    pub async fn ask_numbers(&self) -> bool {
        let mut has_told = false;
        for node in self.places.running() {
            let begun = self.places.begun(node);
            let mut link = Link::new(client_address(node));
            let heard = link.ask(&Request::get("/cluster".to_owned())).await;
            link.close();
            let Heard::Answer(answer) = heard else { continue };
            let Ok(Cluster { cluster, node: number }) = serde_json::from_str(&answer.body) else {
                continue;
            };
            note(&format!("node {node}, begun {begun} times, is number {number} of {cluster}"));
            self.numbered.borrow_mut().push(Numbered { node, begun, cluster, number });
            has_told = true;
        }
        has_told
    }

    /// Waits until those that were to be taken in are, and serve.
    async fn take_in_the_last(&self) {
        let alone = self.places.are(Presence::Alone);
        let taken_in = async {
            while !self.places.are(Presence::Alone).is_empty() {
                cores::sleep(LOOK).await;
            }
        };
        let taken_in = cores::within(RECOVERY, taken_in).await;
        assert!(taken_in.is_some(), "all is well, and {alone:?} are not taken in");
        self.recover(alone).await;
    }

    /// Waits until one of `nodes`, which are to run, takes a write and shows all that there
    /// is.
    async fn is_well(&self, node: NodeId, nodes: &[NodeId]) {
        let mut client = Client::new(200 + node, self.shared.clone());
        loop {
            // A stop may have been under way, or a disk may have failed what was begun before it
            // was well again: of this one or of one that it needs.
            nodes.iter().for_each(|&node| self.places.restart_if_disk_failed(node));
            nodes.iter().for_each(|&node| self.places.start(node));
            let label = self.shared.record.label();
            let asked = Asked::Append(vec![New { label, place: Place::default() }]);
            if let Told::Done { first, .. } = client.ask(node, asked).await {
                let (all, since) = (Filter::default(), first - 1);
                let read = client.read(node, all, since, Consistency::Strong, "&limit=1").await;
                if matches!(read, Told::Page { .. }) {
                    return;
                }
            }
            cores::sleep(LOOK).await;
        }
    }
}
