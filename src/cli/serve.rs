//! `changeagent serve`: a node in this process.

use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use crate::server::{Config, Flags, run as serve};

pub(super) fn run(flags: Flags) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .with_env_var("CHANGEAGENT_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,changeagent=info,openraft=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = Config::load(flags).map_err(|error| Failure::Other(error.to_string()))?;
    serve(config).map_err(|error| Failure::Other(error.to_string()))
}
