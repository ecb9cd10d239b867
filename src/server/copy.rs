//! What a cache is set to be a copy of.

use std::{path::Path, time::Duration};

use super::values::{OriginUrl, TenantName, Time};
use crate::{
    base::{
        limits::{ORIGINS_MAX, QUERY_LISTS_MAX},
        secret::Secret,
    },
    io::tls::Caller,
    node::copy::CopyOf,
    upstream::SECURED,
};

/// The variable that holds the token that a client shows.
pub const TOKEN_VARIABLE: &str = "CHANGEAGENT_TOKEN";
/// How long a cache is read with its origin away, unless that is set.
pub(super) const STALE_MAX: Duration = Duration::from_secs(3_600);

/// What it is a cache of.
pub(super) fn copy(
    of: Option<Vec<OriginUrl>>,
    tenants: Option<Vec<TenantName>>,
    stale_max: Option<Time>,
    token: Option<Secret>,
    ca: Option<&Path>,
) -> Result<Option<CopyOf>, String> {
    let origins: Vec<String> = of.into_iter().flatten().map(|url| url.0).collect();
    let tenants: Vec<String> = tenants.into_iter().flatten().map(|name| name.0).collect();
    if origins.len() > ORIGINS_MAX {
        return Err(format!("of names more than {ORIGINS_MAX} origins"));
    }
    if tenants.len() > QUERY_LISTS_MAX {
        return Err(format!("tenant is given more than {QUERY_LISTS_MAX} times"));
    }
    if origins.is_empty() && !tenants.is_empty() {
        return Err("tenant is a setting of changeagent cache".into());
    }
    if origins.is_empty() && token.is_some() {
        return Err("token-file is a setting of changeagent cache".into());
    }
    let stale_max = stale_max.map_or(STALE_MAX, |time| time.0);
    let is_secured = origins.iter().any(|origin| origin.starts_with(SECURED));
    let caller = is_secured.then(|| Caller::new(ca));
    let caller = caller.transpose().map_err(|error| error.to_string())?;
    Ok((!origins.is_empty()).then_some(CopyOf { origins, caller, tenants, stale_max, token }))
}
