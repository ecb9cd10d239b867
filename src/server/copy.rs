//! What a cache is set to be a copy of.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
    path::Path,
    time::Duration,
};

use super::{
    config_error::ConfigError,
    values::{OriginUrl, TenantName, Time},
};
use crate::{
    base::{
        limits::{ORIGINS_MAX, QUERY_LISTS_MAX},
        secret::Secret,
        timing::COPY_BLOCK,
    },
    io::tls::Caller,
    node::copy::CopyOf,
    upstream::SECURED,
};

/// The variable that holds the token that a client shows.
pub const TOKEN_VARIABLE: &str = "CHANGEAGENT_TOKEN";
/// How long a cache is read with its origin away, unless that is set.
pub(super) const STALE_MAX: Duration = Duration::from_secs(3_600);
/// The shortest such time: what a cache knows of its age comes every [`COPY_BLOCK`], and its answer is on the way.
pub(super) const STALE_MIN: Duration = COPY_BLOCK.saturating_add(Duration::from_secs(1));

/// What it is a cache of.
pub(super) fn copy(
    of: Option<Vec<OriginUrl>>,
    tenants: Option<Vec<TenantName>>,
    stale_max: Option<Time>,
    token: Option<Secret>,
    ca: Option<&Path>,
) -> Result<Option<CopyOf>, ConfigError> {
    let origins: Vec<String> = of.into_iter().flatten().map(|url| url.0).collect();
    let tenants: Vec<String> = tenants.into_iter().flatten().map(|name| name.0).collect();
    if origins.len() > ORIGINS_MAX {
        return refuse(format!("of names more than {ORIGINS_MAX} origins"));
    }
    if tenants.len() > QUERY_LISTS_MAX {
        return refuse(format!("tenant is given more than {QUERY_LISTS_MAX} times"));
    }
    if origins.is_empty() && !tenants.is_empty() {
        return refuse("tenant is a setting of changeagent cache".into());
    }
    if origins.is_empty() && token.is_some() {
        return refuse("token-file is a setting of changeagent cache".into());
    }
    let stale_max = stale_max.map_or(STALE_MAX, |time| time.0);
    if stale_max < STALE_MIN {
        return refuse(format!(
            "max-stale is {stale_max:?}; a cache asks its origin every {COPY_BLOCK:?}: {STALE_MIN:?} at least"
        ));
    }
    let is_secured = origins.iter().any(|origin| origin.starts_with(SECURED));
    let caller = is_secured.then(|| Caller::new(ca));
    let caller = caller.transpose().map_err(|error| error.to_string())?;
    Ok((!origins.is_empty()).then_some(CopyOf { origins, caller, tenants, stale_max, token }))
}

fn refuse<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Usage(text))
}

/// Whether none of the origins is the cache that listens there, as far as that can be told before it does; `names` are
/// what it is called.
///
/// # Errors
/// Which one is.
pub(super) fn check_not_own(
    origins: &[String],
    listen: SocketAddr,
    names: [Option<&str>; 2],
) -> Result<(), ConfigError> {
    let is_own = |origin: &&String| {
        let place = origin.strip_prefix(SECURED).unwrap_or(origin);
        let [advertised, name] = names;
        let named = name.map(|name| format!("{name}:{}", listen.port()));
        let port = place.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        advertised == Some(place)
            || named.as_deref() == Some(place)
            // Nothing is looked up of one at another port.
            || (port == Some(listen.port()) && reaches(place, listen.ip()))
    };
    match origins.iter().find(is_own) {
        Some(origin) => {
            refuse(format!("of names {origin}, which is this cache itself: it has no origin there"))
        }
        None => Ok(()),
    }
}

/// Whether who connects to `place` comes to a port of this machine that listens on `own`.
fn reaches(place: &str, own: IpAddr) -> bool {
    // What cannot be looked up now is found out when it is asked.
    let mut found = place.to_socket_addrs().into_iter().flatten().map(|address| address.ip());
    found.any(|ip| ip == own || (own.is_unspecified() && is_here(ip)))
}

/// Whether an address is one of this machine.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
