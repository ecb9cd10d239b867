//! `changeagent members`: who the members of a cluster are, and changes of that,
//! each watched until it has come about.

mod arguments;
mod change;
mod goal;
mod list;

use clap::Subcommand;
use ureq::http::uri::Authority;

use self::{
    arguments::{ChangeArguments, Role},
    change::Change,
};
use super::failure::Failure;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the members, and how far each is
    List(list::Arguments),
    /// Take in a running, empty node
    Add {
        /// Where clients reach the node: its --listen, or its --advertise
        #[arg(value_name = "HOST:PORT", value_parser = host_and_port)]
        address: String,
        /// What it becomes
        #[arg(long, value_enum, default_value_t = Role::Voter)]
        role: Role,
        #[command(flatten)]
        how: ChangeArguments,
    },
    /// Take a member out
    Remove {
        /// The member
        id: u64,
        #[command(flatten)]
        how: ChangeArguments,
    },
    /// Give a member a vote, or take it away with --role learner
    Promote {
        /// The member
        id: u64,
        /// What it becomes
        #[arg(long, value_enum, default_value_t = Role::Voter)]
        role: Role,
        #[command(flatten)]
        how: ChangeArguments,
    },
    /// Hand leadership over to a member
    Lead {
        /// The member
        id: u64,
        #[command(flatten)]
        how: ChangeArguments,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list::run(arguments),
        Command::Add { address, role, how } => Change::add(address, *role).run(how),
        Command::Remove { id, how } => Change::remove(*id).run(how),
        Command::Promote { id, role, how } => Change::promote(*id, *role).run(how),
        Command::Lead { id, how } => Change::lead(*id).run(how),
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let authority: Option<Authority> = text.parse().ok();
    match authority {
        Some(authority)
            if !authority.host().is_empty()
                && authority.port_u16().is_some_and(|port| port > 0)
                && !text.contains('@') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be of the form HOST:PORT".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:9000", "localhost:1", "[::1]:65535", "a.example:80"] {
            assert_eq!(host_and_port(text).as_deref(), Ok(text));
        }
        for text in ["", "h", ":9000", "h:", "h:0", "h:65536", "h:x", "http://h:1", "h:1/", "u@h:1"]
        {
            assert!(host_and_port(text).is_err(), "{text:?}");
        }
    }
}
