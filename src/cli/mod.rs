//! The command line: `serve` runs a node, `check`, `restore` and `recover` work on files, and every other
//! command is a client of a node, over the same HTTP API as everybody else's. One file per command.

mod advice;
mod backup;
mod broken;
mod cache;
mod check;
mod cluster;
mod doctor;
mod drain;
mod export;
mod failure;
mod files;
mod import;
mod input;
mod line;
mod list;
mod members;
mod node;
mod order;
mod page;
mod post;
mod progress;
mod reader;
mod recover;
mod restore;
mod retry;
mod serve;
mod status;
mod table;
mod tail;
mod tls;
mod token;
mod trust;
mod upgrade_check;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::server::{CacheFlags, Flags};
use failure::Failure;

/// The command line of `changeagent`.
#[derive(Debug, Parser)]
#[command(name = "changeagent", version, about, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node (what happens without a command, too)
    Serve(Box<Flags>),
    /// Run a read-only copy of a history, which needs nothing but HTTP to its origin
    Cache(Box<CacheFlags>),
    /// Show a node and its cluster; exit code 1 when it is not ready
    Status(status::Arguments),
    /// Show the members of a cluster, and change who they are
    #[command(subcommand)]
    Members(members::Command),
    /// Have a node hand leadership over, and wait until it may stop
    Drain(drain::Arguments),
    /// Say whether this program may take the place of those that run, node by node; exit code 1 when not
    UpgradeCheck(upgrade_check::Arguments),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Store one change, or one for each line of standard input
    Post(post::Arguments),
    /// Print the newest changes of a list, and follow it with -f
    Tail(tail::Arguments),
    /// Write a list to standard output or a file, one change a line
    Export(export::Arguments),
    /// Store the changes of a file, each exactly once
    Import(import::Arguments),
    /// Verify every byte of a data directory that no node uses; exit code 1 when it is damaged
    Check(check::Arguments),
    /// Copy what a node holds to a directory or an archive, whatever it does meanwhile; later only what is new
    Backup(backup::Arguments),
    /// Make a data directory of a backup
    Restore(restore::Arguments),
    /// Say whether this machine is fit for a node, and what to do; exit code 1 when it is not
    Doctor(doctor::Arguments),
    /// Make certificates
    #[command(subcommand)]
    Tls(tls::Command),
    /// When a quorum of a cluster is lost for good: begin a new cluster with what a survivor has
    Recover(recover::Arguments),
}

impl CommandLine {
    /// Does what was asked for: exit code 0 when that was done, 1 when not, 2 when
    /// it could never be.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            None => serve::run(self.serve),
            Some(Command::Serve(flags)) => serve::run(*flags),
            Some(Command::Cache(flags)) => cache::run(*flags),
            Some(Command::Status(arguments)) => status::run(&arguments),
            Some(Command::Members(command)) => members::run(&command),
            Some(Command::Drain(arguments)) => drain::run(&arguments),
            Some(Command::UpgradeCheck(arguments)) => upgrade_check::run(&arguments),
            Some(Command::Token(command)) => token::run(&command),
            Some(Command::Post(arguments)) => post::run(&arguments),
            Some(Command::Tail(arguments)) => tail::run(&arguments),
            Some(Command::Export(arguments)) => export::run(&arguments),
            Some(Command::Import(arguments)) => import::run(&arguments),
            Some(Command::Check(arguments)) => check::run(&arguments),
            Some(Command::Backup(arguments)) => backup::run(&arguments),
            Some(Command::Restore(arguments)) => restore::run(&arguments),
            Some(Command::Doctor(arguments)) => doctor::run(&arguments),
            Some(Command::Tls(command)) => tls::run(&command),
            Some(Command::Recover(arguments)) => recover::run(&arguments),
        };
        match outcome {
            // Whoever read the output has seen enough.
            Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
            Err(failure) => {
                failure::tell(&failure);
                ExitCode::from(failure.exit_code())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_node_is_served_with_and_without_the_command() {
        assert!(parse("changeagent").unwrap().command.is_none());
        assert!(parse("changeagent --data x").unwrap().command.is_none());
        let serve = parse("changeagent serve --data x").unwrap();
        assert!(matches!(serve.command, Some(Command::Serve(_))));
    }

    #[test]
    fn wrong_usage_is_found_before_anything_is_done() {
        for line in [
            "changeagent --data x status",
            "changeagent --of http://h:1 --data x",
            "changeagent cache --of h:1 --data x",
            "changeagent cache --of ftp://h:1 --data x",
            "changeagent --tenant t --data x",
            "changeagent status --url localhost:9000",
            "changeagent status --url ftp://localhost:9000",
            "changeagent status --client-cert x",
            "changeagent tail -n x",
            "changeagent tail -n 3 --since 4",
            "changeagent export --resume",
            "changeagent export --since 3 --out x --resume",
            "changeagent import",
            "changeagent import x --map 1=2",
            "changeagent import x --batch 0",
            "changeagent backup",
            "changeagent backup --out x --segment-size 1KiB",
            "changeagent restore --data x",
            "changeagent restore --from y --data x --until soon",
            "changeagent restore --from y --data x --until 2026-13-01T00:00:00Z",
            "changeagent members",
            "changeagent tls",
            "changeagent tls self-signed",
            "changeagent tls self-signed --out x --name a:1",
            "changeagent token",
            "changeagent token create --name n",
            "changeagent token create --name n --role root",
            "changeagent token create --name n --role read --for 1d --expires 2027-01-31T00:00:00Z",
            "changeagent token revoke",
            "changeagent members add localhost",
            "changeagent members add localhost:0",
            "changeagent members add http://localhost:9000",
            "changeagent members add h:1 --role leader",
            "changeagent members promote first",
            "changeagent members remove 3 --timeout soon",
            "changeagent members remove 3 --no-wait --timeout 5s",
            "changeagent members lead",
            "changeagent post --key k --data 1",
            "changeagent post --ndjson --data 1",
            "changeagent post --ndjson --collection c --key k",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
