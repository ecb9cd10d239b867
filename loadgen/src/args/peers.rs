//! The command line of `peers`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::common::{ClientArguments, TurnArguments, seconds};

/// What can be set side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerName {
    /// ChangeAgent.
    Changeagent,
    /// Redis streams, `appendfsync always`.
    Redis,
    /// etcd through its JSON gateway.
    Etcd,
    /// nginx, which stores nothing: the bound of HTTP.
    Nginx,
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// One change a request, over each number of --connections.
    Append,
    /// Many changes a request, over 4 connections.
    Batch,
    /// 100 changes at random places, over 64 connections.
    Read,
    /// One change reaches all who wait.
    Wait,
    /// One change a request, at the leader of three nodes.
    Cluster,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct PeersArguments {
    /// Who takes part, of those that are installed.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "changeagent,redis,etcd,nginx")]
    pub(crate) peers: Vec<PeerName>,
    /// What is done.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "append,batch,read,wait,cluster"
    )]
    pub(crate) works: Vec<Work>,
    /// Connections that append: each number is a row. Three nodes get the lowest and the highest.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: Vec<u16>,
    /// Bytes of each change's `data`.
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    /// Changes that are held when reads begin.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub(crate) records: u32,
    /// Clients that wait for one change.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) waiters: u16,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) turn: TurnArguments,
    /// Turns of each peer.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slices: u32,
    /// When no further turn begins.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    #[serde(rename = "time_max_s", serialize_with = "seconds")]
    pub(crate) time_max: Duration,
    /// The program of ChangeAgent; absent: the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Where the peers keep their data meanwhile, on the disk that is to be measured; absent: the directory for
    /// temporary files.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Also writes the tables between the marks of this file, and a plot beside it.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) docs: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) client: ClientArguments,
}
