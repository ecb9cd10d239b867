//! Disks that hang, are slow or full, fail, lose power at any step, rot, and are lost.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::{
            disk::{Faults, Loss, SimDisk},
            executor::{Executor, SURROUNDINGS, spawn_in},
        },
    },
    simulation::{
        ending::until_caught_up,
        places::{Places, client_address, process_of, usual},
        plan::Shape,
        record::note,
        world::World,
    },
};

/// Steps that a disk may take until its power is cut: as many as are taken within a second.
const STEPS_MAX: u64 = 2_000;
/// The same off the core: a checkpoint takes a dozen.
const STEPS_OFF_CORE_MAX: u64 = 30;

/// It is whole again within that once nothing is wrong.
const WHOLE_AGAIN: Duration = Duration::from_secs(30);
/// A leader is heard within that, start included.
const HEARD: Duration = Duration::from_secs(2);

/// What of a disk fails now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Writes,
    Reads,
    Syncs,
    DirectorySyncs,
    Removals,
    Renames,
}

const PARTS: [Part; 6] =
    [Part::Writes, Part::Reads, Part::Syncs, Part::DirectorySyncs, Part::Removals, Part::Renames];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing goes on.
    Hang(NodeId),
    /// An operation takes up to so long.
    Slow(NodeId, Duration),
    /// So many bytes more may be written.
    Fill(NodeId, u64),
    /// So many of a hundred operations fail.
    Fail(NodeId, Part, u32),
    /// Nothing can be opened.
    NoDescriptors(NodeId),
    /// The power goes after so many steps.
    CutPower(NodeId, u64, Loss),
    /// The power goes after so many steps of work off the core.
    CutPowerOffCore(NodeId, u64, Loss),
    /// A bit flips.
    Rot(NodeId),
    /// A file is gone.
    Vanish(NodeId),
    /// So many of a hundred writes get lost, or go elsewhere.
    Misdirect(NodeId, u32),
    /// The node loses its disk, and is started with another.
    Wipe(NodeId),
    /// The disk is copied.
    Copy(NodeId),
    /// The node is started on that copy, if there is one.
    GoBack(NodeId),
    /// The same while all else is well, as an operator does it: of a leader that nobody
    /// hears on the copy no cluster can know what it acknowledged.
    PutBack(NodeId),
    /// All is well with the disks.
    Heal,
}

impl Fault {
    pub fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        let node = shape.any_node(rng);
        let loss = [Loss::All, Loss::Random, Loss::Random, Loss::Nothing][rng.random_range(0..4)];
        if let Some(node) = spoilable(rng, shape)
            && rng.random_ratio(1, 5)
        {
            return match rng.random_range(0..7) {
                0 => Self::Rot(node),
                6 => Self::Vanish(node),
                1 => Self::Misdirect(node, rng.random_range(1..50)),
                2 => Self::Wipe(node),
                3 | 4 => Self::Copy(node),
                _ => Self::PutBack(node),
            };
        }
        Self::that_spares_data(rng, shape, node, loss)
    }

    /// One that leaves what is durable.
    pub fn that_spares_data(rng: &mut StdRng, shape: &Shape, node: NodeId, loss: Loss) -> Self {
        match rng.random_range(0..100) {
            0..12 => Self::Hang(node),
            12..22 => Self::Slow(node, Duration::from_millis(rng.random_range(1..2_000))),
            22..34 => Self::Fill(node, rng.random_range(0..2 * shape.setup.segment_bytes)),
            34..50 => {
                let part = PARTS[rng.random_range(0..PARTS.len())];
                Self::Fail(node, part, rng.random_range(1..=100))
            }
            50..55 => Self::NoDescriptors(node),
            55..67 => Self::CutPower(node, rng.random_range(0..STEPS_MAX), loss),
            67..77 => Self::CutPowerOffCore(node, rng.random_range(0..STEPS_OFF_CORE_MAX), loss),
            _ => Self::Heal,
        }
    }

    /// Says whether anything was done.
    pub(super) async fn apply(&self, world: &World) -> bool {
        let places = &world.places;
        let change = |node: NodeId, change: &dyn Fn(&mut Faults)| {
            places.disk(node).change_faults(change);
        };
        match *self {
            Self::Hang(node) => hang(places, node),
            Self::Slow(node, time) => change(node, &|faults| faults.latency_max = time),
            Self::Fill(node, left) => {
                let used: usize = places.disk(node).snapshot().values().map(Vec::len).sum();
                change(node, &|faults| faults.capacity = Some(used as u64 + left));
            }
            Self::Fail(node, part, percent) => {
                if part == Part::Reads {
                    places.misread(node);
                }
                change(node, &|faults| fail(faults, part, f64::from(percent) / 100.0));
            }
            Self::NoDescriptors(node) => change(node, &|faults| faults.no_descriptors = true),
            Self::CutPower(node, steps, loss) => {
                places.disk(node).cut_power_after(steps);
                crash_when_dead(world, node, loss);
            }
            Self::CutPowerOffCore(node, steps, loss) => {
                places.disk(node).cut_power_off_core_after(steps);
                crash_when_dead(world, node, loss);
            }
            Self::Rot(node) => {
                places.spoil(node);
                let place = places.disk(node).rot_written();
                note(&format!("a bit flips: {place:?}"));
                return place.is_some();
            }
            Self::Vanish(node) => {
                places.spoil(node);
                let name = places.disk(node).vanish();
                note(&format!("a file is gone: {name:?}"));
                return name.is_some();
            }
            Self::Misdirect(node, percent) => {
                places.spoil(node);
                change(node, &|faults| {
                    faults.lost_write = f64::from(percent) / 200.0;
                    faults.misdirected_write = f64::from(percent) / 200.0;
                });
            }
            Self::Wipe(node) => {
                places.replace_disk(node, empty());
                places.start(node);
            }
            Self::Copy(node) => places.keep_copy(node),
            Self::GoBack(node) => return go_back(places, node),
            Self::PutBack(node) => return put_back(world, node).await,
            Self::Heal => heal(world),
        }
        true
    }
}

