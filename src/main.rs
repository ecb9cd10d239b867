//! The `changeagent` program: reads its arguments and hands over to the library.

use std::process::ExitCode;

use changeagent::cli::CommandLine;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    CommandLine::parse().run()
}
