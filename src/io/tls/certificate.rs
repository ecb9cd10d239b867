//! Certificates and keys in files of PEM.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{RootCertStore, server::WebPkiClientVerifier, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use super::{
    protocol::provider,
    validity::{Validity, validity},
};
use crate::base::{ids::Timestamp, moment};

/// The longest file of certificates or of a key, in bytes: all roots of a system fit it.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A certificate that ends within this time is told of.
const ENDS_SOON_SECONDS: i64 = 14 * 86_400;

/// Why TLS cannot be had of some files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It has not what it should have.
    #[error("{0}: {1}")]
    Invalid(PathBuf, String),
    /// Certificate and key do not fit each other, or cannot be used.
    #[error("{0} and {1}: {2}")]
    Pair(PathBuf, PathBuf, String),
    /// The random numbers of the system cannot be had.
    #[error("TLS: {0}")]
    System(String),
}

/// Where a certificate with its chain is, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate first, then those that lead to its root, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// What the file holds.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let error = format!("it has {bytes} bytes, more than {FILE_BYTES_MAX}");
        return Err(TlsError::Invalid(path.to_owned(), error));
    }
    fs::read(path).map_err(unreadable)
}

/// All certificates in the text of `path`, one at least.
pub(super) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let invalid = |error: String| TlsError::Invalid(path.to_owned(), error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| invalid(format!("it is no PEM: {error}")))?;
    match found.is_empty() {
        true => Err(invalid("there is no certificate in it (PEM is expected)".into())),
        false => Ok(found),
    }
}

/// The roots in the text of `path`.
pub(super) fn roots(path: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in certificates(path, text)? {
        let invalid = |error: rustls::Error| TlsError::Invalid(path.to_owned(), error.to_string());
        store.add(root).map_err(invalid)?;
    }
    Ok(store)
}

/// What checks that a client has a certificate of one of these roots.
pub(super) fn client_verifier(
    path: &Path,
    roots: RootCertStore,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    verifier.build().map_err(|error| TlsError::Invalid(path.to_owned(), error.to_string()))
}

/// Checks that `verifier`, as all nodes have it, trusts the chain of `pair`, whatever the time is: a
/// certificate that has expired is told of elsewhere.
pub(super) fn check_trust(
    pair: &Pair,
    chain: &[CertificateDer<'static>],
    verifier: &dyn rustls::server::danger::ClientCertVerifier,
) -> Result<(), TlsError> {
    use rustls::{
        CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext},
        Error::InvalidCertificate,
    };
    let Some((own, others)) = chain.split_first() else { return Ok(()) };
    match verifier.verify_client_cert(own, others, UnixTime::now()) {
        Ok(_)
        | Err(InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        )) => Ok(()),
        Err(error) => {
            let error = format!("other nodes would not trust it, by cluster-tls-ca: {error}");
            Err(TlsError::Invalid(pair.certificate.clone(), error))
        }
    }
}

/// The private key in the text of `path`.
fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let error = format!("there is no private key in it (PEM is expected): {error}");
        TlsError::Invalid(path.to_owned(), error)
    })
}

/// The certificates of a pair, and its key as PEM, which fit each other.
///
/// # Errors
/// [`TlsError`]
pub fn read_pair(pair: &Pair) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), TlsError> {
    let (certificate, key) = (read(&pair.certificate)?, read(&pair.key)?);
    let certified = certified(pair, &certificate, &key)?;
    Ok((certified.cert.clone(), key))
}

/// The certificate and the key of these texts, which fit each other.
pub(super) fn certified(
    pair: &Pair,
    certificate: &[u8],
    key: &[u8],
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&pair.certificate, certificate)?;
    let key = private_key(&pair.key, key)?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let error = match error {
            rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".into(),
            error => error.to_string(),
        };
        TlsError::Pair(pair.certificate.clone(), pair.key.clone(), error)
    })?;
    Ok(Arc::new(certified))
}

/// How the times of a certificate stand to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Valid,
    EndsSoon(i64),
    Expired(i64),
    NotYet(i64),
}

impl Standing {
    /// That of the first certificate of a chain.
    pub(super) fn of(certified: &CertifiedKey, now: i64) -> Self {
        let Some(certificate) = certified.cert.first() else { return Self::Valid };
        // One that is laid out otherwise is told of in handshakes.
        let Some(Validity { from, until }) = validity(certificate) else { return Self::Valid };
        match now {
            _ if until < now => Self::Expired(until),
            _ if now < from => Self::NotYet(from),
            _ if until - now < ENDS_SOON_SECONDS => Self::EndsSoon(until),
            _ => Self::Valid,
        }
    }

    /// What is to be said of it, if anything.
    pub(super) fn warning(self) -> Option<String> {
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            moment::text_of_seconds(Timestamp(seconds.saturating_mul(1_000_000)))
        };
        match self {
            Self::Valid => None,
            Self::EndsSoon(until) => Some(format!("the certificate ends soon, at {}", at(until))),
            Self::Expired(until) => {
                Some(format!("the certificate has expired, at {}: others refuse it", at(until)))
            }
            Self::NotYet(from) => {
                let from = at(from);
                Some(format!(
                    "the certificate is not valid yet, only from {from}: others refuse it"
                ))
            }
        }
    }
}

/// Seconds since 1970-01-01 UTC.
pub(super) fn wall_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
