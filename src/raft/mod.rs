//! Consensus, and the only place that names openraft: its types filled in, its
//! log and state machine on ours, its tasks on glommio, its network on the
//! channels of [`peer`].

mod acknowledged;
mod age;
mod append;
mod by_files;
mod checkpoint_at_start;
mod checkpoint_parts;
mod claims;
mod compact;
mod derived;
mod ending;
mod erasure;
#[cfg(test)]
mod erasure_tests;
mod feeding;
mod fetched_checkpoint;
#[cfg(test)]
mod fetched_tests;
mod fold;
#[cfg(test)]
mod fold_tests;
mod given_checkpoint;
mod givers;
mod halt;
mod handover;
mod healing;
mod health;
mod inbound;
mod indexer;
mod indexing;
mod leadership;
mod log_store;
mod membership;
mod mending;
#[cfg(test)]
mod mending_tests;
mod network;
#[cfg(test)]
mod network_tests;
mod pace;
mod parts;
pub mod peer;
mod pipeline;
pub mod prefix;
mod purge;
mod reads;
mod recovered;
mod replay;
mod replica;
#[cfg(test)]
mod replica_checkpoint_tests;
#[cfg(test)]
mod retention_tests;
mod room;
pub mod runtime;
mod sealing;
mod segment_index;
mod shutdown;
#[cfg(test)]
mod simulation;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod sparing_tests;
mod standing;
mod state_machine;
#[cfg(test)]
mod suite_tests;
mod types;
mod unsound;
#[cfg(test)]
mod unsound_tests;
mod view;
mod whole_state;

pub use age::first_later_in;
pub use checkpoint_at_start::fetch_missing_checkpoint;
pub use claims::Claim;
pub use compact::{Compacted, compact};
pub use derived::verify as verify_indexes;
pub use givers::Gives;
pub use halt::Halt;
pub use healing::{Healed, is_damage};
pub use health::Ailment;
pub use inbound::{Answering, AppendRequest, Inbound, at_once};
pub use leadership::Leadership;
pub use log_store::LogStore;
pub use membership::MembershipError;
pub use mending::{heal, heal_copy, is_derived, is_healable};
pub use prefix::Prefix;
pub use reads::{LogPiece, LogPieceError};
pub use recovered::Recovered;
pub use replay::Replay;
pub use replica::{Part, Replica, StartError, Timing};
pub use room::Room;
pub use sealing::Later;
pub use segment_index::{
    index_names, remove_before as remove_indexes_before, tidy as tidy_indexes, verify_index,
};
pub use state_machine::StateMachine;
pub use types::{Address, Applied, TypeConfig, changes_in, sound_changes_in, unplaced_members};
