//! Whom this machine trusts.

use std::{path::Path, sync::Arc};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::certificate::{TlsError, certificates, read};

/// Roots of certificates: those of the system, and those of a file.
#[derive(Clone, Debug)]
pub struct SystemRoots(pub(super) Vec<CertificateDer<'static>>);

impl SystemRoots {
    /// The certificates, as DER.
    pub fn der(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|root| &**root)
    }

    /// Those among them that can be used: a system may have roots of kinds that nobody uses any more.
    pub(super) fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        let _ = store.add_parsable_certificates(self.0.iter().cloned());
        Arc::new(store)
    }
}

/// The roots of the system, and beside them the certificates in each of these files of PEM.
///
/// # Errors
/// When a file cannot be read, or has no certificate.
pub fn system_roots<'a>(
    files: impl IntoIterator<Item = &'a Path>,
) -> Result<SystemRoots, TlsError> {
    // A system may have none, or a file among them that is not sound: then what needs them is refused
    // in a handshake.
    let mut roots = rustls_native_certs::load_native_certs().certs;
    for file in files {
        roots.extend(certificates(file, &read(file)?)?);
    }
    Ok(SystemRoots(roots))
}
