//! Load generator for ChangeAgent. It speaks plain HTTP and shares no code with the server, so
//! that what it proves does not rest on the code under test.
//!
//! A command resolves its [`target`], and a [`fleet`] runs its workload on some threads. Each
//! thread has one [`engine`]: an epoll loop over its share of non-blocking [`connection`]s, whose
//! answers a pure [`response`] parser reads. A workload ([`ingest`], [`read`], [`wait`],
//! [`fill`]) says what to send when, by the clock of [`pace`], and counts into a [`tally`];
//! [`report`] prints the sum. [`verify`] reads an ingest run back and compares it with what was acknowledged.

mod args;
mod compare;
mod connection;
mod control;
mod engine;
mod fill;
mod fleet;
mod ingest;
mod pace;
mod page;
mod payload;
mod random;
mod read;
mod report;
mod response;
mod stop;
mod tally;
mod target;
mod verify;
mod wait;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use report::Outcome;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = stop::install().and_then(|()| match &arguments.command {
        Command::Ingest(arguments) => ingest::run(arguments),
        Command::Read(arguments) => read::run(arguments),
        Command::Wait(arguments) => wait::run(arguments),
        Command::Fill(arguments) => fill::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
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
