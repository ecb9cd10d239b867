//! The side that connects: whom it trusts, and what it shows of itself.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::ClientConfig;
use rustls_pki_types::{DnsName, ServerName};

use super::{
    certificate::{TlsError, read},
    protocol::{VERSIONS, provider},
    roots::system_roots,
    told::Told,
};

/// The side of TLS that connects. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Caller {
    trust: Arc<Trust>,
    /// The name that certificates must have, instead of that of the host.
    name: Option<String>,
}

/// Whom it trusts.
#[derive(Debug)]
struct Trust {
    config: RwLock<Arc<ClientConfig>>,
    /// A file with roots, which may change, and what was found there last.
    ca: Option<(PathBuf, Mutex<Looked>)>,
}

/// What was found when the file was looked at last.
#[derive(Debug)]
struct Looked {
    text: Vec<u8>,
    failed: Option<String>,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.trust, &other.trust) && self.name == other.name
    }
}

impl Eq for Caller {}

impl Caller {
    /// Trusts the roots of the system and those in the file `ca`, and shows nothing of itself.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let text = ca.map(read).transpose()?.unwrap_or_default();
        let config = RwLock::new(trusting(ca)?);
        let ca = ca.map(|ca| (ca.to_owned(), Looked { text, failed: None }.into()));
        Ok(Self { trust: Arc::new(Trust { config, ca }), name: None })
    }

    pub(super) fn of(config: Arc<ClientConfig>, name: Option<String>) -> Self {
        Self { trust: Arc::new(Trust { config: config.into(), ca: None }), name }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.trust.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the file again, and takes up what has changed. Reads files: it is nothing for a core.
    #[must_use]
    pub fn look(&self) -> Option<Told> {
        let (ca, looked) = self.trust.ca.as_ref()?;
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(ca).and_then(|text| {
            let is_changed = text != looked.text;
            Ok(is_changed.then_some(text).zip(is_changed.then(|| trusting(Some(ca))).transpose()?))
        });
        match found {
            Ok(None) => {
                looked.failed = None;
                None
            }
            Ok(Some((text, config))) => {
                *self.trust.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                *looked = Looked { text, failed: None };
                Some(Told::Reloaded)
            }
            Err(error) => {
                let error = error.to_string();
                let is_known = looked.failed.as_ref() == Some(&error);
                looked.failed = Some(error.clone());
                (!is_known).then_some(Told::Kept(error))
            }
        }
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

/// What trusts the roots of the system and those in the file, and shows nothing of itself.
fn trusting(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| TlsError::System(error.to_string()))?
        .with_root_certificates(system_roots(ca)?.store())
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A host as certificates name it: addresses of IPv6 are in brackets elsewhere.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::IpAddress(address.into())),
        Err(_) => DnsName::try_from(host.to_owned()).ok().map(ServerName::DnsName),
    }
}
