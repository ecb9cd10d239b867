//! What the node counts, and its form as Prometheus reads it.

mod at_scrape;
mod copied;
mod counters;
mod limit;
mod register;
mod text;
mod usage;

pub use counters::Metrics;
pub use limit::Limit;
pub use register::{Counter, Gauge};
pub(super) use text::CONTENT_TYPE;
