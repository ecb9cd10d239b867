//! What is looked up when the metrics are asked for.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::family::Family,
    registry::{Registry, Unit},
};

use super::{
    copied::Copied,
    register::{Gauge, gauge},
};
use crate::{base::cluster::ClusterView, node::Handle};

/// A member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: u64,
}

/// The state of the node as metrics.
#[derive(Debug)]
pub(super) struct AtScrape {
    log_write_seconds: Copied,
    last_change: Gauge,
    tenants: Gauge,
    collections: Gauge,
    lists_in_memory: Gauge,
    idempotency_keys: Gauge,
    expiring_keys: Gauge,
    redactions_waiting: Gauge,
    ready: Gauge,
    failed: Gauge,
    disk_full: Gauge,
    damaged_segments: Gauge,
    healed_files: Gauge,
    scrubbed_bytes: Gauge,
    scrub_ended: Gauge,
    leader: Gauge,
    term: Gauge,
    committed: Gauge,
    applied: Gauge,
    lag: Family<MemberLabel, Gauge>,
    peer_up: Family<MemberLabel, Gauge>,
}

impl AtScrape {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let log_write_seconds = Copied::default();
        let help = "Time of a write of the log, from submission until it is durable";
        registry.register_with_unit("log_write", help, Unit::Seconds, log_write_seconds.clone());
        let lag = Family::default();
        let help = "Entries that a member lacks; known to the leader alone";
        registry.register("raft_lag", help, Family::clone(&lag));
        let peer_up = Family::default();
        let help = "1 while another member answers the leader; known to that alone";
        registry.register("raft_peer_up", help, Family::clone(&peer_up));
        let mut gauge = |name, help| gauge(registry, name, help);
        Self {
            log_write_seconds,
            last_change: gauge("last_change", "Id of the newest change applied"),
            tenants: gauge("tenants", "Tenants"),
            collections: gauge("collections", "Collections"),
            lists_in_memory: gauge(
                "lists_in_memory",
                "Lists of tenants, collections and tags in segments without an index file",
            ),
            idempotency_keys: gauge("idempotency_keys", "Idempotency keys remembered"),
            expiring_keys: gauge("expiring_keys", "Keys with a time to live"),
            redactions_waiting: gauge(
                "redactions_waiting",
                "Redacted changes whose bytes are in the files of this node still",
            ),
            ready: gauge("ready", "1 when the node can be sent traffic"),
            failed: gauge("log_failed", "1 once a write to the log failed"),
            disk_full: gauge("disk_full", "1 while no log segment can be prepared"),
            damaged_segments: gauge("damaged_segments", "Parts of the log found damaged"),
            healed_files: gauge("healed_files", "Damaged files made anew since the start"),
            scrubbed_bytes: gauge("scrubbed_bytes", "Bytes of the log verified since the start"),
            scrub_ended: gauge(
                "scrub_ended_timestamp_seconds",
                "When all of the log was verified last, 0 before",
            ),
            leader: gauge("raft_leader", "Number of the leader, 0 without one"),
            term: gauge("raft_term", "Term"),
            committed: gauge("raft_committed", "Index of the last committed entry"),
            applied: gauge("raft_applied", "Index of the last applied entry"),
            lag,
            peer_up,
        }
    }

    /// Takes over how `node` is now.
    pub(super) fn observe(&self, node: &Handle) {
        let (index, status) = (node.index(), node.status());
        let (tenants, collections) = index.catalog.counts();
        self.log_write_seconds.set(status.log_writes.read());
        self.last_change.set(number(node.last().0));
        self.tenants.set(number(tenants as u64));
        self.collections.set(number(collections as u64));
        self.lists_in_memory.set(number(index.lists_in_memory() as u64));
        self.idempotency_keys.set(number(index.idempotency().len() as u64));
        self.expiring_keys.set(number(index.catalog.expiring() as u64));
        self.redactions_waiting.set(number(index.redactions.waiting_count() as u64));
        self.ready.set(status.is_ready().into());
        self.failed.set(status.has_failed().into());
        self.disk_full.set(status.is_full().into());
        self.damaged_segments.set(number(status.scrub.damaged_files() as u64));
        self.healed_files.set(number(status.scrub.healed()));
        self.scrubbed_bytes.set(number(status.scrub.bytes()));
        self.scrub_ended.set(number(status.scrub.round_ended() / 1_000_000));
        self.observe_cluster(&status.cluster());
    }

    fn observe_cluster(&self, cluster: &ClusterView) {
        self.leader.set(number(cluster.leader.unwrap_or(0)));
        self.term.set(number(cluster.term));
        self.committed.set(number(cluster.committed));
        self.applied.set(number(cluster.applied));
        // Members come and go.
        self.lag.clear();
        self.peer_up.clear();
        let own = cluster.members.iter().find(|member| member.id == cluster.node);
        if let Some(own) = own.filter(|own| cluster.leader == Some(own.id)) {
            for member in cluster.members.iter().filter(|member| member.id != own.id) {
                let lag = own.matched.saturating_sub(member.matched);
                let label = MemberLabel { member: member.id };
                self.lag.get_or_create(&label).set(number(lag));
                self.peer_up.get_or_create(&label).set((member.reachable == Some(true)).into());
            }
        }
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
