//! `/metrics`: what the node counts, as Prometheus reads it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{
        counter::Counter as AnyCounter,
        family::Family,
        gauge::Gauge as AnyGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{Api, reply::Reply};
use crate::http::{Method, Response};

/// A number that only grows.
pub type Counter = AnyCounter<u64, AtomicU64>;
/// A number that goes up and down.
pub type Gauge = AnyGauge<i64, AtomicI64>;

/// The media type of the text format, with its version.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum MethodLabel {
    Get,
    Post,
    Put,
    Delete,
    Other,
}

/// A member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: u64,
}

/// The statuses that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum StatusLabel {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: MethodLabel,
    status: StatusLabel,
}

const METHODS: [MethodLabel; 5] = [
    MethodLabel::Get,
    MethodLabel::Post,
    MethodLabel::Put,
    MethodLabel::Delete,
    MethodLabel::Other,
];
const STATUSES: [StatusLabel; 4] = [
    StatusLabel::Success,
    StatusLabel::Redirection,
    StatusLabel::ClientError,
    StatusLabel::ServerError,
];

/// What all cores of a node count together. Counting takes no lock but that of a
/// histogram.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By [`METHODS`], then by [`STATUSES`].
    requests: [[Counter; STATUSES.len()]; METHODS.len()],
    write_seconds: Histogram,
    /// Long-polls and streams that wait.
    pub parked: Gauge,
    /// Streams under way.
    pub streams: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Bytes received.
    pub received_bytes: Counter,
    /// Bytes sent.
    pub sent_bytes: Counter,
    at_scrape: AtScrape,
}

/// What is looked up when it is asked for.
#[derive(Debug, Default)]
struct AtScrape {
    last_change: Gauge,
    tenants: Gauge,
    collections: Gauge,
    tags: Gauge,
    idempotency_keys: Gauge,
    ready: Gauge,
    failed: Gauge,
    disk_full: Gauge,
    leader: Gauge,
    term: Gauge,
    committed: Gauge,
    applied: Gauge,
    lag: Family<MemberLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("changeagent");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        let requests = METHODS.map(|method| {
            STATUSES.map(|status| requests.get_or_create_owned(&RequestLabels { method, status }))
        });
        // From 50 microseconds to 13 seconds.
        let write_seconds = Histogram::new(exponential_buckets(50e-6, 2.0, 19));
        let help = "Time from a write's arrival until it is durable and answered";
        registry.register_with_unit("write", help, Unit::Seconds, write_seconds.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let bytes = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::default();
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
            counter
        };
        let registry_mut = &mut registry;
        let parked = gauge(registry_mut, "parked", "Long-polls and streams that wait for a change");
        let streams = gauge(registry_mut, "streams", "Streams under way");
        let connections = gauge(registry_mut, "connections", "Open connections");
        let received_bytes = bytes(registry_mut, "received", "Bytes received from clients");
        let sent_bytes = bytes(registry_mut, "sent", "Bytes sent to clients");
        let at_scrape = AtScrape {
            last_change: gauge(registry_mut, "last_change", "Id of the newest change applied"),
            tenants: gauge(registry_mut, "tenants", "Tenants"),
            collections: gauge(registry_mut, "collections", "Collections"),
            tags: gauge(registry_mut, "tags", "Tags in the index"),
            idempotency_keys: gauge(
                registry_mut,
                "idempotency_keys",
                "Idempotency keys remembered",
            ),
            ready: gauge(registry_mut, "ready", "1 when the node can be sent traffic"),
            failed: gauge(registry_mut, "log_failed", "1 once a write to the log failed"),
            disk_full: gauge(registry_mut, "disk_full", "1 while no log segment can be prepared"),
            leader: gauge(registry_mut, "raft_leader", "Number of the leader, 0 without one"),
            term: gauge(registry_mut, "raft_term", "Term"),
            committed: gauge(registry_mut, "raft_committed", "Index of the last committed entry"),
            applied: gauge(registry_mut, "raft_applied", "Index of the last applied entry"),
            lag: {
                let lag = Family::default();
                let help = "Entries that a member lacks; known to the leader alone";
                registry_mut.register("raft_lag", help, Family::clone(&lag));
                lag
            },
        };
        Self {
            requests,
            write_seconds,
            parked,
            streams,
            connections,
            received_bytes,
            sent_bytes,
            at_scrape,
            registry,
        }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn answered(&self, method: Method, status: u16) {
        let method = match method {
            Method::Get => 0,
            Method::Post => 1,
            Method::Put => 2,
            Method::Delete => 3,
            _ => 4,
        };
        let status = match status {
            200..300 => 0,
            300..400 => 1,
            400..500 => 2,
            _ => 3,
        };
        self.requests[method][status].inc();
    }

    /// Counts the time that a write took.
    pub fn written(&self, time: Duration) {
        self.write_seconds.observe(time.as_secs_f64());
    }
}

impl Api {
    /// `GET /metrics`
    pub(super) fn metrics_text(&self) -> Reply {
        let (now, node) = (&self.metrics.at_scrape, &self.node);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |count: usize| number(count as u64);
        let (index, status) = (node.index(), node.status());
        let (tenants, collections) = index.catalog.counts();
        now.last_change.set(number(node.last().0));
        now.tenants.set(count(tenants));
        now.collections.set(count(collections));
        now.tags.set(count(index.tags()));
        now.idempotency_keys.set(count(index.idempotency().len()));
        now.ready.set(status.is_ready().into());
        now.failed.set(status.has_failed().into());
        now.disk_full.set(status.is_full().into());
        let cluster = status.cluster();
        now.leader.set(number(cluster.leader.unwrap_or(0)));
        now.term.set(number(cluster.term));
        now.committed.set(number(cluster.committed));
        now.applied.set(number(cluster.applied));
        // Members come and go.
        now.lag.clear();
        let own = cluster.members.iter().find(|member| member.id == cluster.node);
        if let Some(own) = own.filter(|own| cluster.leader == Some(own.id)) {
            for member in cluster.members.iter().filter(|member| member.id != own.id) {
                let lag = own.matched.saturating_sub(member.matched);
                now.lag.get_or_create(&MemberLabel { member: member.id }).set(number(lag));
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.metrics.registry);
        Reply::Now(Response::new(200).with_body(CONTENT_TYPE, text))
    }
}
