//! What a seed decides before anything happens: how many nodes there are and how they are
//! set, who their clients are, and what goes wrong when.

use std::{fmt, time::Duration};

use rand::{RngExt, rngs::StdRng};

use super::{
    client::{Crowd, Habits},
    copies::CopyPlan,
    faults::Fault,
    places::Setup,
};
use crate::{base::ids::NodeId, node::retention::Retention};

/// The nodes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub voters: u64,
    pub learners: u64,
    /// Nodes for which there is a place, and which may come later.
    pub late: u64,
    pub setup: Setup,
}

impl Shape {
    /// All places; nodes that come later have the highest numbers.
    pub fn places(&self) -> u64 {
        self.voters + self.learners + self.late
    }

    /// Whether a node is there from the beginning.
    pub fn is_early(&self, node: NodeId) -> bool {
        node <= self.voters + self.learners
    }

    /// Voters that may all lose what they hold, or be of no use: the others are enough.
    pub fn minority(&self) -> impl Iterator<Item = NodeId> + use<> {
        let count = self.voters.saturating_sub(1) / 2;
        self.voters - count + 1..=self.voters
    }

    pub fn any_node(&self, rng: &mut StdRng) -> NodeId {
        rng.random_range(1..=self.places())
    }
}

/// All that a seed decides of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub shape: Shape,
    pub crowd: Crowd,
    /// What happens, each so long after the one before.
    pub steps: Vec<(Duration, Fault)>,
    /// What is wrong with a minority of the voters after that, while all else is well.
    pub minority: Vec<(NodeId, Broken)>,
    /// Copies of the history.
    pub copies: Vec<CopyPlan>,
}

/// How a node is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Down,
    Paused,
    DiskHangs,
    Isolated,
    /// It hears the others and is not heard.
    Mute,
    /// It is heard and hears nothing.
    Deaf,
}

/// How many things happen at most.
const STEPS_MAX: usize = 40;
/// The longest time between two of them.
const PAUSE: Duration = Duration::from_secs(4);

impl Plan {
    pub fn draw(rng: &mut StdRng) -> Self {
        let voters = [1, 2, 3, 3, 3, 3, 4, 5][rng.random_range(0..8)];
        let learners = if rng.random_ratio(1, 4) { 1 } else { 0 };
        let late = if rng.random_ratio(1, 3) { 1 } else { 0 };
        let retention = rng
            .random_ratio(1, 3)
            .then(|| Retention { min_changes: rng.random_range(20..150), min_age: Duration::ZERO });
        let segment_bytes = [32 << 10, 32 << 10, 64 << 10, 256 << 10][rng.random_range(0..4)];
        let cores = rng.random_range(1..=2);
        let setup = Setup { cores, segment_bytes, retention, votes: true };
        let shape = Shape { voters, learners, late, setup };
        let crowd = Crowd {
            writers: rng.random_range(1..=4),
            keepers: rng.random_range(0..=2),
            readers: rng.random_range(1..=2),
            followers: rng.random_range(0..=2),
            makers: rng.random_range(0..=2),
            rude: rng.random_range(0..=1),
            copiers: 0,
            erasers: 0,
            retainers: 0,
            backward: 1,
            combined: 0,
            mirrors: 0,
            habits: Habits::default(),
        };
        let count = rng.random_range(1..STEPS_MAX);
        // Some runs are hasty, others leave time to recover.
        let pause = rng.random_range(Duration::from_millis(100)..PAUSE);
        let step = |_| (rng.random_range(Duration::ZERO..pause), Fault::draw(rng, &shape));
        let steps = (0..count).map(step).collect();
        let minority = draw_minority(rng, &shape);
        let erasers = if rng.random_ratio(1, 3) { 1 } else { 0 };
        let retainers = u64::from(count.is_multiple_of(4));
        let crowd = Crowd { erasers, retainers, ..crowd };
        let (combined, mirrors) = (rng.random_range(0..=1), rng.random_range(0..=1));
        let crowd = Crowd { combined, mirrors, ..crowd };
        let plan = Self { shape, crowd, steps, minority, copies: Vec::new() };
        if rng.random_ratio(1, 3) { plan.with_copies(rng) } else { plan }
    }
}

impl Plan {
    /// Whether the lists of tenants have no more in the end than they are to keep. A leader that has
    /// purged what is beyond that need not say so to nodes that have not.
    pub fn is_retained(&self) -> bool {
        self.crowd.retainers > 0 && self.shape.setup.retention.is_none()
    }

    /// Whether all that is redacted is to be gone from the files in the end. What was purged, or
    /// tried and not acknowledged, is not told from it there.
    pub fn is_erased(&self) -> bool {
        self.crowd.erasers > 0 && self.shape.setup.retention.is_none() && self.shape.late == 0
    }
}

fn draw_minority(rng: &mut StdRng, shape: &Shape) -> Vec<(NodeId, Broken)> {
    let mut nodes: Vec<NodeId> = shape.minority().collect();
    let mut broken = Vec::new();
    for _ in 0..rng.random_range(0..=nodes.len()) {
        let node = nodes.swap_remove(rng.random_range(0..nodes.len()));
        let how = match rng.random_range(0..6) {
            0 => Broken::Down,
            1 => Broken::Paused,
            2 => Broken::DiskHangs,
            3 => Broken::Isolated,
            4 => Broken::Mute,
            _ => Broken::Deaf,
        };
        broken.push((node, how));
    }
    broken
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, crowd, steps, minority, copies } = self;
        writeln!(f, "{shape:?}, {crowd:?}, in the end {minority:?}, copies {copies:?}")?;
        steps.iter().try_for_each(|(after, fault)| writeln!(f, "  after {after:?}: {fault:?}"))
    }
}
