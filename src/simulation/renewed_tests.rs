//! An origin is lost, and another history begins in its place, while three levels of copies follow
//! it and are killed now and then: each shows the one, then the other, never both and none again.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};

use super::{
    client::{Client, FIRST_PROCESS, Shared},
    copies::CopyPlan,
    faults,
    history::{Asked, Consistency, Filter, New, Place, Told},
    oracle::{self, Found},
    plan::Plan,
    planted::plans::{NOBODY, plan},
    record::{note, take_trace, with_logs},
    world::{LIMIT, World},
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        cores,
        simulated::{
            cores::JoinHandle,
            disk::SimDisk,
            executor::{self, Executor, spawn_in},
        },
    },
};

/// How many seeds are always run.
const SEEDS: u64 = 1;
/// The node that is lost.
const ORIGIN: u64 = 1;
/// How many things go wrong before it is, and after.
const STEPS: [usize; 2] = [6, 10];
/// The longest time between two of them.
const PAUSE: Duration = Duration::from_millis(1_200);
/// In so long all copies have the history of the origin.
const SAME: Duration = Duration::from_secs(30);
/// How long clients rest.
const REST: Duration = Duration::from_millis(250);

fn tree(rng: &mut StdRng) -> Plan {
    let mut plan = plan(rng, 1, NOBODY, Vec::new());
    plan.copies = (1..=3).map(|origin| CopyPlan::of(&[origin])).collect();
    plan
}

fn attempt(seed: u64) -> Vec<Found> {
    drop(take_trace());
    with_logs(|| {
        executor::run(seed, async {
            let plan = tree(&mut Executor::current().rng());
            let world = World::new(&plan);
            run(&world, &plan).await
        })
    })
}

async fn run(world: &World, plan: &Plan) -> Vec<Found> {
    let shared = world.shared();
    world.form().await;
    world.places.copies().for_each(|copy| world.places.start(copy));
    let ended = Rc::new(Cell::new(false));
    let mut clients: Vec<_> =
        world.places.serving().map(|node| start(shared, 20 + node, node, &ended)).collect();
    phase(world, plan, STEPS[0]).await;
    // Nobody but the origin may have what came last.
    let mut client = Client::new(1, shared.clone());
    client.read(ORIGIN, Filter::default(), 0, Consistency::Strong, "&limit=1000").await;
    note("> the origin begins another history");
    world.places.renew(ORIGIN, SimDisk::new(Executor::current().rng().random()));
    phase(world, plan, STEPS[1]).await;
    faults::heal(world);
    let same = async {
        while !all_show_the_same(world, shared).await {
            world.places.serving().for_each(|node| world.places.start(node));
            cores::sleep(REST).await;
        }
    };
    assert!(cores::within(SAME, same).await.is_some(), "all is well, and a copy is not the same");
    client.read(ORIGIN, Filter::default(), 0, Consistency::Strong, "&limit=1000").await;
    ended.set(true);
    for client in clients.drain(..) {
        client.await;
    }
    let settings = oracle::Settings { first_copy: Some(plan.shape.copy(0)), ..Default::default() };
    let found = oracle::check_each(&shared.record.take_history(), settings);
    found.unwrap_or_else(|violation| panic!("{violation}"))
}

/// A client that reads all of a node again and again.
fn start(shared: &Shared, id: u64, node: u64, ended: &Rc<Cell<bool>>) -> JoinHandle<()> {
    let (mut client, ended) = (Client::new(id, shared.clone()), Rc::clone(ended));
    spawn_in(FIRST_PROCESS + id, async move {
        while !ended.get() {
            let more = format!("&limit={LIMIT}");
            client.read(node, Filter::default(), 0, Consistency::Local, &more).await;
            cores::sleep(REST).await;
        }
    })
}

/// Writes go on while so many things go wrong with copies.
async fn phase(world: &World, plan: &Plan, steps: usize) {
    let (shared, ended) = (world.shared(), Rc::new(Cell::new(false)));
    let writers: Vec<_> =
        world.places.serving().map(|node| write(shared, 40 + node, node, &ended)).collect();
    let mut rng = Executor::current().rng();
    for _ in 0..steps {
        cores::sleep(rng.random_range(Duration::ZERO..PAUSE)).await;
        let fault = faults::copies::draw(&mut rng, &plan.shape, &plan.copies);
        note(&format!("> {fault:?}"));
        Box::pin(fault.apply(world)).await;
    }
    ended.set(true);
    for writer in writers {
        writer.await;
    }
}

fn write(shared: &Shared, id: u64, node: u64, ended: &Rc<Cell<bool>>) -> JoinHandle<()> {
    let (mut client, ended) = (Client::new(id, shared.clone()), Rc::clone(ended));
    spawn_in(FIRST_PROCESS + id, async move {
        while !ended.get() {
            let new = client.new_at(Place::default());
            client.ask(node, Asked::Append(vec![new])).await;
            cores::sleep(REST).await;
        }
    })
}

/// Whether all show a change that the origin takes now.
async fn all_show_the_same(world: &World, shared: &Shared) -> bool {
    let mut client = Client::new(2, shared.clone());
    let new: New = client.new_at(Place::default());
    let told = client.ask(ORIGIN, Asked::Append(vec![new])).await;
    let Told::Done { first, .. } = told else { return false };
    for node in world.places.serving() {
        let least = Consistency::AtLeast(first);
        let read = client.read(node, Filter::default(), first - 1, least, "&limit=1").await;
        let label = format!("\"w\":{},", new.label);
        let Told::Page { changes, .. } = read else { return false };
        if !changes.iter().any(|seen| seen.text.contains(&label)) {
            return false;
        }
    }
    true
}

#[test]
fn copies_show_one_history_and_then_the_other() {
    let from = super::tests::given("FROM").unwrap_or(0);
    let to = super::tests::given("TO").unwrap_or(from + SEEDS);
    for seed in from..to {
        let found = catch_unwind(AssertUnwindSafe(|| attempt(seed)));
        let found = found.unwrap_or_else(|_| panic!("{}\nseed {seed} fails", take_trace()));
        assert_eq!(found.len(), 2, "seed {seed}: {found:?}");
    }
}

#[test]
fn copy_of_another_history() {
    let rules = ["a copy is not the same", "one order", "no acknowledged loss", "no phantom"];
    prove(Bug::CopyOtherHistory, 1..3, &rules, |seed| drop(attempt(seed)));
}
