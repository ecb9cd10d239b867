//! What the node counts, and its form as Prometheus reads it.

mod at_scrape;
mod copied;
mod counters;
mod limit;
mod register;
mod tenants;
mod usage;

pub use counters::Metrics;
pub use limit::Limit;
pub(super) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
pub use register::{Counter, Gauge};
pub(super) use tenants::of_tenants;
