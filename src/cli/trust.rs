//! Whom a command trusts over TLS, and what it shows of itself.

use std::path::PathBuf;

use clap::Args;
use ureq::tls::TlsConfig;

use super::failure::Failure;
use crate::{io::tls::Pair, server::https};

/// What an `https` URL needs beside what the system has.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustArguments {
    /// Trust the certificates in this file of PEM, too, for https
    #[arg(long, env = "CHANGEAGENT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to a node that asks for one, as PEM, with those that lead to its root
    #[arg(long, env = "CHANGEAGENT_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM
    #[arg(long, env = "CHANGEAGENT_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

impl TrustArguments {
    /// How TLS is spoken; the files are read where it is.
    ///
    /// # Errors
    /// Where the files cannot be used.
    pub(super) fn config(&self, is_secured: bool) -> Result<TlsConfig, Failure> {
        if !is_secured {
            return Ok(TlsConfig::default());
        }
        let pair = self.client_cert.clone().zip(self.client_key.clone());
        let pair = pair.map(|(certificate, key)| Pair { certificate, key });
        https(self.ca.as_deref(), pair.as_ref()).map_err(|error| Failure::Other(error.to_string()))
    }
}
