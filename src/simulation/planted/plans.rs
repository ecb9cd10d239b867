//! Runs in which what shows a bug comes together: few nodes, few faults, and the clients that
//! notice. Node 1 leads at first, as it founds the cluster.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::disk::Loss,
    node::retention::Retention,
    simulation::{
        client::{Crowd, Habits},
        faults::{Fault, clock, disk, members, network, process},
        places::Setup,
        plan::{Broken, Plan, Shape},
    },
};

const SEGMENT_BYTES: u64 = 32 << 10;
/// More than the clocks of nodes are apart.
const HALF_AN_HOUR_MICROS: i64 = 1_800_000_000;

/// Nobody but those that follow all along.
pub(in crate::simulation) const NOBODY: Crowd = Crowd {
    writers: 0,
    keepers: 0,
    readers: 0,
    followers: 0,
    makers: 0,
    rude: 0,
    copiers: 0,
    erasers: 0,
    retainers: 0,
    backward: 0,
    combined: 0,
    mirrors: 0,
    habits: Habits { tries: 6, keyed: (1, 3), recalls: false },
};

/// What happens to `voters`, each so many milliseconds after the one before, or a little later.
pub(in crate::simulation) fn plan(
    rng: &mut StdRng,
    voters: u64,
    crowd: Crowd,
    steps: Vec<(u64, Fault)>,
) -> Plan {
    let segment_bytes = SEGMENT_BYTES;
    let setup = Setup { cores: 1, segment_bytes, retention: None, votes: true };
    let later = |(after, fault): (u64, Fault)| {
        (Duration::from_millis(rng.random_range(after..=after + after / 2)), fault)
    };
    let steps = steps.into_iter().map(later).collect();
    Plan {
        shape: Shape { voters, learners: 0, late: 0, setup },
        crowd,
        steps,
        minority: Vec::new(),
        copies: Vec::new(),
    }
}

pub(super) fn with_retention(mut plan: Plan, min_changes: u64) -> Plan {
    plan.shape.setup.retention = Some(Retention { min_changes, min_age: Duration::ZERO });
    plan
}

fn isolate(node: NodeId) -> Fault {
    Fault::Network(network::Fault::Isolate(node))
}

pub(super) fn block(from: NodeId, to: NodeId) -> Fault {
    Fault::Network(network::Fault::Block(from, to))
}

pub(super) fn slow_network(ms: u64) -> Fault {
    Fault::Network(network::Fault::Slow(Duration::from_millis(ms)))
}

/// All connections between two break.
pub(super) fn cut(one: NodeId, other: NodeId) -> Fault {
    Fault::Network(network::Fault::Cut(one, other, 100))
}

pub(super) fn slow_disk(node: NodeId, ms: u64) -> Fault {
    Fault::Disk(disk::Fault::Slow(node, Duration::from_millis(ms)))
}

pub(super) fn crash(node: NodeId, loss: Loss) -> Fault {
    Fault::Process(process::Fault::Crash(node, loss))
}

pub(super) fn start(node: NodeId) -> Fault {
    Fault::Process(process::Fault::Start(node))
}

fn step_clock(node: NodeId, micros: i64) -> Fault {
    Fault::Clock(clock::Fault::Step(node, micros))
}

pub(super) fn heal_network() -> Fault {
    Fault::Network(network::Fault::Heal)
}

/// Nothing but clients, at one node.
pub(super) fn quiet(rng: &mut StdRng) -> Plan {
    let habits = Habits { keyed: (1, 2), ..Habits::default() };
    let crowd = Crowd { writers: 3, keepers: 4, readers: 6, followers: 1, habits, ..NOBODY };
    plan(rng, 1, crowd, vec![(4_000, heal_network())])
}

/// Tenants and collections come and go at a lone node.
pub(super) fn coming_and_going(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, keepers: 1, readers: 2, makers: 4, ..NOBODY };
    plan(rng, 1, crowd, vec![(6_000, heal_network())])
}

