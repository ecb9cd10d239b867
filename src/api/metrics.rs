//! `/metrics`: what the node counts, as Prometheus reads it.

mod copied;
mod text;

use std::{
    fmt::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{
        counter::Counter as AnyCounter,
        family::Family,
        gauge::Gauge as AnyGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use self::{
    copied::Copied,
    text::{CONTENT_TYPE, prometheus_text},
};
use super::{Api, reply::Reply};
use crate::{
    http::{Method, ProtocolError, Response},
    io::{
        cores,
        process::{self, Usage},
    },
};

/// A number that only grows.
pub type Counter = AnyCounter<u64, AtomicU64>;
/// A number that goes up and down.
pub type Gauge = AnyGauge<i64, AtomicI64>;

/// A member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: u32,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: Limit,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// A limit that requests or connections can be refused for, named as its flag
/// where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Connections of the node.
    Connections,
    /// Bytes of requests and answers that are held.
    Held,
    /// The size of a request head.
    Head,
    /// The size of a request body.
    Body,
    /// The size of one change's data.
    Data,
    /// Changes of one batch.
    Batch,
    /// The nesting of JSON.
    Depth,
    /// Writes that wait.
    Writes,
}

impl Limit {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Connections, "max-connections"),
        (Self::Held, "max-held"),
        (Self::Head, "max-head"),
        (Self::Body, "max-body"),
        (Self::Data, "max-data"),
        (Self::Batch, "max-batch"),
        (Self::Depth, "max-depth"),
        (Self::Writes, "waiting-writes"),
    ];
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let (_, name) = Self::ALL[*self as usize];
        EncodeLabelValue::encode(&name, encoder)
    }
}

/// The methods that are told apart; the last stands for all others.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// The statuses that are told apart, the most frequent first.
const STATUSES: [u16; 31] = [
    200, 201, 304, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 417,
    421, 422, 429, 431, 500, 501, 502, 503, 504, 505, 307, 308,
];

