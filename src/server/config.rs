//! Settings: flags first, then the environment, then a TOML file, then
//! defaults.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    config_error::ConfigError,
    copy::{TOKEN_VARIABLE, check_not_own, copy},
    executors,
    exposure::{self, Port},
    flags::{CacheFlags, Flags},
    founding::FoundingSettings,
    jwt::JwtSettings,
    secrets::token,
    tls::TlsSettings,
    values::{ExecutorChoice, Listen, LogFormat, Role, Size, Time},
};
use crate::{
    api::browser::{HostName, Origin},
    base::{
        batch::SUFFIX_OVERHEAD_BYTES,
        limits::{KEY_BYTES_MAX, Limits, METRICS_TENANTS_MAX},
        secret::Secret,
        timing::SCRUB_PERIOD,
    },
    io::BLOCK,
    log::SEGMENT_BYTES_MAX,
    node::{copy::CopyOf, retention::Retention},
    raft::Timing,
};

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where clients reach the node; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The name of its host, where it was given by name.
    pub listen_name: Option<String>,
    /// Where other nodes reach it; port 0 picks a free one.
    pub cluster_listen: Option<SocketAddr>,
    /// The name of its host, likewise.
    pub cluster_listen_name: Option<String>,
    /// Where clients are told to reach it, if not there, `host:port`.
    pub advertise: Option<String>,
    /// Where other nodes are told to reach it, if not there, `host:port`.
    pub cluster_advertise: Option<String>,
    /// Whether an empty one founds a cluster.
    pub founding: FoundingSettings,
    /// Nodes that are asked to take an empty one in, `host:port`.
    pub join: Vec<String>,
    /// It is a cache of this.
    pub copy: Option<CopyOf>,
    /// Whether it is to vote there.
    pub role: Role,
    /// The token that may do everything; without one no request needs a token.
    pub root_token: Option<Secret>,
    /// Where it is written who administers; `-` is standard error.
    pub audit: Option<PathBuf>,
    /// Which JWTs are tokens, too.
    pub jwt: Option<JwtSettings>,
    /// Names under which clients reach it, besides those that are advertised.
    pub allow_hosts: Vec<HostName>,
    /// Origins whose web pages may use it.
    pub allow_origins: Vec<Origin>,
    /// What is encrypted, and who must show what.
    pub tls: TlsSettings,
    /// It may listen where other machines reach it without TLS or a root token.
    pub insecure: bool,
    /// How soon the loss of a leader is noticed.
    pub timing: Timing,
    /// Executors, at least 1.
    pub cores: usize,
    /// What they run on.
    pub executor: ExecutorChoice,
    /// How what happens is written to standard error.
    pub log_format: LogFormat,
    /// Bytes of one log segment.
    pub segment_bytes: u64,
    /// What is kept of history; everything unless it is set.
    pub retention: Option<Retention>,
    /// How often all complete segments are verified.
    pub scrub_period: Duration,
    /// What requests must keep to.
    pub limits: Limits,
}

