//! Whole clusters in one thread on virtual time: the log, the state machine and
//! openraft are the real ones; time, the network and the disk are simulated. The same seed gives the same run.
//!
//! [`scenario_tests`] play the scripts below `scenarios/`, [`random_tests`] play
//! whatever a seed comes to.

mod cluster;
mod disk;
mod network;
mod node;
mod random_tests;
mod scenario_tests;
mod script;

type Types = super::TypeConfig;
type Raft = openraft::Raft<Types, super::StateMachine<disk::TimedDisk>>;
