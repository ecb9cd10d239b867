//! TLS as it is set, and the files of it, looked at again for as long as the node runs.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{exposure::Spoken, flags::Flags, https::Https};
use crate::{
    api::browser::HostName,
    io::tls::{Caller, Entrance, NodeTls, Pair, TlsError, Told},
    node::copy::CopyOf,
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What is set of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// What clients are shown; without it they speak plain HTTP.
    pub clients: Option<Side>,
    /// What other nodes are shown; without it they speak plain TCP.
    pub nodes: Option<NodeSide>,
    /// A file with roots that are trusted, besides those of the system, where the node is itself a client.
    pub ca: Option<PathBuf>,
}

/// The port of the other nodes under TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSide {
    /// What they are shown, wherever they connect or are connected to.
    pub pair: Pair,
    /// The roots of the certificates that they must show.
    pub ca: PathBuf,
    /// The name that all certificates have, if it is not that of each node's host.
    pub name: Option<HostName>,
    /// Nodes without TLS are spoken to as well.
    pub is_optional: bool,
}

/// One port under TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What whoever connects is shown.
    pub pair: Pair,
    /// The roots of the certificates that whoever connects must show, if any.
    pub ca: Option<PathBuf>,
}

impl TlsSettings {
    /// What the flags say, or else the file.
    ///
    /// # Errors
    /// Where one is given without another that it needs.
    pub(super) fn merge(flags: &Flags, file: &Flags) -> Result<Self, String> {
        let given =
            |of: fn(&Flags) -> &Option<PathBuf>| of(flags).clone().or_else(|| of(file).clone());
        let certificate = given(|flags| &flags.tls_cert);
        let key = given(|flags| &flags.tls_key);
        let ca = given(|flags| &flags.tls_client_ca);
        let clients = match (certificate, key, ca) {
            (Some(certificate), Some(key), ca) => {
                Some(Side { pair: Pair { certificate, key }, ca })
            }
            (None, None, None) => None,
            (None, None, Some(_)) => return Err("tls-client-ca needs tls-cert and tls-key".into()),
            _ => return Err("tls-cert and tls-key need each other".into()),
        };
        Ok(Self { clients, nodes: nodes(flags, file)?, ca: given(|flags| &flags.ca) })
    }

    pub(super) fn spoken_to_clients(&self) -> Spoken {
        if self.clients.is_some() { Spoken::Tls } else { Spoken::Plain }
    }

    pub(super) fn spoken_to_nodes(&self) -> Spoken {
        match &self.nodes {
            None => Spoken::Plain,
            Some(nodes) if nodes.is_optional => Spoken::Both,
            Some(_) => Spoken::Tls,
        }
    }
}

fn nodes(flags: &Flags, file: &Flags) -> Result<Option<NodeSide>, String> {
    let given = |of: fn(&Flags) -> &Option<PathBuf>| of(flags).clone().or_else(|| of(file).clone());
    let certificate = given(|flags| &flags.cluster_tls_cert);
    let key = given(|flags| &flags.cluster_tls_key);
    let ca = given(|flags| &flags.cluster_tls_ca);
    let name = flags.cluster_tls_name.clone().or_else(|| file.cluster_tls_name.clone());
    let is_optional = flags.cluster_tls_optional.or(file.cluster_tls_optional).unwrap_or(false);
    match (certificate, key, ca) {
        (Some(certificate), Some(key), Some(ca)) => {
            Ok(Some(NodeSide { pair: Pair { certificate, key }, ca, name, is_optional }))
        }
        (None, None, None) if name.is_none() && !is_optional => Ok(None),
        (None, None, None) => {
            Err("cluster-tls-name and cluster-tls-optional need cluster-tls-cert".into())
        }
        _ => Err("cluster-tls-cert, cluster-tls-key and cluster-tls-ca need each other".into()),
    }
}

/// TLS of a node that runs.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) clients: Option<Arc<Entrance>>,
    pub(super) nodes: Option<Arc<NodeTls>>,
    /// How other nodes are asked as their clients ask them: over TLS, if this one speaks it to its own.
    pub(super) introductions: Option<Https>,
    /// What a copy trusts its origins by.
    pub(super) origins: Option<Caller>,
}

impl Tls {
    /// Reads the files that are set; a copy has read those by which it trusts its origins.
    pub(super) fn open(settings: &TlsSettings, copy: Option<&CopyOf>) -> Result<Self, TlsError> {
        let open = |side: &Side| Entrance::new(side.pair.clone(), side.ca.clone()).map(Arc::new);
        let clients = settings.clients.as_ref().map(open).transpose()?;
        let open = |side: &NodeSide| {
            let name = side.name.as_ref().map(|name| name.as_str().to_owned());
            NodeTls::new(side.pair.clone(), side.ca.clone(), name, side.is_optional).map(Arc::new)
        };
        let nodes = settings.nodes.as_ref().map(open).transpose()?;
        let introductions = settings.clients.as_ref().map(|side| {
            let of_cluster = settings.nodes.as_ref().map(|nodes| &nodes.ca);
            let ca = settings.ca.iter().chain(of_cluster).cloned().collect();
            Https { ca, pair: side.ca.as_ref().map(|_| side.pair.clone()) }
        });
        // Files that cannot be used are told of now.
        introductions.as_ref().map(Https::config).transpose()?;
        let origins = copy.and_then(|copy| copy.caller.clone());
        Ok(Self { clients, nodes, introductions, origins })
    }

    /// Checks that other nodes will find what they expect at `address`, `host:port`, where they reach this one.
    pub(super) fn check_name(&self, address: &str) -> Result<(), TlsError> {
        let Some((nodes, (host, _))) = self.nodes.as_ref().zip(address.rsplit_once(':')) else {
            return Ok(());
        };
        nodes.check_own_name(host)
    }

    /// How clients begin a URL.
    pub(super) fn scheme(&self) -> &'static str {
        if self.clients.is_some() { "https" } else { "http" }
    }
}

/// Looks at the files again and again, on a thread that may wait for the disk.
pub(super) struct TlsWatch {
    tls: Tls,
    next: Instant,
}

impl TlsWatch {
    /// Has looked once, so that what is wrong with the time of a certificate is told at the start.
    pub(super) fn new(tls: Tls) -> Self {
        let mut watch = Self { tls, next: Instant::now() };
        watch.look();
        watch
    }

    /// To be called at least a few times a second.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK;
        let Tls { clients, nodes, .. } = &self.tls;
        let clients = clients.as_ref().map(|entrance| ("clients", entrance));
        let nodes = nodes.as_ref().map(|nodes| ("nodes", nodes.entrance()));
        for (side, entrance) in clients.into_iter().chain(nodes) {
            entrance.look().into_iter().for_each(|told| tell(side, told));
        }
        if let Some(told) = self.tls.origins.as_ref().and_then(Caller::look) {
            tell("origins", told);
        }
    }
}

fn tell(side: &str, told: Told) {
    match told {
        Told::Reloaded => tracing::info!(side, "files of TLS are taken up anew"),
        Told::Kept(error) => {
            tracing::warn!(
                side,
                error,
                "new files of TLS cannot be used: those before stay in use"
            );
        }
        Told::Time(what) => tracing::warn!(side, "{what}"),
    }
}
