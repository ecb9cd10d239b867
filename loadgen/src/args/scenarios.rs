//! The command lines of scenarios, which do several things at once.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::common::{CommonArguments, LoadArguments, Phases, SearchArguments, positive, seconds};

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct TenantsArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Tenants to create, each with a list of its own.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) tenants: u64,
    /// Long-polls that wait at each list.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) waiters: u16,
    /// Appends a second over all lists, one list after the other; absent: 1000.
    #[arg(long, value_parser = positive, conflicts_with = "closed")]
    pub(crate) rate: Option<f64>,
    /// Closed loop: each connection appends as fast as it is answered.
    #[arg(long)]
    pub(crate) closed: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// `block` of each poll, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub(crate) block: u32,
    /// Reads everything back afterwards and proves that each acknowledged change is there once,
    /// in order, unchanged; exit code 1 otherwise.
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct KeysArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    /// Connections, over all threads. Each has keys of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Keys, over all connections, in one collection that is created for them.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,
    /// Bytes of each key's `data`.
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    /// Shares of the requests: puts, puts under a condition, reads, deletions.
    #[arg(long, default_value = "put=30,put-if=20,get=40,delete=10")]
    pub(crate) mix: Mix,
    /// Requests a second over all connections (open loop); absent: as fast as they are answered.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// Reads everything back afterwards: each change as `ingest` does, and every key.
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) search: SearchArguments,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct MixedArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Appends to the global list, in requests a second.
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Connections that read pages of the global list at random positions; 0: none.
    #[arg(long, default_value_t = 8)]
    pub(crate) readers: usize,
    /// Pages a second.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) read_rate: f64,
    /// Changes in one page at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Tenants to create, with one who waits at the list of each; 0: none.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) tenants: u64,
    /// Appends a second over the lists of the tenants, one list after the other.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) tenants_rate: f64,
    /// Keys to put, read and delete; 0: none.
    #[arg(long, default_value_t = 1000)]
    pub(crate) keys: u32,
    /// Requests for keys a second.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) keys_rate: f64,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) phases: Phases,
    /// Reads everything back afterwards: each change as `ingest` does, and every key.
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct SoakArguments {
    /// Its --verify is always on.
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) mixed: MixedArguments,
    /// How often the metrics of each server are read.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    #[serde(rename = "sample_every_s", serialize_with = "seconds")]
    pub(crate) sample_every: Duration,
}

/// Shares of kinds of requests, in no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Mix {
    pub(crate) put: u32,
    pub(crate) put_if: u32,
    pub(crate) get: u32,
    pub(crate) delete: u32,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { put: 0, put_if: 0, get: 0, delete: 0 };
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or("must be like put=30,get=70")?;
            let share = share.parse().map_err(|_| format!("{share} is no number"))?;
            match name {
                "put" => mix.put = share,
                "put-if" => mix.put_if = share,
                "get" => mix.get = share,
                "delete" => mix.delete = share,
                _ => return Err(format!("{name} is none of put, put-if, get, delete")),
            }
        }
        let shares = [mix.put, mix.put_if, mix.get, mix.delete];
        match shares.iter().try_fold(0u32, |sum, share| sum.checked_add(*share)) {
            None | Some(0) => Err("the sum of the shares is 0 or too large".to_owned()),
            Some(_) => Ok(mix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_names_its_shares() {
        let expected = Mix { put: 1, put_if: 0, get: 9, delete: 0 };
        assert_eq!("put=1,get=9".parse(), Ok(expected));
        for wrong in ["", "put", "put=x", "post=1", "put=0", "put=4294967295,get=1"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
