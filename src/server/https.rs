//! How this program speaks `https` as a client that may block.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::crypto::ring;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::io::tls::{Pair, TlsError, read_pair, system_roots};

/// Trusts the roots of the system and those in these files, and shows `pair` to who asks for a certificate.
///
/// # Errors
/// Where the files cannot be used.
pub fn https<'a>(
    ca: impl IntoIterator<Item = &'a Path>,
    pair: Option<&Pair>,
) -> Result<TlsConfig, TlsError> {
    let roots = system_roots(ca)?;
    let roots: Vec<_> = roots.der().map(|der| Certificate::from_der(der).to_owned()).collect();
    let shown = pair.map(shown).transpose()?;
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(shown)
        .build())
}

/// The files of a client.
#[derive(Clone, Debug)]
pub(super) struct Https {
    /// Files with roots that are trusted besides those of the system.
    pub(super) ca: Vec<PathBuf>,
    /// What is shown to who asks for a certificate.
    pub(super) pair: Option<Pair>,
}

impl Https {
    /// What they say now.
    pub(super) fn config(&self) -> Result<TlsConfig, TlsError> {
        https(self.ca.iter().map(PathBuf::as_path), self.pair.as_ref())
    }
}

/// What is shown of that pair.
fn shown(pair: &Pair) -> Result<ClientCert, TlsError> {
    let (chain, key) = read_pair(pair)?;
    let key = PrivateKey::from_pem(&key)
        .map_err(|error| TlsError::Invalid(pair.key.clone(), error.to_string()))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, key))
}
