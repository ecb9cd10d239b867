//! Where the requests go: an `http://host:port` or `https://host:port` base, resolved once.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::http::wire::Tls;

/// Whom the servers trust, and who is trusted to be one.
#[derive(Clone, Default)]
pub(crate) struct Access {
    /// A file with the roots of their certificates, for `https`.
    pub(crate) ca: Option<PathBuf>,
    /// The token to show.
    pub(crate) token: Option<String>,
}

/// The header fields that every request to a server bears, each with its line end. They are shown to nobody
/// else.
#[derive(Clone)]
pub(crate) struct Fields(String);

impl Fields {
    pub(crate) fn new(host: &str, token: Option<&str>) -> Self {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        Self(format!("Host: {host}\r\n{}", token.unwrap_or_default()))
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields")
    }
}

/// A server to load.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Value of the `Host` header.
    pub(crate) host: String,
    /// What every request to it bears.
    pub(crate) fields: Fields,
    /// Path of the base URL without a slash at its end: put before every path.
    pub(crate) prefix: String,
    /// It speaks TLS.
    pub(crate) tls: Option<Tls>,
    /// It is Redis, and answers a request by so many replies; 0 where HTTP is spoken.
    pub(crate) replies: u32,
}

impl Target {
    /// Reads and resolves `http://host[:port][/prefix]`, or the same with `https`.
    pub(crate) fn resolve(url: &str, access: &Access) -> Result<Self> {
        let (rest, is_secured) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => bail!("{url}: only http:// and https:// are spoken here"),
        };
        let (host, prefix) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        ensure!(!host.is_empty() && !host.contains('@'), "{url}: no host to connect to");
        check_path(prefix).with_context(|| format!("{url}: bad path"))?;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port {
            host.to_owned()
        } else {
            format!("{host}:{}", if is_secured { 443 } else { 80 })
        };
        let name = with_port.rsplit_once(':').map_or(host, |(name, _)| name);
        let tls = is_secured.then(|| Tls::new(name, access.ca.as_deref())).transpose();
        let tls = tls.with_context(|| format!("{url}: no TLS"))?;
        let address = with_port
            .to_socket_addrs()
            .with_context(|| format!("{url}: cannot resolve"))?
            .next()
            .with_context(|| format!("{url}: no address"))?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        let fields = Fields::new(host, access.token.as_deref());
        Ok(Self { address, host: host.to_owned(), fields, prefix, tls, replies: 0 })
    }

    /// The same server, but Redis, whose answer to a request is so many replies.
    pub(crate) fn redis(mut self, replies: u32) -> Self {
        self.replies = replies;
        self
    }

    /// The request target for a path below the base.
    pub(crate) fn path(&self, path: &str) -> Result<String> {
        ensure!(path.starts_with('/'), "path {path:?} must begin with /");
        check_path(path)?;
        Ok(format!("{}{path}", self.prefix))
    }
}

/// The servers that one load goes to: connections are spread evenly over them, by their number.
#[derive(Debug, Clone)]
pub(crate) struct Targets(Vec<Target>);

impl Targets {
    /// Reads and resolves one URL or more.
    pub(crate) fn resolve(urls: &[String], access: &Access) -> Result<Self> {
        ensure!(!urls.is_empty(), "--url is missing");
        urls.iter().map(|url| Target::resolve(url, access)).collect::<Result<_>>().map(Self)
    }

    /// The first, which is asked what only one needs to be asked.
    pub(crate) fn first(&self) -> &Target {
        &self.0[0]
    }

    /// Which of them, from 0, the connection of this number among all goes to.
    pub(crate) fn index_of(&self, connection: usize) -> usize {
        connection % self.0.len()
    }

    /// All of them, in the order in which they were given.
    pub(crate) fn all(&self) -> &[Target] {
        &self.0
    }
}

impl From<Target> for Targets {
    fn from(target: Target) -> Self {
        Self(vec![target])
    }
}

/// Refuses bytes that would break out of the request line.
fn check_path(path: &str) -> Result<()> {
    ensure!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?} is not percent-encoded");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target =
            Target::resolve("http://127.0.0.1:9000/base/", &Access::default()).expect("valid");
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 9000)));
        assert_eq!(target.host, "127.0.0.1:9000");
        assert_eq!(target.path("/changes").expect("valid"), "/base/changes");
        let plain = Target::resolve("http://127.0.0.1", &Access::default()).expect("valid");
        assert_eq!((plain.address.port(), plain.prefix.as_str()), (80, ""));
        let six = Target::resolve("http://[::1]:81", &Access::default()).expect("valid");
        assert_eq!(six.address.port(), 81);
    }

    #[test]
    fn a_token_is_shown_to_the_server_alone() {
        let access = Access { ca: None, token: Some("secret".to_owned()) };
        let target = Target::resolve("http://127.0.0.1:1", &access).expect("valid");
        let shown = "Host: 127.0.0.1:1\r\nAuthorization: Bearer secret\r\n";
        assert_eq!(target.fields.to_string(), shown);
        assert!(!format!("{target:?}").contains("secret"));
    }

    #[test]
    fn other_urls_and_paths_are_refused() {
        for url in ["https://x", "127.0.0.1:9000", "http://", "http://u@h", "http://h:1/a b"] {
            assert!(Target::resolve(url, &Access::default()).is_err(), "{url}");
        }
        let target = Target::resolve("http://127.0.0.1:1", &Access::default()).expect("valid");
        assert!(target.path("changes").is_err());
        assert!(target.path("/a\r\nX: y").is_err());
    }
}
