//! What the node counts.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text::encode},
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{
    at_scrape::AtScrape,
    limit::Limit,
    register::{Counter, Gauge, byte_counter, byte_gauge, counter, gauge, seconds},
    usage::put_usage,
};
use crate::{
    api::access::Refused,
    http::{Method, ProtocolError},
    io::process::Usage,
    node::Handle,
};

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
struct ReasonLabel {
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
    /// By [`Refused::ALL`].
    unauthenticated: [Counter; Refused::ALL.len()],
    /// Of those that bear one, as many as were told of.
    wrong_tokens_taken: AtomicU64,
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
    /// Handshakes of TLS under way.
    pub handshakes: Gauge,
    /// Handshakes that came to nothing.
    pub failed_handshakes: Counter,
    /// Lines of the audit log.
    pub audit_events: Counter,
    /// Those of them that could not be written down.
    pub audit_lost: Counter,
    /// Bytes received.
    pub received_bytes: Counter,
    /// Bytes sent.
    pub sent_bytes: Counter,
    at_scrape: AtScrape,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("changeagent");
        let reg = &mut registry;
        let all_requests = Family::<RequestLabels, Counter>::default();
        reg.register("requests", "Requests answered", all_requests.clone());
        let refusals = Family::<RefusalLabels, Counter>::default();
        let help = "Requests refused as HTTP, before anybody looked at what they ask for";
        reg.register("http_refusals", help, refusals.clone());
        let limits = Family::<LimitLabel, Counter>::default();
        let help = "Requests and connections refused for a limit";
        reg.register("limit_refusals", help, limits.clone());
        let unauthenticated = Family::<ReasonLabel, Counter>::default();
        let help = "Requests refused for want of a good token";
        reg.register("unauthenticated", help, unauthenticated.clone());
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        reg.register("build_info", "1, with the version of the program", build);
        // From 50 microseconds to 13 seconds.
        let times = || exponential_buckets(50e-6, 2.0, 19);
        let write = "Time from a write's arrival until it is durable and answered";
        let read = "Time from a read's arrival until its answer is made, where it did not wait";
        let wait = "Time that reads waited for a change";
        let refused = "Open connections beyond the limit, which are told so";
        let failed = "Handshakes of TLS that came to nothing";
        let held = "Bytes of requests and answers that connections hold";
        let lost = "Lines of the audit log that could not be written down";
        Self {
            all_requests,
            requests: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            refusals,
            limits: Limit::ALL.map(|(limit, _)| limits.get_or_create_owned(&LimitLabel { limit })),
            unauthenticated: Refused::ALL
                .map(|(_, reason)| unauthenticated.get_or_create_owned(&ReasonLabel { reason })),
            wrong_tokens_taken: AtomicU64::new(0),
            write_seconds: seconds(reg, "write", write, times()),
            read_seconds: seconds(reg, "read", read, times()),
            wait_seconds: seconds(reg, "wait", wait, exponential_buckets(1e-3, 4.0, 11)),
            parked: gauge(reg, "parked", "Long-polls and streams that wait for a change"),
            streams: gauge(reg, "streams", "Streams under way"),
            connections: gauge(reg, "connections", "Open connections"),
            refused_connections: gauge(reg, "refused_connections", refused),
            handshakes: gauge(reg, "tls_handshakes", "Handshakes of TLS under way"),
            failed_handshakes: counter(reg, "tls_failed_handshakes", failed),
            audit_events: counter(reg, "audit_events", "Lines of the audit log"),
            audit_lost: counter(reg, "audit_lost", lost),
            held_bytes: byte_gauge(reg, "held", held),
            received_bytes: byte_counter(reg, "received", "Bytes received from clients"),
            sent_bytes: byte_counter(reg, "sent", "Bytes sent to clients"),
            at_scrape: AtScrape::new(reg),
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

    /// Counts a request that bears no good token.
    pub fn unauthenticated(&self, refused: Refused) {
        self.unauthenticated[refused.number()].inc();
        if refused.is_limited() {
            self.limited(Limit::WrongTokens);
        }
    }

    /// How many bore a token that is not good, since this was asked last.
    #[must_use]
    pub fn take_wrong_tokens(&self) -> u64 {
        let wrong = Refused::ALL.iter().zip(&self.unauthenticated);
        let wrong = wrong.filter(|((why, _), _)| why.is_wrong()).map(|(_, counter)| counter.get());
        let now = wrong.sum();
        now - self.wrong_tokens_taken.swap(now, Ordering::Relaxed).min(now)
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

    /// All of it as Prometheus reads it, with how `node` and its process are now.
    pub(in crate::api) fn text(&self, node: &Handle, usage: Option<&Usage>) -> String {
        self.at_scrape.observe(node);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        if let Some(usage) = usage {
            put_usage(&mut text, usage);
        }
        text
    }
}
