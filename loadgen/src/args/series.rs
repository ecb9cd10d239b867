//! The command lines of `growth` and `beside`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::common::{CommonArguments, Phases, TurnArguments, positive};

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct GrowthArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// Changes that the server holds when it is measured, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "0,10000,100000,1000000,10000000")]
    pub(crate) sizes: Vec<u64>,
    /// Tenants that it has when it is measured again, with 10 changes each.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000,100000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) tenants: Vec<u64>,
    /// Connections that append and read.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Bytes of each change's `data`.
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) turn: TurnArguments,
    /// Reads back what was appended while measuring, and holds pages against what is promised.
    #[arg(long)]
    pub(crate) verify: bool,
}

/// What is done beside appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Other {
    /// Pages of 100 changes at random places, and tenants' lists with one who waits at each.
    Mixed,
    /// Readers that page through everything there is, as fast as it goes.
    CatchUp,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct BesideArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// What is done beside the appends.
    #[arg(long = "with", value_enum, value_name = "WHAT")]
    pub(crate) other: Other,
    /// Appends a second; absent: half of what a closed loop reaches.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Connections that append.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Bytes of each change's `data`.
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    /// Connections that read.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) readers: u16,
    /// mixed: pages a second.
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    pub(crate) read_rate: f64,
    /// mixed: tenants, with one who waits at the list of each.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) tenants: u64,
    /// mixed: appends a second to their lists.
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    pub(crate) tenants_rate: f64,
    /// Changes that the server is to hold first; what it lacks is appended.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) fill: u64,
    /// The server's data directory, on this machine: the page cache is told to forget its files before they are read.
    #[arg(long, value_name = "DIR")]
    pub(crate) cold: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// Reads back what was appended, and holds pages against what is promised.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Exit code 1 when the p99 beside the other work is above so many times that alone.
    #[arg(long, value_name = "TIMES", value_parser = positive)]
    pub(crate) ratio_max: Option<f64>,
}
