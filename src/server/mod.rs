//! The composition root of a process: settings, the order of start and stop, the
//! executors, and the sockets.

mod archive;
mod audit;
mod backup;
mod config;
mod config_error;
mod context;
mod copy;
mod doctor;
mod error;
mod executors;
mod exposure;
mod flags;
mod founding;
mod handoff;
mod https;
mod introductions;
mod jwt;
mod limits;
mod listen;
mod offline;
mod overdue;
mod replica;
mod report;
mod run;
mod secrets;
mod supervisor;
mod tls;
mod values;

pub use archive::Archive;
pub use backup::{Origin, backup, restore};
pub use config::Config;
pub use config_error::ConfigError;
pub use copy::TOKEN_VARIABLE;
pub use doctor::{Finding, Verdict, examine};
pub use error::ServerError;
pub use flags::{CacheFlags, Flags};
pub use https::{disagreement, https};
pub use offline::{Recovered, check, recover};
pub use run::run;
pub use values::{ExecutorChoice, LogFormat, Role};
