//! Every setting as it is given: as a flag, in the environment, or in a file.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::values::{
    ExecutorChoice, Listen, LogFormat, OriginUrl, Place, Role, Size, TenantName, Time,
};
use crate::api::browser::{HostName, Origin};

/// Everything that can be set, each optional: the same names as flags, with
/// `CHANGEAGENT_` in the environment, and in the file.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Flags {
    /// A TOML file with any of these settings
    #[arg(long, env = "CHANGEAGENT_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
    /// The data directory, made if it is missing [default: ./data]
    #[arg(long, env = "CHANGEAGENT_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Where clients reach the node [default: 127.0.0.1:9000]
    #[arg(long, env = "CHANGEAGENT_LISTEN", value_name = "HOST:PORT")]
    pub(super) listen: Option<Listen>,
    /// Where other nodes reach the node; without it there are none
    #[arg(long, env = "CHANGEAGENT_CLUSTER_LISTEN", value_name = "HOST:PORT")]
    pub(super) cluster_listen: Option<Listen>,
    /// What clients are told of --listen, where that differs
    #[arg(long, env = "CHANGEAGENT_ADVERTISE", value_name = "HOST:PORT")]
    pub(super) advertise: Option<Place>,
    /// What other nodes are told of --cluster-listen, where that differs
    #[arg(long, env = "CHANGEAGENT_CLUSTER_ADVERTISE", value_name = "HOST:PORT")]
    pub(super) cluster_advertise: Option<Place>,
    /// With a cluster address and an empty data directory: found a cluster, of this node alone
    #[arg(
        long,
        env = "CHANGEAGENT_FOUND",
        value_name = "BOOLEAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) found: Option<bool>,
    /// With an empty data directory: found a cluster once so many empty nodes, all named by --join, have found
    /// each other; where there is a cluster already, join it
    #[arg(long, env = "CHANGEAGENT_BOOTSTRAP_EXPECT", value_name = "N")]
    pub(super) bootstrap_expect: Option<usize>,
    /// With an empty data directory: where clients reach nodes of a cluster, one of
    /// which is asked to take this node in
    #[arg(
        long,
        env = "CHANGEAGENT_JOIN",
        value_name = "HOST:PORT[,HOST:PORT]",
        value_delimiter = ','
    )]
    pub(super) join: Option<Vec<Place>>,
    /// What to join as: a learner is a read-only replica [default: voter]
    #[arg(long, env = "CHANGEAGENT_ROLE", value_name = "ROLE")]
    pub(super) role: Option<Role>,
    /// A file with the token that may do everything, 32 to 255 visible characters: with it every
    /// request needs a token
    #[arg(long, env = "CHANGEAGENT_ROOT_TOKEN_FILE", value_name = "FILE")]
    pub(super) root_token_file: Option<PathBuf>,
    /// A file to which a line of JSON is added for each request that administers; `-` for standard error
    #[arg(long, env = "CHANGEAGENT_AUDIT", value_name = "FILE")]
    pub(super) audit: Option<PathBuf>,
    /// A file of keys (JWKS): a JWT that is signed with one of them is a token, too, if it is for --jwt-audience
    /// and says a role; read again when it changes
    #[arg(long, env = "CHANGEAGENT_JWT_KEYS", value_name = "FILE")]
    pub(super) jwt_keys: Option<PathBuf>,
    /// For whom such JWTs must be: what their claim aud is or has
    #[arg(long, env = "CHANGEAGENT_JWT_AUDIENCE", value_name = "NAME")]
    pub(super) jwt_audience: Option<String>,
    /// A name besides localhost and the advertised ones under which clients
    /// reach the node
    #[arg(long, env = "CHANGEAGENT_ALLOW_HOST", value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub(super) allow_host: Option<Vec<HostName>>,
    /// An origin whose web pages may write to the node and read from it, such as
    /// `https://app.example`
    #[arg(
        long,
        env = "CHANGEAGENT_ALLOW_ORIGIN",
        value_name = "ORIGIN[,ORIGIN]",
        value_delimiter = ','
    )]
    pub(super) allow_origin: Option<Vec<Origin>>,
    /// The certificate that clients are shown, as PEM, with those that lead to its root: clients speak
    /// TLS then, and nothing else; read again when it changes
    #[arg(long, env = "CHANGEAGENT_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM
    #[arg(long, env = "CHANGEAGENT_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Clients must show a certificate of one of the roots in this file
    #[arg(long, env = "CHANGEAGENT_TLS_CLIENT_CA", value_name = "FILE")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// Trust the certificates in this file of PEM, too, where this node is a client of others: of the nodes
    /// that it asks to be taken in, and a cache of its origin
    #[arg(long, env = "CHANGEAGENT_CA", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate that this node shows to the others, as PEM: all nodes speak TLS to each other then; it must have the name
    /// of the host under which they reach this one; read again when it changes
    #[arg(long, env = "CHANGEAGENT_CLUSTER_TLS_CERT", value_name = "FILE")]
    pub(super) cluster_tls_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM
    #[arg(long, env = "CHANGEAGENT_CLUSTER_TLS_KEY", value_name = "FILE")]
    pub(super) cluster_tls_key: Option<PathBuf>,
    /// The others must show a certificate of one of the roots in this file, whether they connect or are
    /// connected to
    #[arg(long, env = "CHANGEAGENT_CLUSTER_TLS_CA", value_name = "FILE")]
    pub(super) cluster_tls_ca: Option<PathBuf>,
    /// A name that the certificates of all nodes have, instead of each that of its host
    #[arg(long, env = "CHANGEAGENT_CLUSTER_TLS_NAME", value_name = "NAME")]
    pub(super) cluster_tls_name: Option<HostName>,
    /// Speak also to nodes that do not speak TLS yet: for the time of a rolling restart
    #[arg(
        long,
        env = "CHANGEAGENT_CLUSTER_TLS_OPTIONAL",
        value_name = "BOOLEAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) cluster_tls_optional: Option<bool>,
    /// Listen where other machines reach the node also without TLS or a root token
    #[arg(
        long,
        env = "CHANGEAGENT_INSECURE",
        value_name = "BOOLEAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) insecure: Option<bool>,
    /// How often a leader says that it leads [default: 150ms]
    #[arg(long, env = "CHANGEAGENT_HEARTBEAT", value_name = "TIME")]
    pub(super) heartbeat: Option<Time>,
    /// A leader that is silent for one and a half to two of these is replaced [default: 600ms]
    #[arg(long, env = "CHANGEAGENT_ELECTION_TIMEOUT", value_name = "TIME")]
    pub(super) election_timeout: Option<Time>,
    /// Executors, at most 64 or one for each processor: one runs Raft and the log,
    /// all but it serve; 1 does both
    #[arg(long, env = "CHANGEAGENT_CORES", value_name = "N")]
    pub(super) cores: Option<usize>,
    /// What they run on: auto takes io-uring where the system allows it, else portable: epoll, and
    /// for files io_uring where the system allows that, else threads [default: auto]
    #[arg(long, env = "CHANGEAGENT_EXECUTOR", value_name = "KIND")]
    pub(super) executor: Option<ExecutorChoice>,
    /// How the log on standard error is written: text, or json with an object a line [default: text]
    #[arg(long, env = "CHANGEAGENT_LOG_FORMAT", value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Size of one file of the log [default: 64MiB]
    #[arg(long, env = "CHANGEAGENT_SEGMENT_SIZE", value_name = "SIZE")]
    pub(super) segment_size: Option<Size>,
    /// Keep at least so many of the newest changes [default: all]; with --retain-min-age
    /// what either keeps is kept
    #[arg(long, env = "CHANGEAGENT_RETAIN_MIN_CHANGES", value_name = "N")]
    pub(super) retain_min_changes: Option<u64>,
    /// Keep changes younger than this, such as 7d [default: all]
    #[arg(long, env = "CHANGEAGENT_RETAIN_MIN_AGE", value_name = "TIME")]
    pub(super) retain_min_age: Option<Time>,
    /// How often all complete parts of the log are read again and verified [default: 1d]
    #[arg(long, env = "CHANGEAGENT_SCRUB_PERIOD", value_name = "TIME")]
    pub(super) scrub_period: Option<Time>,
    /// Largest request head [default: 16KiB]
    #[arg(long, env = "CHANGEAGENT_MAX_HEAD", value_name = "SIZE")]
    pub(super) max_head: Option<Size>,
    /// Largest request body [default: 16MiB]
    #[arg(long, env = "CHANGEAGENT_MAX_BODY", value_name = "SIZE")]
    pub(super) max_body: Option<Size>,
    /// Largest data of one change [default: 1MiB]
    #[arg(long, env = "CHANGEAGENT_MAX_DATA", value_name = "SIZE")]
    pub(super) max_data: Option<Size>,
    /// Most changes in one batch [default: 10000]
    #[arg(long, env = "CHANGEAGENT_MAX_BATCH", value_name = "N")]
    pub(super) max_batch: Option<usize>,
    /// Deepest nesting of JSON [default: 128]
    #[arg(long, env = "CHANGEAGENT_MAX_DEPTH", value_name = "N")]
    pub(super) max_depth: Option<usize>,
    /// Most connections of the node [default: 16384, or what the limit of open files
    /// allows]
    #[arg(long, env = "CHANGEAGENT_MAX_CONNECTIONS", value_name = "N")]
    pub(super) max_connections: Option<usize>,
    /// Most bytes of requests and unsent answers held at once [default: 512MiB]
    #[arg(long, env = "CHANGEAGENT_MAX_HELD", value_name = "SIZE")]
    pub(super) max_held: Option<Size>,
    /// Show in /metrics what so many tenants use, those with most use, up to 10000 [default: 0]
    #[arg(long, env = "CHANGEAGENT_METRICS_TENANTS", value_name = "N")]
    pub(super) metrics_tenants: Option<usize>,
    /// Longest time for a request head to arrive [default: 10s]
    #[arg(long, env = "CHANGEAGENT_HEAD_TIMEOUT", value_name = "TIME")]
    pub(super) head_timeout: Option<Time>,
    /// Longest time for a request body to arrive [default: 1m]
    #[arg(long, env = "CHANGEAGENT_BODY_TIMEOUT", value_name = "TIME")]
    pub(super) body_timeout: Option<Time>,
    /// Longest time between two requests on a connection [default: 75s]
    #[arg(long, env = "CHANGEAGENT_IDLE_TIMEOUT", value_name = "TIME")]
    pub(super) idle_timeout: Option<Time>,
    /// Longest time for a client to take the next 64 KiB of its answer [default: 30s]
    #[arg(long, env = "CHANGEAGENT_WRITE_TIMEOUT", value_name = "TIME")]
    pub(super) write_timeout: Option<Time>,
    /// Of a cache alone
    #[arg(skip)]
    pub(super) of: Option<Vec<OriginUrl>>,
    /// Likewise
    #[arg(skip)]
    pub(super) max_stale: Option<Time>,
    /// Likewise
    #[arg(skip)]
    pub(super) tenant: Option<Vec<TenantName>>,
    /// Likewise
    #[arg(skip)]
    pub(super) token_file: Option<PathBuf>,
}

