//! `changeagent serve`: a node in this process.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use crate::server::{Config, ConfigError, Flags, LogFormat, run as serve};

pub(super) fn run(flags: Flags) -> Result<(), Failure> {
    start(|| Config::load(flags))
}

/// Runs what `load` gives the settings of, with a log on standard error.
pub(super) fn start(load: impl FnOnce() -> Result<Config, ConfigError>) -> Result<(), Failure> {
    let config = load().map_err(|error| match error {
        ConfigError::Usage(said) => Failure::Usage(said),
        error => Failure::Other(error.to_string()),
    })?;
    log_to_standard_error(config.log_format);
    serve(config).map_err(|error| Failure::Other(error.to_string()))
}

fn log_to_standard_error(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_env_var("CHANGEAGENT_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,changeagent=info,openraft=off"));
    // Escape sequences are for people's eyes, unless they asked for none.
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !unwanted;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(colours).init(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).init(),
    }
}
