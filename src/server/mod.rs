//! The composition root of a process: settings, the order of start and stop, the
//! executors, and the sockets.

pub mod config;
mod context;
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
