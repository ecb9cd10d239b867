//! What a page of the web may have a visitor's browser do here.
//!
//! A page can send requests to every address that its visitor reaches, this
//! node's included. So a write is refused when the browser says that the page is
//! of another site, and answers are kept from such pages: a browser hands on
//! only what bears the headers of CORS, which pages of allowed origins get. A
//! page whose name was made to lead here (DNS rebinding) is told by the `Host`
//! that its requests name, which must be one of this node's.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::error::{ApiError, Code, excerpt};
use crate::{
    base::cluster::Member,
    http::{Method, Request, Response},
};

/// What a page may send, beyond what is always allowed.
const REQUEST_HEADERS: &str = "Accept, Authorization, Cache-Control, ChangeAgent-Cluster, Content-Encoding, Content-Type, \
     Idempotency-Key, If-Match, If-None-Match, Last-Event-ID";
/// What a page may read of an answer, beyond what is always allowed.
const ANSWER_HEADERS: &str = "ChangeAgent-Last, ChangeAgent-Cluster, ChangeAgent-Age, ETag, Location, Retry-After, \
     Idempotency-Replayed";
/// How a script may say who it is. A browser that is told of `Basic` asks its user by a window of its own.
const SCRIPT_CHALLENGE: &str = "Bearer realm=\"ChangeAgent\"";
/// How long a browser need not ask again, in seconds.
const PREFLIGHT_KEPT_S: u64 = 7_200;

/// Which names lead to this node, and whose pages may use it.
#[derive(Debug, Default)]
pub struct BrowserPolicy {
    hosts: Vec<HostName>,
    origins: Vec<Origin>,
    /// Requests need a token, or what may be done without one was said.
    needs_token: bool,
    /// The node speaks TLS to its clients: its own pages are of `https` alone. Without it they may be of either, since a proxy
    /// may speak TLS for it.
    is_secured: bool,
}

impl BrowserPolicy {
    /// Allows the names that are `advertised`, each `host:port`, and these.
    #[must_use]
    pub fn new(advertised: &[&str], hosts: &[HostName], origins: &[Origin]) -> Self {
        let advertised = advertised.iter().filter_map(|place| host_name(place).parse().ok());
        let hosts = advertised.chain(hosts.iter().cloned()).collect();
        Self { hosts, origins: origins.into(), ..Self::default() }
    }

    /// The same where requests need a token: any `Host` will do for those that show one.
    #[must_use]
    pub fn with_tokens(self, needs_token: bool) -> Self {
        Self { needs_token, ..self }
    }

    /// The same where the node speaks TLS to its clients.
    #[must_use]
    pub fn with_tls(self, is_secured: bool) -> Self {
        Self { is_secured, ..self }
    }

