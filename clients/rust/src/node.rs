//! Where a node is.

use crate::error::Error;

/// Where a node is.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Path in front of all others.
    pub(crate) prefix: String,
    /// The header `Host`.
    pub(crate) authority: String,
}

impl Node {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Usage(format!("not of the form http://HOST:PORT: {url:?}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || url.contains(['?', '#', '@', ' ']) {
            return Err(wrong());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            prefix: path.trim_end_matches('/').to_owned(),
            authority: authority.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nodes() {
        let node = |url| Node::parse(url).expect("a node");
        let found = node("http://a:9000/below/");
        assert_eq!((found.host.as_str(), found.port, found.tls), ("a", 9000, false));
        assert_eq!((found.prefix.as_str(), found.authority.as_str()), ("/below", "a:9000"));
        let found = node("https://[::1]");
        assert_eq!((found.host.as_str(), found.port, found.tls), ("::1", 443, true));
        assert_eq!(node("http://[::1]:80").port, 80);
        for wrong in ["a:9000", "ftp://a", "http://", "http://a:x", "http://a?b", "http://u@a"] {
            assert!(Node::parse(wrong).is_err(), "{wrong}");
        }
    }
}
