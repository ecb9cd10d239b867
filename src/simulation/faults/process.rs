//! Processes that are killed, stopped, paused and started again.

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::{disk::Loss, executor::Executor},
    simulation::{
        places::{client_address, process_of},
        plan::Shape,
        record::note,
        wire::{Link, Request},
        world::World,
    },
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Kills a node and cuts its power.
    Crash(NodeId, Loss),
    /// Kills all that run.
    CrashAll(Loss),
    /// Has it come to an end in order.
    Stop(NodeId),
    /// Starts one that does not run.
    Start(NodeId),
    /// Starts all.
    StartAll,
    /// It stands still.
    Pause(NodeId),
    /// Those that stood still go on.
    ResumeAll,
    /// Asks for another leader.
    Lead(NodeId),
}

impl Fault {
    pub fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        let node = shape.any_node(rng);
        let loss = [Loss::All, Loss::Random, Loss::Nothing][rng.random_range(0..3)];
        match rng.random_range(0..100) {
            0..22 => Self::Crash(node, loss),
            22..25 => Self::CrashAll(loss),
            25..33 => Self::Stop(node),
            33..60 => Self::Start(node),
            60..72 => Self::StartAll,
            72..80 => Self::Pause(node),
            80..90 => Self::ResumeAll,
            _ => Self::Lead(node),
        }
    }

    pub(super) async fn apply(&self, world: &World) {
        let places = &world.places;
        match *self {
            Self::Crash(node, loss) => {
                Executor::current().resume(process_of(node));
                places.crash(node, loss);
            }
            Self::CrashAll(loss) => {
                for node in places.running() {
                    Executor::current().resume(process_of(node));
                    places.crash(node, loss);
                }
            }
            Self::Stop(node) => places.stop(node),
            Self::Start(node) => places.start(node),
            Self::StartAll => places.all().for_each(|node| places.start(node)),
            Self::Pause(node) => Executor::current().pause(process_of(node)),
            Self::ResumeAll => heal(world),
            Self::Lead(node) => lead(world, node).await,
        }
    }
}

/// Asks some node that runs to have another lead.
async fn lead(world: &World, node: NodeId) {
    let Some(&asked) = world.places.running().first() else { return };
    let body = format!(r#"{{"id":{node}}}"#);
    let request = Request::with_body("POST", "/cluster/leader".to_owned(), body);
    let mut link = Link::new(client_address(asked));
    // Nobody waits for it: what comes next may be what hinders it.
    drop(crate::io::cores::spawn(async move {
        let heard = link.ask(&request).await;
        link.close();
        note(&format!("asked to lead: {heard:?}"));
    }));
}

/// Has those go on that stand still.
pub(super) fn heal(world: &World) {
    world.places.all().for_each(|node| Executor::current().resume(process_of(node)));
}