/// Plain writes that wait for a slow disk together.
pub(super) fn batches(rng: &mut StdRng) -> Plan {
    let habits = Habits { keyed: (0, 1), ..Habits::default() };
    let crowd = Crowd { writers: 3, habits, ..NOBODY };
    plan(rng, 1, crowd, vec![(0, slow_disk(1, 150)), (30_000, heal_network())])
}

/// Keys expire while they are written anew, on a slow disk.
pub(super) fn expiring(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { keepers: 6, readers: 1, ..NOBODY };
    plan(rng, 1, crowd, vec![(0, slow_disk(1, 150)), (30_000, heal_network())])
}

/// Followers have what they hear a while before they have it durably.
pub(super) fn lagging(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, keepers: 3, readers: 4, ..NOBODY };
    let steps = vec![(0, slow_disk(2, 500)), (0, slow_disk(3, 500)), (5_000, heal_network())];
    plan(rng, 3, crowd, steps)
}

/// A leader is cut off from the others for a while, and not from clients.
pub(super) fn isolated_leader(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, keepers: 3, readers: 4, ..NOBODY };
    plan(rng, 3, crowd, vec![(500, isolate(1)), (4_000, heal_network()), (500, heal_network())])
}

/// A leader is cut off with a learner, and goes on sending to it.
pub(super) fn isolated_with_learner(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let apart = Fault::Network(network::Fault::Partition(vec![1, 4]));
    let mut plan = plan(rng, 3, crowd, vec![(1_000, apart), (3_000, heal_network())]);
    plan.shape.learners = 1;
    plan
}

