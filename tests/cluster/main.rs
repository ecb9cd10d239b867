//! What a cluster promises, tested on real processes that are killed, paused and
//! cut off from each other while clients write and read at every node.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod damaged_checkpoint;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod founding;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod joining;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod links;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod older_copy;
#[cfg(test)]
mod packaged;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod purged;
#[cfg(test)]
mod quorum;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod recover;
#[cfg(test)]
mod redaction;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tenant_retention;
#[cfg(test)]
mod time_to_live;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod upgrade;

/// How often a fault is repeated under one load.
#[cfg(test)]
const ROUNDS: usize = 2;
/// Writes that are to be acknowledged between two faults.
#[cfg(test)]
const SOME: u64 = 50;

/// One round: the leader is killed under that load, and comes back.
#[cfg(test)]
fn leader_dies_and_returns(
    cluster: &mut testkit::cluster::Cluster,
    workload: &testkit::workload::Workload,
) {
    workload.goes_on(SOME);
    let leader = cluster.leader();
    cluster.kill(leader);
    assert_ne!(cluster.leader(), leader);
    workload.goes_on(SOME);
    cluster.restart(leader);
    cluster.catches_up(leader);
}
