//! What a request shows of who sends it.

use crate::{
    api::{browser::is_of_own_page, request::target::TICKET},
    http::Request,
};

/// The name of the cookie that bears a session. Browsers take a cookie of such a name only with `Secure`, from
/// the host itself, for all of its paths.
pub(in crate::api) const COOKIE: &str = "__Host-changeagent";

/// What a request shows.
#[derive(Clone, Copy)]
pub(super) enum Shown<'r> {
    /// A header `Authorization`.
    Header(&'r [u8]),
    /// A ticket among the parameters.
    Ticket(&'r str),
    /// The cookie of a session.
    Session(&'r [u8]),
    /// Nothing of all that.
    Nothing,
}

impl<'r> Shown<'r> {
    /// What `request` shows: what it says itself comes before the cookie, which a browser adds to whatever it sends. The
    /// cookie counts only where a page of this node, which speaks TLS or not, asks, or nobody's: pages of other origins have nothing of a visitor's session.
    pub(super) fn of(request: &'r Request, is_secured: bool) -> Self {
        if let Some(value) = request.header("authorization") {
            return Self::Header(value);
        }
        if let Some((_, ticket)) = request.query().find(|(name, _)| *name == TICKET) {
            return Self::Ticket(ticket);
        }
        match session(request) {
            Some(value) if is_of_own_page(request, is_secured) => Self::Session(value),
            _ => Self::Nothing,
        }
    }

    /// What a connection remembers it by: a kind, and bytes. Nothing of what is good once.
    pub(super) fn known_by(self) -> Option<(Kind, &'r [u8])> {
        match self {
            // None of those without a value is good.
            Self::Header(value) => (!value.is_empty()).then_some((Kind::Header, value)),
            Self::Session(value) => Some((Kind::Session, value)),
            Self::Nothing => Some((Kind::Nothing, b"")),
            Self::Ticket(_) => None,
        }
    }
}

/// What a connection remembers: nothing of one kind is ever taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    Session,
    Nothing,
}

fn session(request: &Request) -> Option<&[u8]> {
    let cookies = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    cookies
        .flat_map(|(_, value)| value.split(|&byte| byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
}

/// The cookie of a session as a request bears it, of a header `Cookie` that bears others, too: these are nobody's business.
pub(in crate::api) fn own_cookie(value: &[u8]) -> Option<Vec<u8>> {
    let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let own = |pair: &&[u8]| {
        pair.strip_prefix(COOKIE.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    pairs.into_iter().find(own).map(<[u8]>::to_vec)
}
