//! Processes that are killed, stopped, paused and started again.

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::{disk::Loss, executor::Executor},
    simulation::{places::process_of, plan::Shape, wire::Request, world::World},
};

use super::members::{number_of, order};

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

    /// Says whether anything was done.
    pub(super) async fn apply(&self, world: &World) -> bool {
        let places = &world.places;
        match *self {
            Self::Crash(node, loss) => {
                let runs = places.runs(node);
                Executor::current().resume(process_of(node));
                places.crash(node, loss);
                runs
            }
            Self::CrashAll(loss) => {
                let running: Vec<NodeId> =
                    places.serving().filter(|&node| places.runs(node)).collect();
                for &node in &running {
                    Executor::current().resume(process_of(node));
                    places.crash(node, loss);
                }
                !running.is_empty()
            }
            Self::Stop(node) => {
                places.stop(node);
                places.runs(node)
            }
            Self::Start(node) => {
                let runs = places.runs(node);
                places.start(node);
                !runs && places.runs(node)
            }
            Self::StartAll => {
                let down: Vec<NodeId> =
                    places.serving().filter(|&node| !places.runs(node)).collect();
                down.iter().for_each(|&node| places.start(node));
                !down.is_empty()
            }
            Self::Pause(node) => {
                Executor::current().pause(process_of(node));
                places.runs(node)
            }
            Self::ResumeAll => {
                heal(world);
                true
            }
            Self::Lead(node) => lead(world, node).await,
        }
    }
}

/// Asks some node that runs to have another lead.
async fn lead(world: &World, node: NodeId) -> bool {
    let Some(id) = number_of(&world.places, node).await else { return false };
    let Some(&asked) = world.places.running().first() else { return false };
    let body = format!(r#"{{"id":{id}}}"#);
    let request = Request::with_body("POST", "/cluster/leader".to_owned(), body);
    order(world, "hand leadership over", asked, request);
    true
}

/// Has those go on that stand still.
pub(super) fn heal(world: &World) {
    world.places.every().for_each(|node| Executor::current().resume(process_of(node)));
}
