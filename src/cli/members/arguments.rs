//! What the commands about members have in common.

use std::{fmt, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::node::{NodeArguments, RetryArguments};

/// A node that has nothing to say for so long is not well.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What the commands that change something have in common.
#[derive(Debug, Args)]
pub(in crate::cli) struct ChangeArguments {
    #[command(flatten)]
    pub(super) node: NodeArguments,
    #[command(flatten)]
    pub(super) retry: RetryArguments,
    /// End when the change is accepted, before it has come about
    #[arg(long)]
    pub(super) no_wait: bool,
    /// How long to wait until it has come about
    #[arg(long, value_name = "TIME", default_value = "60s", conflicts_with = "no_wait")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
}

/// Whether a member takes part in decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Role {
    /// It votes, and counts for the quorum
    Voter,
    /// It is a read-only replica
    Learner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
        })
    }
}