/// What all cores of a node count together. Counting takes no lock but that of a
/// histogram.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    all_requests: Family<RequestLabels, Counter>,
    /// Those of them that were counted before, by [`METHODS`] and [`STATUSES`].
    requests: [[OnceLock<Counter>; STATUSES.len()]; METHODS.len()],
    refusals: Family<RefusalLabels, Counter>,
    /// By [`Limit::ALL`].
    limits: [Counter; Limit::ALL.len()],
    write_seconds: Histogram,
    read_seconds: Histogram,
    wait_seconds: Histogram,
    /// Bytes of requests and answers that connections hold.
    pub held_bytes: Gauge,
    /// Connections beyond the limit that are still to be told so.
    pub refused_connections: Gauge,
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
    log_write_seconds: Copied,
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
        let all_requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests answered", all_requests.clone());
        let refusals = Family::<RefusalLabels, Counter>::default();
        let help = "Requests refused as HTTP, before anybody looked at what they ask for";
        registry.register("http_refusals", help, refusals.clone());
        let limits = Family::<LimitLabel, Counter>::default();
        let help = "Requests and connections refused for a limit";
        registry.register("limit_refusals", help, limits.clone());
        let limits = Limit::ALL.map(|(limit, _)| limits.get_or_create_owned(&LimitLabel { limit }));
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "1, with the version of the program", build);
        let times = |registry: &mut Registry, name: &str, help: &str| {
            // From 50 microseconds to 13 seconds.
            let histogram = Histogram::new(exponential_buckets(50e-6, 2.0, 19));
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let help = "Time from a write's arrival until it is durable and answered";
        let write_seconds = times(&mut registry, "write", help);
        let help = "Time from a read's arrival until its answer is made, where it did not wait";
        let read_seconds = times(&mut registry, "read", help);
        let wait_seconds = Histogram::new(exponential_buckets(1e-3, 4.0, 11));
        let help = "Time that reads waited for a change";
        registry.register_with_unit("wait", help, Unit::Seconds, wait_seconds.clone());
        let log_write_seconds = Copied::default();
        let help = "Time of a write of the log, from submission until it is durable";
        registry.register_with_unit("log_write", help, Unit::Seconds, log_write_seconds.clone());
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
        let refused_connections = gauge(
            registry_mut,
            "refused_connections",
            "Open connections beyond the limit, which are told so",
        );
        let held_bytes = Gauge::default();
        let help = "Bytes of requests and answers that connections hold";
        registry_mut.register_with_unit("held", help, Unit::Bytes, held_bytes.clone());
        let received_bytes = bytes(registry_mut, "received", "Bytes received from clients");
        let sent_bytes = bytes(registry_mut, "sent", "Bytes sent to clients");
        let at_scrape = AtScrape {
            log_write_seconds,
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
            all_requests,
            requests: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            refusals,
            limits,
            write_seconds,
            read_seconds,
            wait_seconds,
            held_bytes,
            refused_connections,
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
            Method::Head => 1,
            Method::Post => 2,
            Method::Put => 3,
            Method::Patch => 4,
            Method::Delete => 5,
            Method::Options => 6,
            _ => 7,
        };
        let labels = || RequestLabels { method: METHODS[method], code: status.into() };
        let place = STATUSES.iter().position(|known| *known == status);
        debug_assert!(place.is_some(), "{status} is not among the known ones");
        match place {
            Some(place) => {
                let made = || self.all_requests.get_or_create_owned(&labels());
                self.requests[method][place].get_or_init(made).inc();
            }
            None => {
                self.all_requests.get_or_create(&labels()).inc();
            }
        }
    }

    /// Counts a request that HTTP itself refused.
    pub fn refused(&self, error: ProtocolError) {
        let (code, reason) = (error.status().into(), error.code());
        self.refusals.get_or_create(&RefusalLabels { code, reason }).inc();
        match error {
            ProtocolError::BodyTooLarge => self.limited(Limit::Body),
            ProtocolError::UriTooLong
            | ProtocolError::HeadersTooLarge
            | ProtocolError::MethodTooLong => self.limited(Limit::Head),
            ProtocolError::Overloaded => self.limited(Limit::Held),
            _ => {}
        }
    }

    /// Counts what a limit refused.
    pub fn limited(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// Counts the time that an answer to a read took to make.
    pub fn read(&self, time: Duration) {
        self.read_seconds.observe(time.as_secs_f64());
    }

    /// Counts the time that a read waited.
    pub fn waited(&self, time: Duration) {
        self.wait_seconds.observe(time.as_secs_f64());
    }

    /// Counts the time that a write took.
    pub fn written(&self, time: Duration) {
        self.write_seconds.observe(time.as_secs_f64());
    }
}

impl Api {
    /// `GET /metrics`
    pub(super) async fn metrics_text(&self) -> Reply {
        let (now, node) = (&self.metrics.at_scrape, &self.node);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |count: usize| number(count as u64);
        let (index, status) = (node.index(), node.status());
        let (tenants, collections) = index.catalog.counts();
        self.metrics.held_bytes.set(count(self.held.node_bytes()));
        now.log_write_seconds.set(status.log_writes.read());
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
        let mut text = prometheus_text(&text);
        match cores::off_core(process::usage).await {
            Ok(usage) => put_usage(&mut text, &usage),
            Err(error) => tracing::debug!(%error, "nothing is known of the process"),
        }
        Reply::Now(Response::new(200).with_body(CONTENT_TYPE, text))
    }
}

/// Appends what every program tells Prometheus of its process, under the names
/// that are usual.
fn put_usage(out: &mut String, usage: &Usage) {
    let gauges = [
        ("resident_memory_bytes", "Resident memory", usage.resident_bytes as f64),
        ("virtual_memory_bytes", "Virtual memory", usage.virtual_bytes as f64),
        ("open_fds", "Open file descriptors", usage.open_files as f64),
        ("max_fds", "The most file descriptors that may be open", usage.open_files_max as f64),
        ("start_time_seconds", "When the process started, since 1970", usage.started_at_seconds),
    ];
    let cpu = ("cpu_seconds_total", "Processor time", usage.cpu_seconds);
    let all = gauges.map(|gauge| (gauge, "gauge")).into_iter().chain([(cpu, "counter")]);
    for ((name, help, value), kind) in all {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "# HELP process_{name} {help}.\n# TYPE process_{name} {kind}\nprocess_{name} {value}"
        );
    }
}
