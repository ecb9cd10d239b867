//! The names that certificates have.

use rustls::{client::verify_server_name, server::ParsedCertificate};
use rustls_pki_types::CertificateDer;

use super::{
    caller::server_name,
    certificate::{Pair, TlsError},
};

/// Checks that a node's own certificate has that name.
pub(super) fn check_name(
    pair: &Pair,
    chain: &[CertificateDer<'static>],
    name: &str,
) -> Result<(), TlsError> {
    if chain.first().is_some_and(|certificate| bears(certificate, name)) {
        return Ok(());
    }
    let error = format!(
        "the certificate does not have the name {name:?}, by which other nodes know this one \
         (cluster-advertise says another, cluster-tls-name one that all have)"
    );
    Err(TlsError::Invalid(pair.certificate.clone(), error))
}

/// Whether a certificate has that name.
pub(super) fn bears(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let parsed = ParsedCertificate::try_from(certificate).ok();
    parsed
        .zip(server_name(name))
        .is_some_and(|(certificate, name)| verify_server_name(&certificate, &name).is_ok())
}
