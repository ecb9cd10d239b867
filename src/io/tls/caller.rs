//! The side that connects: whom it trusts, and what it shows of itself.

use std::{io, net::IpAddr, sync::Arc};

use rustls::ClientConfig;
use rustls_pki_types::{DnsName, ServerName};

use super::{
    certificate::TlsError,
    protocol::{VERSIONS, provider},
    roots::SystemRoots,
};

/// The side of TLS that connects. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Caller {
    config: Arc<ClientConfig>,
    /// The name that certificates must have, instead of that of the host.
    name: Option<String>,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for Caller {}

impl Caller {
    /// Trusts these roots, and shows nothing of itself.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(roots: &SystemRoots) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| TlsError::System(error.to_string()))?
            .with_root_certificates(roots.store())
            .with_no_client_auth();
        Ok(Self::of(Arc::new(config), None))
    }

    pub(super) const fn of(config: Arc<ClientConfig>, name: Option<String>) -> Self {
        Self { config, name }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that a certificate must have.
    pub(super) fn name_of(&self, host: &str) -> io::Result<ServerName<'static>> {
        let host = self.name.as_deref().unwrap_or(host);
        server_name(host).ok_or_else(|| {
            let error = format!("{host:?} is no name that a certificate could have");
            io::Error::new(io::ErrorKind::InvalidInput, error)
        })
    }
}

/// A host as certificates name it: addresses of IPv6 are in brackets elsewhere.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::IpAddress(address.into())),
        Err(_) => DnsName::try_from(host.to_owned()).ok().map(ServerName::DnsName),
    }
}
