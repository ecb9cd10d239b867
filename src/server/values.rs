//! How the values of settings are written.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    api::browser::{HostName, Origin},
    base::names::{Named, is_host_and_port},
    upstream::SECURED,
};

/// A number of bytes, written like `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    /// The number, where this machine can have so many, and it is not 0.
    pub(super) fn bytes(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|&bytes| bytes > 0)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64()))
    }
}

/// A time, written like `1m 30s` or `500ms`; at least a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        if time < Duration::from_millis(1) {
            return Err("shorter than 1ms".into());
        }
        Ok(Self(time))
    }
}

/// An address to listen on, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    /// The name of the host, if it has one: others look it up themselves.
    pub(super) name: Option<String>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use std::net::ToSocketAddrs;
        if let Ok(address) = text.parse() {
            return Ok(Self { address, name: None });
        }
        let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
        let address = addresses.next().ok_or_else(|| format!("{text} has no address"))?;
        let name = text.rsplit_once(':').map(|(host, _)| host.to_owned());
        Ok(Self { address, name })
    }
}

/// A place to be told to others, `host:port`: not looked up here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) String);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_host_and_port(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} is not of the form HOST:PORT")),
        }
    }
}

/// Where a cache finds its origin, `http://HOST:PORT` or `https://HOST:PORT`: not looked up here. Without the scheme
/// where that is `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OriginUrl(pub(super) String);

impl FromStr for OriginUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = text.strip_suffix('/').unwrap_or(text);
        let origin = url.strip_prefix("http://").or(url.starts_with(SECURED).then_some(url));
        let is_place =
            |origin: &&str| is_host_and_port(origin.strip_prefix(SECURED).unwrap_or(origin));
        match origin.filter(is_place) {
            Some(origin) => Ok(Self(origin.to_owned())),
            None => {
                Err(format!("{text:?} is not of the form http://HOST:PORT or https://HOST:PORT"))
            }
        }
    }
}

/// A tenant, by its name or UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TenantName(pub(super) String);

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Named::parse(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(format!("{text:?} is neither the name of a tenant nor a UUID")),
        }
    }
}

/// What a node is to a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It votes.
    #[default]
    Voter,
    /// It is a read-only replica.
    Learner,
}

/// What executors are to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutorChoice {
    /// io_uring where the system allows it, else portable
    #[default]
    Auto,
    /// io_uring, or nothing
    IoUring,
    /// epoll, and for files io_uring where the system allows it, else threads
    Portable,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// An object of JSON a line
    Json,
}

macro_rules! from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

from_text!(Size, Time, Listen, Place, OriginUrl, TenantName, HostName, Origin);
