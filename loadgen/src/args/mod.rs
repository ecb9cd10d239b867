//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::answers::stream::StreamFormat;

mod common;
mod peers;
mod scenarios;
mod series;

pub(crate) use common::*;
pub(crate) use peers::*;
pub(crate) use scenarios::*;
pub(crate) use series::*;

/// Measures a ChangeAgent server over HTTP, and proves that what it acknowledged is there.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Appends changes from many connections, in an open or closed loop.
    Ingest(IngestArguments),
    /// Reads the list of changes over and over.
    Read(ReadArguments),
    /// Parks long-polls and measures from an append to the answers.
    Wait(FanoutArguments),
    /// Opens streams and measures from an append to its arrival on each of them.
    Stream(StreamArguments),
    /// Appends to the lists of many tenants, each with its waiters.
    Tenants(TenantsArguments),
    /// Puts, reads and deletes keys in a mix, and proves what each of them holds.
    Keys(KeysArguments),
    /// Writes, reads, waits and uses keys at given rates, all at once.
    Mixed(MixedArguments),
    /// Does what mixed does, for long, and watches the server's memory and descriptors.
    Soak(SoakArguments),
    /// Creates tenants, collections and live keys, each once.
    Fill(FillArguments),
    /// Draws the figures of one run or several, from the files of --json.
    Report(ReportArguments),
    /// Sends the same requests to two servers in turns and compares their rates.
    Compare(CompareArguments),
    /// Measures appends, pages and pages of tenants while the server grows.
    Growth(GrowthArguments),
    /// Measures appends at half their highest rate, alone and while something else is done.
    Beside(BesideArguments),
    /// Runs ChangeAgent, Redis, etcd and nginx through the same work in turns, as far as they are installed.
    Peers(PeersArguments),
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct IngestArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Where to POST.
    #[arg(long, default_value = "/changes")]
    pub(crate) path: String,
    /// Requests a second over all connections (open loop: latency counts from the moment a
    /// request was due); absent: each connection sends as fast as it is answered.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// Reads everything back afterwards and proves that each acknowledged change is there once,
    /// in order, unchanged; exit code 1 otherwise.
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) search: SearchArguments,
    /// The only status that counts as success; absent: any 2xx.
    #[arg(long, value_name = "STATUS", conflicts_with = "verify")]
    pub(crate) expect_status: Option<u16>,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ReadArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// The list to read.
    #[arg(long, default_value = "/changes")]
    pub(crate) path: String,
    /// Connections, over all threads.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// Changes in one answer at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Requests a second over all connections (open loop); absent: as fast as they are answered.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Reads at random positions instead of paging through the list.
    #[arg(long)]
    pub(crate) since_random: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// Holds every page against what is promised: ids in order, without a gap in the global list, times that do
    /// not go back, and changes of loadgen byte for byte; exit code 1 otherwise.
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) search: SearchArguments,
}

/// What `wait` and `stream` take.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// Long-polls to park, or streams to open, over all servers and threads.
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// The server that the changes are appended at; absent: the first --url.
    #[arg(long)]
    pub(crate) append_url: Option<String>,
    /// How often to append one change when all of them stand.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long to wait before the append when all of them stand.
    #[arg(long, default_value = "250ms", value_parser = humantime::parse_duration)]
    #[serde(rename = "settle_s", serialize_with = "seconds")]
    pub(crate) settle: Duration,
    /// `block` of each request, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub(crate) block: u32,
    /// Reads the appended changes back afterwards, as `ingest` does; exit code 1 when one is
    /// missing or changed.
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct StreamArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) fanout: FanoutArguments,
    /// What the streams are.
    #[arg(long, value_enum, default_value_t = StreamFormat::EventStream)]
    pub(crate) format: StreamFormat,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct FillArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// Connections, over all threads.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Tenants to create: tenant-000000 and so on.
    #[arg(long, default_value_t = 1)]
    pub(crate) tenants: u64,
    /// Collections to create in tenant-000000: collection-000000 and so on.
    #[arg(long, default_value_t = 1)]
    pub(crate) collections: u64,
    /// Keys to write, spread over the collections by the request.
    #[arg(long, default_value_t = 0)]
    pub(crate) keys: u64,
    /// Keys in one request.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) batch: u16,
    /// Reads back that everything is there, each once; exit code 1 otherwise.
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Where to POST on the first server.
    #[arg(long, default_value = "/changes")]
    pub(crate) path: String,
    /// The second server: http://host:port. May be repeated.
    #[arg(long = "url-b", required = true)]
    pub(crate) urls_b: Vec<String>,
    /// Where to POST on the second server.
    #[arg(long, default_value = "/")]
    pub(crate) path_b: String,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) turn: TurnArguments,
    /// Turns of each server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slices: u32,
    /// Reads back what each turn wrote, as `ingest` does, on the first server; exit code 1 when something is
    /// missing or changed.
    #[arg(long)]
    pub(crate) verify: bool,
    /// The same on the second server, which must be ChangeAgent too.
    #[arg(long)]
    pub(crate) verify_b: bool,
    /// Exit code 1 when the first server's rate is below this share of the second's.
    #[arg(long, value_name = "SHARE", value_parser = positive)]
    pub(crate) ratio_min: Option<f64>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArguments {
    /// Files that --json has written. A run is called as its file is.
    #[arg(required = true, value_name = "JSON")]
    pub(crate) files: Vec<PathBuf>,
    /// The file to write, for a browser.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_and_rates_are_read() {
        let line = "loadgen ingest --url http://h --duration 1500ms --rate 2e3 --warmup 0s";
        let arguments = Arguments::try_parse_from(line.split(' ')).expect("valid");
        let Command::Ingest(ingest) = arguments.command else { panic!("ingest") };
        assert_eq!(ingest.phases.duration, Duration::from_millis(1500));
        assert_eq!(ingest.phases.warmup, Duration::ZERO);
        assert_eq!(ingest.rate, Some(2000.0));
        for rate in ["0", "-1", "inf", "x"] {
            assert!(positive(rate).is_err(), "{rate}");
        }
    }
}
