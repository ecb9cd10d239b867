//! What several commands take.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Serialize, Serializer};

use crate::http::target::Access;

/// How this program works, and where its figures go.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ClientArguments {
    /// Threads, each with an event loop over its share of the connections.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// How long an answer may take before its connection is given up.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) output: OutputArguments,
    /// Shows no progress.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) quiet: bool,
}

/// How long a turn of those who are measured one after the other takes.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub(crate) struct TurnArguments {
    /// How long each turn measures.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    #[serde(rename = "slice_s", serialize_with = "seconds")]
    pub(crate) slice: Duration,
    /// How long each turn loads before it measures.
    #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration)]
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub(crate) warmup: Duration,
}

/// What every command takes that is told its servers.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct CommonArguments {
    /// The server: http://host:port or https://host:port. May be repeated: connections are spread evenly over all.
    #[arg(long = "url", required = true)]
    pub(crate) urls: Vec<String>,
    /// The roots to trust for https, a file of PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) ca: Option<PathBuf>,
    /// A file with the token to show; without it the environment variable CHANGEAGENT_TOKEN, if it is set.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) client: ClientArguments,
}

impl CommonArguments {
    /// Whom the servers trust, and who is trusted to be one.
    pub(crate) fn access(&self) -> Result<Access> {
        let token = match &self.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                Some(text.with_context(|| format!("cannot read {}", file.display()))?)
            }
            None => std::env::var("CHANGEAGENT_TOKEN").ok(),
        };
        let token = token.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let is_sound = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            token.as_ref().is_none_or(is_sound),
            "a token is visible characters of ASCII alone"
        );
        Ok(Access { ca: self.ca.clone(), token })
    }
}

/// Where the figures go besides the terminal.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArguments {
    /// Also writes the figures and settings to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also writes the latencies of each interval to this file, as a log of HdrHistogram.
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Also writes a report with plots to this file, for a browser.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// How long a load runs.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub(crate) struct Phases {
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(crate) duration: Duration,
    /// How long to load before measuring.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub(crate) warmup: Duration,
}

/// What the appended changes look like.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct LoadArguments {
    /// Connections, over all threads.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Bytes of each change's `data`.
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    /// Changes in one request: more than one are sent as an array.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) batch: u16,
    /// A tag for every change; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
}

/// The search for the highest rate.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub(crate) struct SearchArguments {
    /// Searches for the highest rate whose p99 is below --p99: tries one after the other, each for
    /// --warmup and --duration, from --rate on (absent: 1000).
    #[arg(long, requires = "p99", conflicts_with = "hdr")]
    pub(crate) find_rate: bool,
    /// The p99 that a rate is to keep below.
    #[arg(long, value_parser = humantime::parse_duration, requires = "find_rate")]
    #[serde(rename = "p99_s", serialize_with = "some_seconds")]
    pub(crate) p99: Option<Duration>,
}

/// Durations stand in reports as seconds.
pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The same where there may be none.
pub(crate) fn some_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&duration.map(|duration| duration.as_secs_f64()))
}

/// A number above zero.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above 0".to_owned()),
    }
}
