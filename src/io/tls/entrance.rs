//! The side that is connected to: what it shows, whom it lets in, and how files that change are taken
//! up.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, ServerConfig,
    crypto::ring::Ticketer,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};

use super::{
    caller::Caller,
    certificate::{
        Pair, Standing, TlsError, certified, check_trust, client_verifier, read, roots,
        wall_seconds,
    },
    names::check_name,
    protocol::{VERSIONS, provider},
    told::Told,
};

/// The files as they were read.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What was found when the files were looked at last.
struct Looked {
    /// What cannot be read any more is no change of what was.
    texts: Texts,
    failed: Option<String>,
    standing: Standing,
}

/// What new connections are made by.
struct Current {
    server: Arc<ServerConfig>,
    /// Between nodes: the same pair and roots for the side that connects.
    client: Option<Arc<ClientConfig>>,
}

/// The side of TLS that is connected to. All cores share it.
pub struct Entrance {
    pair: Pair,
    client_ca: Option<PathBuf>,
    /// Whether the other side is of the same kind, and is connected to as well.
    is_of_nodes: bool,
    /// The name that the certificate must have, of whichever files: the others would refuse it without.
    own_name: OnceLock<String>,
    current: RwLock<Current>,
    looked: Mutex<Looked>,
}

impl Entrance {
    /// With the certificate and the key of `pair`. With `client_ca` whoever connects needs a certificate of
    /// one of the roots in that file.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(pair: Pair, client_ca: Option<PathBuf>) -> Result<Self, TlsError> {
        Self::open(pair, client_ca, false)
    }

    /// The same between nodes, all of which show a certificate of a root in `ca`.
    pub(super) fn of_nodes(pair: Pair, ca: PathBuf) -> Result<Self, TlsError> {
        Self::open(pair, Some(ca), true)
    }

    fn open(pair: Pair, client_ca: Option<PathBuf>, is_of_nodes: bool) -> Result<Self, TlsError> {
        let texts = texts(&pair, client_ca.as_ref())?;
        let current = RwLock::new(current(&pair, client_ca.as_ref(), &texts, is_of_nodes)?);
        // How the certificate stands to the time is told at the first look.
        let looked = Looked { texts, failed: None, standing: Standing::Valid };
        let (own_name, looked) = (OnceLock::new(), looked.into());
        Ok(Self { pair, client_ca, is_of_nodes, own_name, current, looked })
    }

    /// Checks that the certificate has that name, and asks it of those to come.
    ///
    /// # Errors
    /// Where it has not.
    pub(super) fn demand_name(&self, name: &str) -> Result<(), TlsError> {
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.own_name.get_or_init(|| name.to_owned());
        self.check_name(&looked.texts, name)
    }

    fn check_name(&self, texts: &Texts, name: &str) -> Result<(), TlsError> {
        let certified = certified(&self.pair, &texts.certificate, &texts.key)?;
        check_name(&self.pair, &certified.cert, name)
    }

    /// What connects to other nodes, whose certificates have `name`, or that of their host.
    pub(super) fn caller(&self, name: Option<String>) -> Caller {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let config = current.client.clone().expect("nodes connect to each other");
        Caller::of(config, name)
    }

    /// What new connections are to be let in by.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).server)
    }

    /// Looks at the files again, and takes up what has changed. Reads files: it is nothing for a core.
    pub fn look(&self) -> Vec<Told> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        let outcome = texts(&self.pair, self.client_ca.as_ref()).and_then(|texts| {
            if texts == looked.texts {
                return Ok(None);
            }
            let (pair, ca) = (&self.pair, self.client_ca.as_ref());
            let current = current(pair, ca, &texts, self.is_of_nodes)?;
            self.own_name.get().map_or(Ok(()), |name| self.check_name(&texts, name))?;
            if self.is_of_nodes {
                let certified = certified(pair, &texts.certificate, &texts.key)?;
                check_time(pair, Standing::of(&certified, wall_seconds()))?;
            }
            Ok(Some((texts, current)))
        });
        match outcome {
            Ok(None) => looked.failed = None,
            Ok(Some((texts, current))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                looked.texts = texts;
                looked.failed = None;
                told.push(Told::Reloaded);
            }
            Err(error) => {
                let error = error.to_string();
                if looked.failed.as_ref() != Some(&error) {
                    told.push(Told::Kept(error.clone()));
                    looked.failed = Some(error);
                }
            }
        }
        let standing = certified(&self.pair, &looked.texts.certificate, &looked.texts.key)
            .map_or(Standing::Valid, |certified| Standing::of(&certified, wall_seconds()));
        if standing != looked.standing {
            looked.standing = standing;
            told.extend(standing.warning().map(Told::Time));
        }
        told
    }
}

/// Checks that other nodes take a certificate now: none is taken up in the place of a good one that they refuse.
fn check_time(pair: &Pair, standing: Standing) -> Result<(), TlsError> {
    match standing {
        Standing::Valid | Standing::EndsSoon(_) => Ok(()),
        Standing::Expired(_) | Standing::NotYet(_) => {
            let error = standing.warning().unwrap_or_default();
            Err(TlsError::Invalid(pair.certificate.clone(), error))
        }
    }
}

fn texts(pair: &Pair, client_ca: Option<&PathBuf>) -> Result<Texts, TlsError> {
    Ok(Texts {
        certificate: read(&pair.certificate)?,
        key: read(&pair.key)?,
        client_ca: client_ca.map(|path| read(path)).transpose()?,
    })
}

fn current(
    pair: &Pair,
    client_ca: Option<&PathBuf>,
    texts: &Texts,
    is_of_nodes: bool,
) -> Result<Current, TlsError> {
    let system = |error: rustls::Error| TlsError::System(error.to_string());
    let certified = certified(pair, &texts.certificate, &texts.key)?;
    let shown = Arc::new(SingleCertAndKey::from(Arc::clone(&certified)));
    let mut client = None;
    let verifier = match client_ca.zip(texts.client_ca.as_ref()) {
        Some((path, text)) => {
            let roots = roots(path, text)?;
            if is_of_nodes {
                let config = ClientConfig::builder_with_provider(provider())
                    .with_protocol_versions(VERSIONS)
                    .map_err(system)?
                    .with_root_certificates(roots.clone())
                    .with_client_cert_resolver(Arc::clone(&shown) as _);
                client = Some(Arc::new(config));
            }
            let verifier = client_verifier(path, roots)?;
            if is_of_nodes {
                check_trust(pair, &certified.cert, &*verifier)?;
            }
            verifier
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(system)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    if !is_of_nodes {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    // Who comes again bears what the node would otherwise remember of it. With other files older tickets
    // are worth nothing. Who must show a certificate shows it each time: a ticket would outlive that.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if client_ca.is_none() {
        config.ticketer = Ticketer::new().map_err(system)?;
        config.send_tls13_tickets = 1;
    }
    Ok(Current { server: Arc::new(config), client })
}