/// Has nothing go on on a disk.
pub(super) fn hang(places: &Places, node: NodeId) {
    places.disk(node).change_faults(|faults| faults.hangs = true);
    Executor::current().hold_off_core(process_of(node), true);
}

fn go_back(places: &Places, node: NodeId) -> bool {
    let had_copy = places.go_back(node);
    if had_copy {
        places.start(node);
    }
    had_copy
}

/// Puts a copy in the place of a disk, and has the leader heard on it before anything else
/// goes wrong.
async fn put_back(world: &World, node: NodeId) -> bool {
    let places = &world.places;
    super::heal(world);
    places.all().for_each(|node| places.start(node));
    let leader = cores::within(WHOLE_AGAIN, until_caught_up(places)).await.flatten();
    if leader.is_none_or(|leader| leader == client_address(node)) {
        note("no other node leads a cluster that is whole");
        return false;
    }
    let had_copy = go_back(places, node);
    if had_copy {
        cores::sleep(HEARD).await;
    }
    had_copy
}

/// A node whose data may be lost: they are a minority, always of the same nodes.
fn spoilable(rng: &mut StdRng, shape: &Shape) -> Option<NodeId> {
    let some: Vec<NodeId> = shape.minority().collect();
    (!some.is_empty()).then(|| some[rng.random_range(0..some.len())])
}

fn empty() -> SimDisk {
    SimDisk::new(Executor::current().rng().random())
}

fn fail(faults: &mut Faults, part: Part, chance: f64) {
    let part = match part {
        Part::Writes => &mut faults.write_error,
        Part::Reads => &mut faults.read_error,
        Part::Syncs => &mut faults.sync_error,
        Part::DirectorySyncs => &mut faults.directory_sync_error,
        Part::Removals => &mut faults.remove_error,
        Part::Renames => &mut faults.rename_error,
    };
    *part = chance;
}

/// Has a node whose disk lost its power lose it, too.
fn crash_when_dead(world: &World, node: NodeId, loss: Loss) {
    let (places, disk) = (world.places.clone(), world.places.disk(node));
    drop(spawn_in(SURROUNDINGS, async move {
        disk.died().await;
        if places.disk(node).is(&disk) {
            note(&format!("the power of node {node} goes"));
            places.crash(node, loss);
        }
    }));
}

/// Disks are as usual; a node that saw one fail is started again on it, and one that lost
/// data with another.
pub(super) fn heal(world: &World) {
    let places = &world.places;
    for node in places.every() {
        Executor::current().hold_off_core(process_of(node), false);
        if places.is_spoiled(node) {
            note(&format!("node {node} gets another disk"));
            places.replace_disk(node, empty());
            places.start(node);
            continue;
        }
        let disk = places.disk(node);
        disk.set_faults(usual());
        disk.keep_power();
        places.restart_if_disk_failed(node);
    }
}