impl Flags {
    /// A setting of a cluster that is given here or in `file`, where a cache is asked for, which has none.
    pub(super) fn of_cache_and_cluster(&self, file: &Self) -> Option<&'static str> {
        let is_cache = self.of.is_some() || file.of.is_some();
        self.of_cluster().or_else(|| file.of_cluster()).filter(|_| is_cache)
    }

    fn of_cluster(&self) -> Option<&'static str> {
        let given = [
            ("cluster-listen", self.cluster_listen.is_some()),
            ("cluster-advertise", self.cluster_advertise.is_some()),
            ("found", self.found.is_some()),
            ("bootstrap-expect", self.bootstrap_expect.is_some()),
            ("join", self.join.is_some()),
            ("role", self.role.is_some()),
            ("heartbeat", self.heartbeat.is_some()),
            ("election-timeout", self.election_timeout.is_some()),
            ("cluster-tls-cert", self.cluster_tls_cert.is_some()),
            ("cluster-tls-key", self.cluster_tls_key.is_some()),
            ("cluster-tls-ca", self.cluster_tls_ca.is_some()),
            ("cluster-tls-name", self.cluster_tls_name.is_some()),
            ("cluster-tls-optional", self.cluster_tls_optional.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

/// Everything that can be set for a cache. The settings of a cluster are refused with their names, and
/// not shown.
#[derive(Clone, Debug, Default, Args)]
#[command(
    mut_arg("cluster_listen", |it| it.hide(true)),
    mut_arg("cluster_advertise", |it| it.hide(true)),
    mut_arg("found", |it| it.hide(true)),
    mut_arg("bootstrap_expect", |it| it.hide(true)),
    mut_arg("join", |it| it.hide(true)),
    mut_arg("role", |it| it.hide(true)),
    mut_arg("heartbeat", |it| it.hide(true)),
    mut_arg("election_timeout", |it| it.hide(true)),
    mut_arg("cluster_tls_cert", |it| it.hide(true)),
    mut_arg("cluster_tls_key", |it| it.hide(true)),
    mut_arg("cluster_tls_ca", |it| it.hide(true)),
    mut_arg("cluster_tls_name", |it| it.hide(true)),
    mut_arg("cluster_tls_optional", |it| it.hide(true))
)]
pub struct CacheFlags {
    /// Where clients reach the origin: a node, or several of one cluster, or other caches of it
    #[arg(long, env = "CHANGEAGENT_OF", value_name = "URL[,URL]", value_delimiter = ',')]
    of: Option<Vec<OriginUrl>>,
    /// With the origin away it is read for so long [default: 1h]
    #[arg(long, env = "CHANGEAGENT_MAX_STALE", value_name = "TIME")]
    max_stale: Option<Time>,
    /// Nothing but this tenant, by its name or UUID; repeatable, up to 100 [default: the whole history]
    #[arg(long, env = "CHANGEAGENT_TENANT", value_name = "T", value_delimiter = ',')]
    tenant: Option<Vec<TenantName>>,
    /// A file with the token that the origin asks for
    #[arg(long, env = "CHANGEAGENT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    node: Flags,
}

impl From<CacheFlags> for Flags {
    fn from(CacheFlags { of, max_stale, tenant, token_file, node }: CacheFlags) -> Self {
        Self { of, max_stale, tenant, token_file, ..node }
    }
}