    fn knows_host(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|HostName(known)| name.eq_ignore_ascii_case(known))
    }

    fn allowed(&self, origin: &[u8]) -> Option<&str> {
        let Origin(found) = self
            .origins
            .iter()
            .find(|Origin(known)| origin.eq_ignore_ascii_case(known.as_bytes()))?;
        Some(found)
    }

    /// Who will read the answer to `request`.
    pub(super) fn reader(&self, request: &Request) -> Reader<'_> {
        let is_script = self.needs_token && is_of_script(request);
        let page = match self.origins.is_empty() {
            true => Page::Own,
            false => {
                let origin = request.header("origin").and_then(|origin| self.allowed(origin));
                origin.map_or(Page::Other, Page::Allowed)
            }
        };
        Reader { page, is_script }
    }

    /// Whether `request` may come from where its browser says, and is for this
    /// node; `members` are those of the cluster, asked for where that matters. Of who has a token, which a page
    /// whose name was made to lead here does not, or may do nothing (`is_nobodys` is false), any `Host` will do. Costs
    /// a look at the `Host`, and for a write one at each header.
    ///
    /// # Errors
    /// [`Code::Misdirected`] and [`Code::Forbidden`].
    pub(super) fn admit(
        &self,
        request: &Request,
        is_nobodys: bool,
        members: impl FnOnce() -> Vec<Member>,
    ) -> Result<(), ApiError> {
        // Without one it is no browser's.
        let host = request.host().unwrap_or_default();
        let name = host_name(host);
        let any_will_do = self.needs_token && !is_nobodys;
        let known = any_will_do || host.is_empty() || is_address(name) || self.knows_host(name);
        let is_of = |member: &Member| host_name(&member.address).eq_ignore_ascii_case(name);
        // It may have been moved since it was started.
        if !known && !members().iter().any(is_of) {
            let (host, name) = (excerpt(host), excerpt(name));
            let detail = format!(
                "the host {host:?} is not known to be this node's: use its address, localhost or \
                 its advertised name, or start it with --allow-host {name}"
            );
            return Err(ApiError::new(Code::Misdirected, detail));
        }
        match request.method() {
            Method::Get | Method::Head | Method::Options => Ok(()),
            _ => self.admit_write(request, host),
        }
    }

    fn admit_write(&self, request: &Request, host: &str) -> Result<(), ApiError> {
        let (mut of_other_site, mut origins, mut allowed) = (false, 0, 0);
        for (name, value) in request.headers() {
            match name.len() {
                6 if name.eq_ignore_ascii_case("origin") => {
                    origins += 1;
                    if self.allowed(value).is_some() {
                        allowed += 1;
                    } else if !is_origin_of(value, host, self.is_secured) {
                        return Err(refused(&format!(
                            "pages of the origin {:?}",
                            excerpt(&String::from_utf8_lossy(value))
                        )));
                    }
                }
                14 if name.eq_ignore_ascii_case("sec-fetch-site") => {
                    of_other_site |= !is_own_site(value);
                }
                _ => {}
            }
        }
        if of_other_site && (origins == 0 || allowed < origins) {
            return Err(refused("pages of other sites"));
        }
        Ok(())
    }
}

/// The name of a host, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match !name.is_empty() && name.bytes().all(plain) {
            true => Ok(Self(name.to_ascii_lowercase())),
            false => Err(format!("{text:?} is not the name of a host, without a port")),
        }
    }
}

/// The origin of a page as browsers spell it: `scheme://host`, with `:port`
/// where that is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form https://HOST or https://HOST:PORT");
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let scheme_is_plain = scheme.bytes().all(|byte| plain(byte) && !b"_:[]".contains(&byte));
        if scheme.is_empty() || authority.is_empty() || !scheme_is_plain {
            return Err(wrong());
        }
        if !authority.bytes().all(plain) || host_name(authority).is_empty() {
            return Err(wrong());
        }
        let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
        Ok(Self(format!("{scheme}://{}", without_usual_port(&scheme, &authority))))
    }
}

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'p> {
    page: Page<'p>,
    /// A script of a page asked, which has its own way to ask its user for a token.
    is_script: bool,
}

/// The page that reads it, as far as CORS is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page<'p> {
    /// No page elsewhere is allowed to read any answer.
    Own,
    /// Some are, and this is none of them.
    Other,
    /// A page of this origin, which is allowed to.
    Allowed(&'p str),
}

impl Reader<'_> {
    /// `response` with what tells a browser whether the page may have it.
    #[must_use]
    pub fn mark(self, response: Response) -> Response {
        let response = match self.is_script && response.status() == 401 {
            true => response.with_header_replaced("WWW-Authenticate", SCRIPT_CHALLENGE),
            false => response,
        };
        match self.page {
            Page::Own => response,
            Page::Other => response.with_header("Vary", "Origin"),
            Page::Allowed(origin) => response
                .with_header("Vary", "Origin")
                .with_header("Access-Control-Allow-Origin", origin.to_owned())
                .with_header("Access-Control-Expose-Headers", ANSWER_HEADERS),
        }
    }

    /// The answer to the question whether a page may send what it is about to.
    #[must_use]
    pub(super) fn preflight(self, request: &Request, methods: &'static str) -> Response {
        let response = Response::new(204).with_header("Allow", methods);
        let asks = request.header("access-control-request-method").is_some();
        if !asks || !matches!(self.page, Page::Allowed(_)) {
            return response;
        }
        response
            .with_header("Access-Control-Allow-Methods", methods)
            .with_header("Access-Control-Allow-Headers", REQUEST_HEADERS)
            .with_number("Access-Control-Max-Age", PREFLIGHT_KEPT_S)
    }
}

