//! ChangeAgent: a small distributed database for tracking changes to data and
//! handing them to other systems, over plain HTTP and JSON.
//!
//! # The way of a change
//!
//! ```text
//! socket ─ http (parse) ─ api (route, validate, render once) ─┐ serving cores
//!                                                             │ node::Inbox, bounded
//!    node::sequencer (stamp, close a batch) ──────────────────┤
//!    raft (agree) ─ log (group commit, direct I/O) ───────────┤ Raft core
//!    state::State (decide, number, index) ────────────────────┤
//!                                                             │ feed::Mailbox, merged
//!    state::History, feed::Waiters ─ api ─ http ─ socket ─────┘ serving cores
//! ```
//!
//! A write is validated and rendered where it arrives, travels to the Raft core
//! as bytes, is stored once, in a segment of the Raft log, and is read from
//! there for ever. When a committed batch is applied, its commands are decided
//! (conditions, names, idempotency keys), accepted changes get their ids, and
//! `state::Index` notes by which tenant, collection, key and tags they are
//! found.
//!
//! # The layers
//!
//! Each imports only from those below it; `tests/layers/` proves that, and that no file stands in a
//! circle.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | the command line: `serve`, and the commands that are clients of a node |
//! | [`server`] | composition root: settings, start and stop, executors, sockets |
//! | `simulation` | the other composition root, test code: whole nodes on virtual time |
//! | [`serving`] | a serving core: it lets connections in and drives them |
//! | `fuzzing` | what fuzz targets call; not part of the program |
//! | [`api`] | the HTTP API, one file per resource |
//! | [`node`] | what a serving core may ask of the replica; the sequencer |
//! | [`backup`] | a history as files apart from any node: made of a node's log, made into a directory |
//! | [`raft`] | consensus, and the only place that names openraft |
//! | [`snapshot`] | a history as files, from a node that has it to one that lacks it |
//! | [`feed`] | from the one writer to the many readers and waiters |
//! | [`checkpoint`] | the state at a position of the log, as files: format, writing |
//! | [`state`] | what applied batches amount to, and how it is found; pure |
//! | [`log`] | the durable log: format, group commit, recovery |
//! | [`upstream`] | a client of other nodes over HTTP/1.1, on a core |
//! | [`http`] | HTTP/1.1 without I/O; pure |
//! | [`sections`] | files of numbered sections, written once, mapped, verified block by block |
//! | [`io`] | the disk, the network, the clocks and the executor, real and simulated |
//! | [`base`] | ids, names, bounds, outcomes, the byte form of a batch |
//!
//! # What is deliberately absent
//!
//! - No second copy of a change: the log is the database. There is no store
//!   beside it, and no page cache in front of its writes.
//! - No lock on the way of the global list: a serving core reads its own view,
//!   made of immutable parts that the Raft core hands out. The index of tenants,
//!   keys and tags is shared and has a lock for each part, held for a lookup.
//! - No parse of stored JSON: what was validated once is copied.
//! - No timer on the way of a write.
//! - No retry of a failed write or sync: the log stops for good.

pub mod api;
pub mod backup;
pub mod base;
pub mod checkpoint;
pub mod cli;
pub mod feed;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod io;
pub mod log;
pub mod node;
pub mod raft;
pub mod sections;
pub mod server;
pub mod serving;
#[cfg(test)]
mod simulation;
pub mod snapshot;
pub mod state;
pub mod upstream;