impl Config {
    /// Merges flags and environment, which win, with the file that they name.
    ///
    /// # Errors
    /// [`ConfigError`], which says what and where.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let config = Self::read(flags)?;
        match config.copy {
            None => Ok(config),
            Some(_) => refuse("of is a setting of changeagent cache".into()),
        }
    }

    /// The same for a cache.
    ///
    /// # Errors
    /// [`ConfigError`], also when it is not said of what.
    pub fn load_cache(flags: CacheFlags) -> Result<Self, ConfigError> {
        let config = Self::read(flags.into())?;
        match config.copy {
            None => {
                let missing = "--of URL is missing: the node that this is to be a cache of";
                Err(ConfigError::Usage(missing.into()))
            }
            Some(_) => config.with_token_of_environment(),
        }
    }

    /// A token that the origin is shown may stand in the environment, too.
    fn with_token_of_environment(mut self) -> Result<Self, ConfigError> {
        if let Some(copy) = &mut self.copy
            && copy.token.is_none()
            && let Ok(text) = std::env::var(TOKEN_VARIABLE)
        {
            let refused =
                |error| ConfigError::Value(format!("{TOKEN_VARIABLE} is no token: {error}"));
            copy.token = Some(Secret::of_line(&text).map_err(refused)?);
        }
        Ok(self)
    }

    fn read(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None => Flags::default(),
        };
        if let Some(name) = flags.of_cache_and_cluster(&file) {
            let refused = format!("a cache belongs to no cluster: no {name}");
            return Err(ConfigError::Usage(refused));
        }
        Self::merge(flags, file)
    }

    fn merge(flags: Flags, file: Flags) -> Result<Self, ConfigError> {
        macro_rules! setting {
            ($name:ident, $default:expr) => {
                flags.$name.or(file.$name).map_or($default, |value| value.into())
            };
        }
        let (tls, jwt) = (TlsSettings::merge(&flags, &file)?, JwtSettings::merge(&flags, &file)?);
        let (usual, founding) = (Limits::default(), FoundingSettings::merge(&flags, &file));
        let here = Listen { address: SocketAddr::from(([127, 0, 0, 1], 9000)), name: None };
        let Listen { address: listen, name: listen_name } = setting!(listen, here);
        let cluster = flags.cluster_listen.or(file.cluster_listen);
        let cluster_advertise = flags.cluster_advertise.or(file.cluster_advertise);
        let (cluster_listen, cluster_name) = cluster.map(|it| (it.address, it.name)).unzip();
        let config = Self {
            data: setting!(data, PathBuf::from("./data")),
            listen,
            listen_name,
            cluster_listen,
            cluster_listen_name: cluster_name.flatten(),
            advertise: flags.advertise.or(file.advertise).map(|place| place.0),
            cluster_advertise: cluster_advertise.map(|place| place.0),
            founding,
            join: flags.join.or(file.join).into_iter().flatten().map(|place| place.0).collect(),
            copy: copy(
                flags.of.or(file.of),
                flags.tenant.or(file.tenant),
                flags.max_stale.or(file.max_stale),
                token("token-file", flags.token_file.or(file.token_file))?,
                tls.ca.as_deref(),
            )?,
            root_token: token("root-token-file", flags.root_token_file.or(file.root_token_file))?,
            audit: flags.audit.or(file.audit),
            jwt,
            allow_hosts: flags.allow_host.or(file.allow_host).unwrap_or_default(),
            allow_origins: flags.allow_origin.or(file.allow_origin).unwrap_or_default(),
            role: flags.role.or(file.role).unwrap_or_default(),
            tls,
            insecure: flags.insecure.or(file.insecure).unwrap_or(false),
            timing: Timing {
                heartbeat: setting!(heartbeat, Time(Timing::default().heartbeat)).0,
                election: setting!(election_timeout, Time(Timing::default().election)).0,
            },
            cores: flags.cores.or(file.cores).unwrap_or_else(executors::usual_count),
            executor: flags.executor.or(file.executor).unwrap_or_default(),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            segment_bytes: setting!(segment_size, Size(64 << 20)).0,
            retention: retention(
                flags.retain_min_changes.or(file.retain_min_changes),
                flags.retain_min_age.or(file.retain_min_age),
            ),
            scrub_period: setting!(scrub_period, Time(SCRUB_PERIOD)).0,
            limits: Limits {
                head_bytes: bytes("max-head", setting!(max_head, Size(usual.head_bytes as u64)))?,
                body_bytes: bytes("max-body", setting!(max_body, Size(usual.body_bytes as u64)))?,
                data_bytes: bytes("max-data", setting!(max_data, Size(usual.data_bytes as u64)))?,
                batch_changes: setting!(max_batch, usual.batch_changes),
                json_depth: setting!(max_depth, usual.json_depth),
                head_timeout: setting!(head_timeout, Time(usual.head_timeout)).0,
                body_timeout: setting!(body_timeout, Time(usual.body_timeout)).0,
                idle_timeout: setting!(idle_timeout, Time(usual.idle_timeout)).0,
                write_timeout: setting!(write_timeout, Time(usual.write_timeout)).0,
                connections: setting!(max_connections, usual.connections),
                metrics_tenants: setting!(metrics_tenants, usual.metrics_tenants),
                held_bytes: bytes("max-held", setting!(max_held, Size(usual.held_bytes as u64)))?,
                ..usual
            },
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let cores_max = executors::count_max();
        if !(1..=cores_max).contains(&self.cores) {
            return refuse(format!("cores is {}, not 1 to {cores_max}", self.cores));
        }
        self.check_cluster()?;
        if let Some(copy) = &self.copy {
            let names = [self.advertise.as_deref(), self.listen_name.as_deref()];
            check_not_own(&copy.origins, self.listen, names)?;
        }
        self.check_limits()?;
        self.check_segment_size()?;
        self.check_exposure()
    }

    fn check_exposure(&self) -> Result<(), ConfigError> {
        if self.insecure {
            return Ok(());
        }
        let clients = Port {
            flag: "listen",
            address: self.listen,
            spoken: self.tls.spoken_to_clients(),
            is_of_cluster: self.cluster_listen.is_some(),
            remedy: "--tls-cert tls/cert.pem --tls-key tls/key.pem",
        };
        let nodes = self.cluster_listen.map(|address| Port {
            flag: "cluster-listen",
            address,
            spoken: self.tls.spoken_to_nodes(),
            is_of_cluster: true,
            remedy: "--cluster-tls-cert tls/cert.pem --cluster-tls-key tls/key.pem \
                     --cluster-tls-ca tls/ca.pem",
        });
        let ports = std::iter::once(clients).chain(nodes);
        Ok(exposure::check(ports, self.root_token.is_some())?)
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        let Timing { heartbeat, election } = self.timing;
        if election < heartbeat * 3 {
            return refuse(format!(
                "election-timeout is {election:?}; it must be three times the heartbeat of \
                 {heartbeat:?} at least"
            ));
        }
        if election > TIMING_MAX {
            return refuse(format!("election-timeout is {election:?}, above {TIMING_MAX:?}"));
        }
        if self.cluster_listen.is_none() {
            let given = [
                ("join", !self.join.is_empty()),
                ("cluster-advertise", self.cluster_advertise.is_some()),
            ];
            if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                return refuse(format!("{flag} needs cluster-listen"));
            }
        }
        self.founding.check(self.cluster_listen.is_some(), self.join.len(), self.role)?;
        let listens = [
            ("advertise", self.cluster_listen.map(|_| self.listen), &self.advertise),
            ("cluster-advertise", self.cluster_listen, &self.cluster_advertise),
        ];
        for (flag, listen, advertise) in listens {
            if let Some(address) = listen.filter(|address| address.ip().is_unspecified())
                && advertise.is_none()
            {
                return refuse(format!("others cannot reach {address}: set {flag} as well"));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        if self.limits.batch_changes == 0 || self.limits.json_depth == 0 {
            return refuse("max-batch and max-depth are at least 1".into());
        }
        let Limits { head_bytes, body_bytes, held_bytes, connections, .. } = self.limits;
        let sizes = [("max-head", head_bytes), ("max-body", body_bytes), ("max-held", held_bytes)];
        if let Some((name, bytes)) = sizes.iter().find(|(_, bytes)| *bytes < REQUEST_BYTES_MIN) {
            return refuse(format!("{name} is {bytes} bytes, below {REQUEST_BYTES_MIN}"));
        }
        if self.limits.metrics_tenants > METRICS_TENANTS_MAX {
            return refuse(format!("metrics-tenants is at most {METRICS_TENANTS_MAX}"));
        }
        if connections == 0 {
            return refuse("max-connections is at least 1".into());
        }
        if body_bytes > BODY_BYTES_MAX {
            return refuse(format!("max-body is at most {BODY_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn check_segment_size(&self) -> Result<(), ConfigError> {
        // A batch holds, besides what was sent, some bytes for each change, and
        // once the key of a path.
        let each = (CHANGE_BYTES_MAX as u64).saturating_mul(self.limits.batch_changes as u64);
        let fixed = self.limits.body_bytes as u64 + KEY_SPELLED_BYTES_MAX;
        // More than any segment has is refused below, whatever it is.
        let batch = fixed.saturating_add(each).min(2 * SEGMENT_BYTES_MAX);
        // The log keeps a sixteenth of each segment for what is not an entry.
        let needed = (batch + SEGMENT_OVERHEAD_BYTES).next_multiple_of(BLOCK as u64) * 16 / 15;
        if self.segment_bytes < needed || self.segment_bytes > SEGMENT_BYTES_MAX {
            return refuse(format!(
                "segment-size is {} bytes; with this max-body and max-batch it must be from \
                 {needed} to {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            ));
        }
        if !self.segment_bytes.is_multiple_of(BLOCK as u64) {
            return refuse(format!(
                "segment-size is {} bytes, not a multiple of {}",
                self.segment_bytes, BLOCK
            ));
        }
        Ok(())
    }
}

fn refuse<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Value(text))
}

/// A number of bytes to be held in memory.
fn bytes(name: &str, size: Size) -> Result<usize, ConfigError> {
    let refused = || ConfigError::Value(format!("{name} is {} bytes", size.0));
    size.bytes().ok_or_else(refused)
}

/// What is not said keeps nothing by itself; without either, all is kept.
fn retention(min_changes: Option<u64>, min_age: Option<Time>) -> Option<Retention> {
    (min_changes.is_some() || min_age.is_some()).then(|| Retention {
        min_changes: min_changes.unwrap_or(0),
        min_age: min_age.map_or(Duration::ZERO, |time| time.0),
    })
}

/// Less would refuse every request.
const REQUEST_BYTES_MIN: usize = 1 << 10;
const TIMING_MAX: Duration = Duration::from_secs(60);
const BODY_BYTES_MAX: usize = 512 << 20;
/// What storing a change adds to its text: its place in the batch, and the UUIDs
/// of its tenant and collection.
const CHANGE_BYTES_MAX: usize = 24 + SUFFIX_OVERHEAD_BYTES;
/// A key of control characters, as it is stored.
const KEY_SPELLED_BYTES_MAX: u64 = 6 * KEY_BYTES_MAX as u64 + 2;
/// Headers and padding of a segment.
const SEGMENT_OVERHEAD_BYTES: u64 = 64 << 10;

fn read_file(path: &Path) -> Result<Flags, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()
        });
        let error = format!("line {line}: {}", error.message());
        ConfigError::Invalid { path: path.into(), error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::copy::{STALE_MAX, STALE_MIN};

    fn file(text: &str) -> Result<Config, ConfigError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), text).unwrap();
        Config::load(Flags { config: Some(path.path().into()), ..Flags::default() })
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = Config::load(Flags::default()).unwrap();
        assert_eq!(config.data, Path::new("./data"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(config.segment_bytes, 64 << 20);
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), "listen = \"127.0.0.1:1\"\nmax-body = \"1MiB\"\n").unwrap();
        let flags = Flags {
            config: Some(path.path().into()),
            listen: Some("127.0.0.1:2".parse().unwrap()),
            ..Flags::default()
        };
        let config = Config::load(flags).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.limits.body_bytes, 1 << 20);
        assert_eq!(config.limits.data_bytes, 1 << 20);
    }

    #[test]
    fn a_cache_is_of_something_and_belongs_to_no_cluster() {
        let flags = |of: &[&str], node| {
            let of = of.iter().map(|url| url.parse().unwrap()).collect();
            Flags { of: Some(of), ..node }
        };
        let config = Config::read(flags(&["http://a:1", "http://b:2/"], Flags::default())).unwrap();
        let copy = config.copy.unwrap();
        assert_eq!((copy.origins, copy.stale_max), (vec!["a:1".into(), "b:2".into()], STALE_MAX));
        let none = Config::load_cache(CacheFlags::default()).unwrap_err();
        assert!(matches!(&none, ConfigError::Usage(said) if said.contains("--of URL is missing")));
    }

    #[test]
    fn a_cache_hears_from_its_origin_before_it_is_too_old() {
        let flags = |time: &str| Flags {
            of: Some(vec!["http://a:1".parse().unwrap()]),
            max_stale: Some(time.parse().unwrap()),
            ..Flags::default()
        };
        let refused = Config::read(flags("2999ms")).unwrap_err().to_string();
        assert_eq!(refused, "max-stale is 2.999s; a cache asks its origin every 2s: 3s at least");
        assert_eq!(Config::read(flags("3s")).unwrap().copy.unwrap().stale_max, STALE_MIN);
    }

    #[test]
    fn a_cache_is_not_of_itself() {
        let of = |listen: &str, advertise: Option<&str>, of: &str| {
            let flags = Flags {
                of: Some(vec!["http://a:1".parse().unwrap(), of.parse().unwrap()]),
                listen: Some(listen.parse().unwrap()),
                advertise: advertise.map(|place| place.parse().unwrap()),
                insecure: Some(true),
                ..Flags::default()
            };
            Config::read(flags)
        };
        for (listen, advertise, origin) in [
            ("127.0.0.1:9", None, "http://127.0.0.1:9"),
            ("127.0.0.1:9", None, "https://localhost:9/"),
            ("localhost:9", None, "http://localhost:9"),
            ("0.0.0.0:9", None, "http://127.0.0.1:9"),
            ("[::]:9", None, "http://localhost:9"),
            ("127.0.0.1:8", Some("cache.example:9"), "http://cache.example:9"),
        ] {
            let refused = of(listen, advertise, origin).unwrap_err();
            let ConfigError::Usage(said) = &refused else { panic!("{refused:?}") };
            assert!(said.contains("is this cache itself"), "{said}");
        }
        for (listen, origin) in [
            ("127.0.0.1:9", "http://127.0.0.1:8"),
            ("127.0.0.1:9", "http://192.0.2.1:9"),
            ("0.0.0.0:9", "http://192.0.2.1:9"),
            ("127.0.0.1:0", "http://127.0.0.1:9"),
        ] {
            assert!(of(listen, None, origin).is_ok(), "{listen} {origin}");
        }
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named_with_its_line() {
        for (text, want) in [
            ("cores = 1\nlisten = 7\n", "line 2: invalid type: integer `7`"),
            ("\n\nlisen = \"x\"\n", "line 3: unknown field `lisen`"),
            ("segment-size = \"1 gobble\"", "line 1: "),
            ("idle-timeout = \"0s\"", "shorter than 1ms"),
            ("cores = 0", "cores is 0"),
            ("cores = 100000", "cores is 100000"),
            ("max-head = \"10B\"", "max-head is 10 bytes"),
            ("max-body = \"1B\"", "max-body is 1 bytes"),
            ("max-held = \"1B\"", "max-held is 1 bytes"),
            ("max-connections = 0", "max-connections"),
            ("election-timeout = \"400ms\"", "three times the heartbeat of 150ms"),
            (
                "heartbeat = \"30s\"\nelection-timeout = \"90s\"",
                "election-timeout is 90s, above 60s",
            ),
            ("join = [\"10.0.0.1:9000\"]", "join needs cluster-listen"),
            ("found = true", "found needs cluster-listen"),
            ("bootstrap-expect = 3", "bootstrap-expect needs cluster-listen"),
            ("advertise = \"here\"", "\"here\" is not of the form HOST:PORT"),
            ("jwt-keys = \"k\"", "jwt-keys and jwt-audience need each other"),
            ("jwt-audience = \"a\"", "jwt-keys and jwt-audience need each other"),
            ("jwt-keys = \"k\"\njwt-audience = \"\"", "jwt-audience has 1 to 255 bytes"),
            ("jwt-keys = \"k\"\njwt-audience = \"a\"", "jwt-keys needs root-token-file"),
            ("allow-origin = [\"*\"]", "\"*\" is not of the form https://HOST"),
            ("allow-host = [\"a:1\"]", "\"a:1\" is not the name of a host"),
            ("of = [\"10.0.0.1:9000\"]", "is not of the form http://HOST:PORT"),
            ("of = [\"http://10.0.0.1:9000\"]", "of is a setting of changeagent cache"),
            ("role = \"king\"", "line 1: unknown variant `king`"),
            ("listen = \"0.0.0.0:1\"\ncluster-listen = \"127.0.0.1:2\"", "set advertise as well"),
            ("listen = \"0.0.0.0:1\"", "listen 0.0.0.0:1 can be reached from other machines"),
            ("cluster-listen = \"10.0.0.1:1\"", "--cluster-tls-cert tls/cert.pem"),
            ("segment-size = \"1MiB\"", "segment-size is 1048576 bytes; with this max-body"),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text:?} gave {error:?}");
        }
    }
}