/// Whether nothing says that a page of another origin sends `request`, to a node that speaks TLS or not.
pub(super) fn is_of_own_page(request: &Request, is_secured: bool) -> bool {
    let host = request.host().unwrap_or_default();
    request.headers().all(|(name, value)| match name.len() {
        6 if name.eq_ignore_ascii_case("origin") => is_origin_of(value, host, is_secured),
        14 if name.eq_ignore_ascii_case("sec-fetch-site") => is_own_site(value),
        _ => true,
    })
}

/// Whether a script of a page sends `request`: a browser says so, and what a user opens it says to be another.
fn is_of_script(request: &Request) -> bool {
    let mode = request
        .headers()
        .find(|(name, _)| name.len() == 14 && name.eq_ignore_ascii_case("sec-fetch-mode"));
    mode.is_some_and(|(_, mode)| !mode.eq_ignore_ascii_case(b"navigate"))
}

/// Whether `Sec-Fetch-Site` names this node's own pages, or nobody's.
fn is_own_site(value: &[u8]) -> bool {
    [&b"same-origin"[..], b"none"].iter().any(|own| value.eq_ignore_ascii_case(own))
}

fn refused(who: &str) -> ApiError {
    let detail = format!("{who} may not write here; --allow-origin allows an origin to");
    ApiError::new(Code::Forbidden, detail)
}

/// The host of `host:port` without the port, and without the dot that may end a
/// full name.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a host is given by its address, which no name server had a say in.
fn is_address(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Whether a page of that origin came from `host` itself, which speaks TLS or not.
fn is_origin_of(origin: &[u8], host: &str, is_secured: bool) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    match origin.split_once("://") {
        Some(("http", _)) if is_secured => false,
        Some((scheme @ ("http" | "https"), authority)) => {
            let host = without_usual_port(scheme, host);
            without_usual_port(scheme, authority).eq_ignore_ascii_case(host)
        }
        _ => false,
    }
}

fn without_usual_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_without_their_port() {
        for (host, name) in [
            ("localhost:9000", "localhost"),
            ("Example.COM.:80", "Example.COM"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:9000", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name, "{host}");
        }
        for address in ["127.0.0.1", "10.1.2.3", "[::1]", "[fe80::1:2]", "[::ffff:1.2.3.4]"] {
            assert!(is_address(address), "{address}");
        }
        for name in ["localhost", "1.2.3", "1.2.3.4.evil.example", "::1", "[::1", "[evil]", "0x7f"]
        {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn a_page_of_the_host_itself_is_of_the_same_origin() {
        for (origin, host) in [
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("https://Feeds.example", "feeds.example"),
            ("https://feeds.example", "feeds.example:443"),
            ("http://[::1]:9000", "[::1]:9000"),
        ] {
            assert!(is_origin_of(origin.as_bytes(), host, false), "{origin} {host}");
            let is_https = origin.starts_with("https");
            assert_eq!(is_origin_of(origin.as_bytes(), host, true), is_https, "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:8000", "127.0.0.1:9000"),
            ("http://feeds.example", "feeds.example:443"),
            ("http://feeds.example.evil", "feeds.example"),
            ("null", "null"),
            ("ftp://feeds.example", "feeds.example"),
            ("", ""),
        ] {
            assert!(!is_origin_of(origin.as_bytes(), host, false), "{origin} {host}");
        }
    }

    #[test]
    fn what_can_be_allowed() {
        let origin = |text: &str| text.parse().map(|Origin(origin)| origin).ok();
        assert_eq!(origin("https://App.Example"), Some("https://app.example".into()));
        assert_eq!(origin("https://app.example:443"), Some("https://app.example".into()));
        assert_eq!(origin("http://[::1]:3000"), Some("http://[::1]:3000".into()));
        for wrong in
            ["*", "null", "app.example", "https://", "https://a/", "https://a b", "https://:1"]
        {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
        let host = |text: &str| text.parse().map(|HostName(name)| name).ok();
        assert_eq!(host("Feeds.example."), Some("feeds.example".into()));
        for wrong in ["", ".", "a:1", "a/b", "*"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
