//! Connections with TLS, by tokio and rustls.

use std::{io, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_util::{
    compat::{Compat, TokioAsyncReadCompatExt},
    either::Either,
};

use crate::{Connector, Tokio};

/// Connects by tokio, with TLS where an address begins with `https`: its runtime needs I/O and time.
#[derive(Clone)]
pub struct TokioTls {
    connector: TlsConnector,
}

impl std::fmt::Debug for TokioTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokioTls").finish_non_exhaustive()
    }
}

impl TokioTls {
    /// Trusts whom the system trusts; or the certificates in the file that `SSL_CERT_FILE` names, where that
    /// is set.
    ///
    /// # Errors
    /// There is nobody whom it trusts.
    pub fn of_system() -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let why = found.errors.into_iter().map(|error| error.to_string()).next();
        Self::trusting_all(found.certs, why)
    }

    /// Trusts nobody but the certificates in this text of PEM: a root of one's own, or the certificate of
    /// a node itself.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn trusting(pem: &[u8]) -> io::Result<Self> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        Self::trusting_all(found.map_err(io::Error::other)?, None)
    }

    /// By this configuration of rustls: with a certificate of the client, for instance.
    #[must_use]
    pub fn with(config: Arc<ClientConfig>) -> Self {
        Self { connector: TlsConnector::from(config) }
    }

    fn trusting_all(
        certificates: Vec<CertificateDer<'static>>,
        why: Option<String>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        // Systems have some that nobody reads any more.
        let (trusted, _) = roots.add_parsable_certificates(certificates);
        if trusted == 0 {
            let text = why.unwrap_or_else(|| "there is no certificate to trust".to_owned());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::with(Arc::new(config)))
    }
}

impl Connector for TokioTls {
    type Connection = Compat<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

    async fn connect(&self, host: &str, port: u16, tls: bool) -> io::Result<Self::Connection> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return Ok(Either::Left(stream).compat());
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        Ok(Either::Right(Box::new(stream)).compat())
    }

    async fn sleep(&self, duration: Duration) {
        Tokio.sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(TokioTls::trusting(b"").is_err(), "nobody would be trusted");
        let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(TokioTls::trusting(broken).is_err());
    }
}
