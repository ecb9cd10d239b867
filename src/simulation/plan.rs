//! What a seed decides before anything happens: how many nodes there are and how they are
//! set, who their clients are, and what goes wrong when.

use std::{fmt, time::Duration};

use rand::{RngExt, rngs::StdRng};

use super::{client::Crowd, faults::Fault, places::Setup};
use crate::{base::ids::NodeId, node::retention::Retention};

/// The nodes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub voters: u64,
    pub learners: u64,
    pub setup: Setup,
}

impl Shape {
    pub fn nodes(&self) -> u64 {
        self.voters + self.learners
    }

    pub fn any_node(&self, rng: &mut StdRng) -> NodeId {
        rng.random_range(1..=self.nodes())
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub shape: Shape,
    pub crowd: Crowd,
    /// What happens, each so long after the one before.
    pub steps: Vec<(Duration, Fault)>,
}

/// How many things happen at most.
const STEPS_MAX: usize = 40;
/// The longest time between two of them.
const PAUSE: Duration = Duration::from_secs(4);

impl Plan {
    pub fn draw(rng: &mut StdRng) -> Self {
        let voters = [1, 2, 3, 3, 3, 3, 4, 5][rng.random_range(0..8)];
        let learners = if rng.random_ratio(1, 4) { 1 } else { 0 };
        let retention = rng
            .random_ratio(1, 3)
            .then(|| Retention { min_changes: rng.random_range(50..200), min_age: Duration::ZERO });
        let segment_bytes = [32 << 10, 64 << 10, 256 << 10][rng.random_range(0..3)];
        let cores = rng.random_range(1..=2);
        let setup = Setup { cores, segment_bytes, retention, votes: true };
        let shape = Shape { voters, learners, setup };
        let crowd = Crowd {
            writers: rng.random_range(1..=4),
            keepers: rng.random_range(0..=2),
            readers: rng.random_range(1..=2),
            followers: rng.random_range(0..=2),
        };
        let count = rng.random_range(1..STEPS_MAX);
        // Some runs are hasty, others leave time to recover.
        let pause = rng.random_range(Duration::from_millis(100)..PAUSE);
        let step = |_| (rng.random_range(Duration::ZERO..pause), Fault::draw(rng, &shape));
        let steps = (0..count).map(step).collect();
        Self { shape, crowd, steps }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, crowd, steps } = self;
        writeln!(f, "{shape:?}, {crowd:?}")?;
        steps.iter().try_for_each(|(after, fault)| writeln!(f, "  after {after:?}: {fault:?}"))
    }
}
