//! The composition root of a process: settings, the order of start and stop, the
//! executors, and the sockets.

mod archive;
mod backup;
mod config;
mod context;
mod error;
mod executor;
mod flags;
mod handoff;
mod introductions;
mod limits;
mod listen;
mod offline;
mod overdue;
mod replica;
mod report;
mod run;
mod values;

pub use archive::Archive;
pub use backup::{Origin, backup, restore};
pub use config::{Config, ConfigError, TOKEN_VARIABLE};
pub use error::ServerError;
pub use flags::{CacheFlags, Flags};
pub use offline::{Recovered, check, recover};
pub use run::run;
pub use values::Role;