/// A follower whose disk hangs is sent what the others have; it loses that, and gets it again
/// slowly.
pub(super) fn hanging_follower(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let narrow = |from| Fault::Network(network::Fault::Narrow(from, 3, 3_000));
    let steps = vec![
        (1_000, Fault::Disk(disk::Fault::Hang(3))),
        (1_500, crash(3, Loss::All)),
        (0, narrow(1)),
        (0, narrow(2)),
        (0, Fault::Disk(disk::Fault::Heal)),
        (100, start(3)),
        (3_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// A follower is started again where it hears nobody.
pub(super) fn started_apart(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let steps = vec![
        (1_500, crash(3, Loss::Nothing)),
        (0, isolate(3)),
        (100, start(3)),
        (3_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// The time of day goes back before a leader is started again.
pub(super) fn time_goes_back(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, ..NOBODY };
    let steps = vec![
        (1_000, step_clock(1, -HALF_AN_HOUR_MICROS)),
        (100, crash(1, Loss::Nothing)),
        (100, start(1)),
        (1_000, heal_network()),
    ];
    plan(rng, 1, crowd, steps)
}

/// A leader whose clock is ahead is followed by one that has not applied all that it sent, and
/// for which writes wait.
pub(super) fn clock_ahead(rng: &mut StdRng) -> Plan {
    let habits = Habits { keyed: (1, 1), ..Habits::default() };
    let crowd = Crowd { writers: 8, habits, ..NOBODY };
    let steps = vec![
        (0, step_clock(1, HALF_AN_HOUR_MICROS)),
        (0, slow_network(60)),
        (1_500, crash(1, Loss::Nothing)),
        (3_000, start(1)),
        (0, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// Old requests are repeated under their keys, at nodes that have not applied them yet.
pub(super) fn repeated(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, habits: RECALLING, ..NOBODY };
    let steps = vec![(0, slow_disk(2, 500)), (0, slow_disk(3, 500)), (4_000, heal_network())];
    plan(rng, 3, crowd, steps)
}

const RECALLING: Habits = Habits { tries: 2, keyed: (1, 1), recalls: true };

/// The ways of followers to their leader break now and then while writes are under way.
pub(super) fn broken_ways(rng: &mut StdRng) -> Plan {
    let habits = Habits { keyed: (0, 1), ..Habits::default() };
    let crowd = Crowd { writers: 4, habits, ..NOBODY };
    let cut = || Fault::Network(network::Fault::CutAll(100));
    let mut steps = vec![(0, slow_network(50))];
    steps.extend((0..8).map(|_| (500, cut())));
    plan(rng, 3, crowd, steps)
}

/// The leader dies while it has writes of the others, who cannot have another for longer than
/// these are tried again; clients do not ask twice.
pub(super) fn dead_leader(rng: &mut StdRng) -> Plan {
    let habits = Habits { tries: 1, keyed: (1, 1), recalls: false };
    let crowd = Crowd { writers: 8, habits, ..NOBODY };
    let steps = vec![
        (0, slow_network(60)),
        (1_500, block(2, 3)),
        (0, block(3, 2)),
        (0, crash(1, Loss::Nothing)),
        (3_000, start(1)),
        (0, heal_network()),
        (1_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// One that lacks what was acknowledged stands for election together with one that has it.
pub(super) fn lagging_candidate(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let steps = vec![
        (500, block(1, 3)),
        (1_500, crash(1, Loss::Nothing)),
        (3_000, start(1)),
        (0, heal_network()),
        (1_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// A lone node of much history, little of which is kept, loses its power again and again.
pub(super) fn purging(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, keepers: 3, habits: RECALLING, ..NOBODY };
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push((1_500, crash(1, Loss::All)));
        steps.push((50, start(1)));
    }
    steps.push((500, heal_network()));
    with_retention(plan(rng, 1, crowd, steps), 5)
}

/// A lone node that keeps all history is killed now and then.
pub(super) fn restarted(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, keepers: 3, readers: 2, habits: RECALLING, ..NOBODY };
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push((1_500, crash(1, Loss::All)));
        steps.push((50, start(1)));
    }
    steps.push((500, heal_network()));
    plan(rng, 1, crowd, steps)
}

/// Tenants keep now so much, now so much, on a slow disk.
pub(super) fn retaining_tenants(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, retainers: 6, ..NOBODY };
    plan(rng, 1, crowd, vec![(0, slow_disk(1, 150)), (20_000, heal_network())])
}

/// The same on a quick disk, while the node is killed now and then.
pub(super) fn restarted_with_retention(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, retainers: 4, ..NOBODY };
    Plan { crowd, ..restarted(rng) }
}

/// Changes are redacted in a cluster whose nodes end now and then.
pub(super) fn redacting(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, readers: 1, erasers: 2, ..NOBODY };
    let mut steps = Vec::new();
    for node in [1, 2, 3] {
        steps.push((1_500, crash(node, Loss::All)));
        steps.push((500, start(node)));
    }
    steps.push((500, heal_network()));
    plan(rng, 3, crowd, steps)
}

/// Changes are redacted at a lone node that is started again now and then.
pub(super) fn redacting_alone(rng: &mut StdRng) -> Plan {
    let Plan { steps, .. } = restarted(rng);
    let crowd = Crowd { writers: 4, erasers: 2, ..NOBODY };
    Plan { crowd, steps, ..restarted(rng) }
}

/// Changes are redacted while others copy the log.
pub(super) fn copied_while_redacting(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, erasers: 2, copiers: 3, ..NOBODY };
    plan(rng, 3, crowd, vec![(4_000, heal_network())])
}

/// A lone node keeps enough history, and is read from the beginning.
pub(super) fn retaining(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 6, readers: 2, ..NOBODY };
    with_retention(plan(rng, 1, crowd, vec![(5_000, heal_network())]), 100)
}

/// What a leader acknowledges is with one follower besides, whose disk is slow. Both die, and
/// that one goes on with the third.
pub(super) fn one_acknowledges(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let steps = vec![
        (500, block(1, 3)),
        (0, slow_disk(2, 2_000)),
        (1_500, crash(1, Loss::Nothing)),
        (0, crash(2, Loss::All)),
        (0, slow_disk(2, 1)),
        (0, heal_network()),
        (0, start(2)),
        (3_000, start(1)),
        (1_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// The disk of the leader hangs, and nothing else is wrong.
pub(super) fn hanging_leader(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, ..NOBODY };
    let mut plan = plan(rng, 3, crowd, vec![(500, heal_network())]);
    plan.minority = vec![(1, Broken::DiskHangs)];
    plan
}

/// A member is removed, its removal is purged, all are started anew, and it comes anew.
pub(super) fn comes_anew(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 2, ..NOBODY };
    let numbers = || Fault::Members(members::Fault::AskNumbers);
    let steps = vec![
        (200, numbers()),
        (100, Fault::Members(members::Fault::Remove(3))),
        (5_000, Fault::Process(process::Fault::CrashAll(Loss::Nothing))),
        (100, start(1)),
        (0, start(2)),
        (2_000, start(3)),
        (10_000, numbers()),
    ];
    with_retention(plan(rng, 3, crowd, steps), 5)
}

/// A follower that alone has what its leader acknowledged goes back to an older copy of its
/// disk; then the leader dies.
pub(super) fn older_copy(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 4, ..NOBODY };
    let steps = vec![
        (500, Fault::Disk(disk::Fault::Copy(3))),
        (0, block(1, 2)),
        (1_000, Fault::Network(network::Fault::Narrow(1, 3, 2_000))),
        (0, Fault::Disk(disk::Fault::GoBack(3))),
        (1_500, crash(1, Loss::Nothing)),
        (3_000, start(1)),
        (2_000, heal_network()),
    ];
    plan(rng, 3, crowd, steps)
}

/// What a follower was sent waits for its disk, and is purged by the leader meanwhile: so that
/// follower is sent a checkpoint, while its disk is quick again but for what began before.
pub(super) fn waiting_entries(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 6, ..NOBODY };
    let steps = vec![
        (1_500, slow_disk(3, 60_000)),
        (300, slow_disk(3, 1)),
        (9_000, crash(3, Loss::All)),
        (200, start(3)),
        (3_000, heal_network()),
    ];
    with_retention(plan(rng, 3, crowd, steps), 5)
}

/// A leader falls silent while it demotes a member; another member is removed as soon as the
/// next leader is there.
pub(super) fn two_changes(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, ..NOBODY };
    let mut steps: Vec<_> = (1..=5).map(|node| (0, slow_disk(node, 200))).collect();
    steps.push((500, Fault::Process(process::Fault::Lead(3))));
    steps.push((2_500, Fault::Members(members::Fault::Demote(5))));
    steps.push((200, Fault::Process(process::Fault::Pause(3))));
    steps.extend((0..12).map(|_| (120, Fault::Members(members::Fault::Remove(4)))));
    steps.push((5_000, Fault::Process(process::Fault::ResumeAll)));
    steps.push((3_000, Fault::Disk(disk::Fault::Heal)));
    plan(rng, 5, crowd, steps)
}

/// A leader dies while it demotes a member, and nobody else can lead next; then a third member
/// is to vote no more.
pub(super) fn demoted_heir(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 1, ..NOBODY };
    let mut steps: Vec<_> = (1..=4).map(|node| (0, slow_disk(node, 200))).collect();
    steps.extend([
        (0, block(3, 4)),
        (0, block(4, 3)),
        (2_000, Fault::Members(members::Fault::Demote(2))),
        (200, crash(1, Loss::Nothing)),
        (6_000, start(1)),
        (1_000, heal_network()),
        (0, Fault::Disk(disk::Fault::Heal)),
        (2_000, Fault::Members(members::Fault::Demote(3))),
        (2_000, heal_network()),
    ]);
    plan(rng, 4, crowd, steps)
}

/// The disk of a follower rots that was started anew, and so reads from it.
pub(super) fn rotting(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 3, readers: 6, followers: 6, ..NOBODY };
    let mut steps =
        vec![(2_500, crash(3, Loss::Nothing)), (200, start(3)), (2_000, heal_network())];
    steps.extend((0..200).map(|_| (15, Fault::Disk(disk::Fault::Rot(3)))));
    plan(rng, 3, crowd, steps)
}

/// Streams break while there is much that they have not sent yet.
pub(super) fn broken_streams(rng: &mut StdRng) -> Plan {
    let crowd = Crowd { writers: 6, followers: 6, ..NOBODY };
    let cut = |node| Fault::Network(network::Fault::CutClients(node, 100));
    let mut steps = vec![(0, slow_network(30))];
    steps.extend((0..6).map(|_| (700, cut(1))));
    plan(rng, 1, crowd, steps)
}
