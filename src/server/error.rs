//! Why a node does not run.

use std::{io, net::SocketAddr, time::Duration};

use crate::{
    backup::RestoreError,
    io::{
        lock::LockError,
        real::{core::ExecutorError, uring::allowed::UringError},
        tls::TlsError,
    },
    log::OpenError,
    node::halt::HOW_TO_GO_ON,
    raft,
};

/// What is to be done where a checkpoint is not as it was written.
const HOW_TO_REPLACE: &str = "A member of a cluster need not be repaired: move the directory away and \
    start the node on an empty one, at its addresses and with --join HOST:PORT of another member, which \
    sends it a snapshot; a cache begins anew on an empty directory. A node of its own needs this file \
    from a backup; changeagent check says what else is damaged";

/// Why a node did not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be made.
    #[error("cannot make the data directory {0}: {1}")]
    Directory(String, io::Error),
    /// Another process uses it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Files of TLS cannot be used; nothing was changed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit log cannot be opened.
    #[error("cannot write the audit log {0}: {1}")]
    Audit(String, io::Error),
    /// The keys of JWTs cannot be used; nothing was changed.
    #[error("{0}")]
    Jwt(String),
    /// The log is damaged or of another kind; nothing was changed.
    #[error("cannot use the data directory {0}: {1}")]
    Open(String, OpenError),
    /// The checkpoint of purged history cannot be used; nothing was changed.
    #[error("cannot use the data directory {0}: {1}")]
    Checkpoint(String, io::Error),
    /// That checkpoint is not as it was written; nothing was changed.
    #[error("cannot use the data directory {0}: {1}; nothing was changed. {HOW_TO_REPLACE}")]
    Rotten(String, io::Error),
    /// Nothing says how the node comes to belong to a cluster; nothing was changed.
    #[error(
        "the data directory {0} is empty: a node with a cluster address founds a cluster only with --found, \
         or with --bootstrap-expect N and --join; with --join alone it is taken in by one, as a member \
         that has lost its data directory must be"
    )]
    NoCluster(String),
    /// There is nothing to verify.
    #[error("{0} is not a data directory: no log is in it")]
    NoLog(String),
    /// It belongs to no node.
    #[error(
        "{0} is a backup, or what a restore left that was interrupted: no node starts on it (changeagent \
         restore makes a data directory of a backup)"
    )]
    Backup(String),
    /// It is the directory of a copy.
    #[error("{0} is the directory of a cache: changeagent cache --of goes on with it")]
    Copy(String),
    /// It is the directory of a node.
    #[error("{0} is the directory of a node, and no cache's: changeagent serve goes on with it")]
    NoCopy(String),
    /// A backup cannot be used.
    #[error("the backup {0} cannot be restored: {1}")]
    Restore(String, RestoreError),
    /// An archive cannot be read.
    #[error("the archive cannot be unpacked: {0}")]
    Archive(String),
    /// There is something where a data directory is to be made; nothing was changed.
    #[error(
        "{0} is not empty: a backup is restored to a directory that is empty, or not there yet"
    )]
    NotEmpty(String),
    /// Something is where it would be put; nothing was changed.
    #[error("{0} exists already: move it away first")]
    Exists(String),
    /// What was made could not be put in its place.
    #[error("{0} and {1} may or may not have changed places (changeagent check tells): {2}")]
    Swap(String, String, io::Error),
    /// Executors cannot be made here; nothing was changed.
    #[error(transparent)]
    Uring(#[from] UringError),
    /// The node must not go on with what the directory holds: it said so before.
    #[error("the data directory {0} must not be used: {1}; {HOW_TO_GO_ON}")]
    Halted(String, String),
    /// Clients would take the descriptors that the node itself needs; nothing was changed.
    #[error(
        "the limit of open files is {allowed}, and a node needs {needed}: raise it (ulimit -n, \
         LimitNOFILE)"
    )]
    OpenFiles { allowed: u64, needed: u64 },
    /// Raft did not start.
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    /// Not everything that was under way ended in time.
    #[error("the node did not stop within {0:?}")]
    Stop(Duration),
    /// An executor did not start.
    #[error(transparent)]
    Start(#[from] ExecutorError),
    /// An executor ended, or something on it did.
    #[error("executor: {0}")]
    Executor(String),
    /// Something else of the system.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}
