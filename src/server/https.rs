//! How this program speaks `https` as a client that may block.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{AlertDescription::CertificateRequired, CertificateError, crypto::ring};
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

/// Why a request failed, where the two have not come to terms on TLS because of a certificate: no request was
/// taken up, and none will be.
#[must_use]
pub fn disagreement(error: &ureq::Error) -> Option<String> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    match error {
        // Another root of the same name has signed nothing of it either.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some("its certificate is not signed by a root that is trusted: give --ca FILE".into()),
        rustls::Error::InvalidCertificate(why) => {
            Some(format!("its certificate is not good: {why}"))
        }
        rustls::Error::AlertReceived(CertificateRequired) => {
            Some("the node asks for a certificate: give --client-cert and --client-key".into())
        }
        _ => None,
    }
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
