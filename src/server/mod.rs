//! The composition root: settings, the order of start and stop, the cores, and
//! what drives connections.

mod admission;
pub mod config;
mod connection;
mod context;
mod core;
mod deadlines;
mod error;
mod executor;
mod handoff;
mod introductions;
mod limits;
mod listen;
mod overdue;
mod replica;
mod report;
mod run;

pub use config::{Config, ConfigError, Flags};
pub use error::ServerError;
pub use run::run;
