//! The composition root of a process: settings, the order of start and stop, the
//! executors, and the sockets.

mod check;
mod config;
mod context;
mod error;
mod executor;
mod flags;
mod handoff;
mod introductions;
mod limits;
mod listen;
mod overdue;
mod replica;
mod report;
mod run;
mod values;

pub use check::check;
pub use config::{Config, ConfigError};
pub use error::ServerError;
pub use flags::Flags;
pub use run::run;
pub use values::Role;
