//! The `changeagent` program: reads its arguments and hands over to the library.

use std::process::ExitCode;

use changeagent::server::{CommandLine, Config, run};
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let flags = CommandLine::parse().flags();
    let filter = EnvFilter::builder()
        .with_env_var("CHANGEAGENT_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,changeagent=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = Config::load(flags).map_err(|error| error.to_string());
    match outcome.and_then(|config| run(config).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("changeagent: {error}");
            ExitCode::FAILURE
        }
    }
}
