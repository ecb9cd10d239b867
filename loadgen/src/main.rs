//! Load generator for ChangeAgent. It speaks plain HTTP and shares no code with the server, so
//! that what it proves does not rest on the code under test.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`args`] | the command line |
//! | [`commands`] | what each command does: a workload says what to send when, and counts what comes |
//! | [`load`] | what all of them are made of: threads, schedules, payloads, the proof of what is stored |
//! | [`measure`] | what is counted and timed, and what is said in the end |
//! | [`http`] | connections, an epoll loop that drives many of them, a pure response parser |
//! | [`answers`] | what the bodies of answers say |
//! | [`base`] | what everything stands on |

mod answers;
mod args;
mod base;
mod commands;
mod http;
mod load;
mod measure;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use base::stop;
use commands::{
    beside, compare, fanout, fill, growth, ingest, keys, mixed, peers, read, report, tenants,
};
use measure::report::Outcome;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = stop::install().and_then(|()| match &arguments.command {
        Command::Ingest(arguments) => ingest::run(arguments),
        Command::Read(arguments) => read::run(arguments),
        Command::Wait(arguments) => fanout::run_polls(arguments),
        Command::Stream(arguments) => fanout::run_streams(arguments),
        Command::Tenants(arguments) => tenants::run(arguments),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Mixed(arguments) => mixed::run(arguments),
        Command::Soak(arguments) => mixed::run_soak(arguments),
        Command::Fill(arguments) => fill::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Growth(arguments) => growth::run(arguments),
        Command::Beside(arguments) => beside::run(arguments),
        Command::Peers(arguments) => peers::run(arguments),
    });
    match outcome {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
