//! What tests run on in place of the machine: one thread in which whole clusters
//! run on virtual time, with disks that fail as a seed says.

pub mod clock;
pub mod cores;
pub mod disk;
pub mod executor;
pub mod net;
pub mod power;
pub mod tally;
pub mod task;
