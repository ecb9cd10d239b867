//! Who sends a request, and whether that is known.
//!
//! A node that was given a root token asks every request for a token, but `GET /health` and
//! `GET /ready`, and the question of a browser whether a page may ask. A connection remembers the last
//! header that was found to be good, and by which generation of the tokens: so a client that sends the same one
//! again costs a comparison and the load of a number, and neither a digest nor a lock. The same holds for
//! the cookie of a session.

mod attempts;
mod header;
mod jwt;
mod keys;
mod principal;
mod refused;
mod shown;
mod signed;
mod ticket;
mod visible;

use std::sync::Arc;

use subtle::ConstantTimeEq;

use self::{
    header::{HEADER_BYTES_MAX, Presented},
    keys::Keys,
    shown::{Kind, Shown},
};
pub use self::{
    jwt::{JWKS_BYTES_MAX, JwtKeys, KeySetError},
    principal::Principal,
    refused::Refused,
    visible::Visible,
};
pub(super) use self::{
    principal::Who,
    shown::{COOKIE, own_cookie},
};
use super::{
    error::{ApiError, Code},
    request::accept,
    route::{self, Need, Resource},
};
use crate::{
    base::{
        ids::Timestamp,
        secret::{Hidden, Secret},
        tokens::{Right, Rights, Token, TokenId},
    },
    http::{Method, Request},
    io::{cores, net::Peer},
    state::index::{Index, Tokens},
};

/// What a node asks of requests. Without a root token it asks nothing.
#[derive(Debug, Default)]
pub struct Access {
    keys: Option<Keys>,
    /// The node speaks TLS to its clients.
    is_secured: bool,
}

/// What a connection remembers of what was good last.
#[derive(Debug, Default)]
pub struct Remembered(Option<Box<Known>>);

#[derive(Debug)]
struct Known {
    kind: Kind,
    value: Hidden<Box<[u8]>>,
    principal: Principal,
}

impl Access {
    /// Asks for tokens if there is a root token. JWTs are tokens, too, by the keys in `jwt`. `is_secured` says that
    /// clients speak TLS.
    #[must_use]
    pub fn new(root: Option<&Secret>, jwt: Option<Arc<JwtKeys>>, is_secured: bool) -> Self {
        Self { keys: root.map(|root| Keys::new(root, jwt)), is_secured }
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.keys.is_some()
    }

    /// Who sends `request`, from there.
    ///
    /// # Errors
    /// [`Refused`]
    pub(super) fn principal(
        &self,
        request: &Request,
        index: &Index,
        remembered: &mut Remembered,
        from: impl FnOnce() -> Option<Peer>,
    ) -> Result<Principal, Refused> {
        let Some(keys) = &self.keys else { return Ok(Principal::OPEN) };
        let shown = Shown::of(request, self.is_secured);
        let known_by = shown.known_by();
        let generation = keys.generation(index);
        if let Some(principal) = known_by.and_then(|known| remembered.principal(known, generation))
        {
            return Ok(principal);
        }
        let found = match shown {
            Shown::Header(value) => match keys.header(value, index) {
                found @ Err(_) if needs_nothing(request) => found,
                found => {
                    let network = || from().map(Peer::network);
                    keys.attempts.judge(found, id_of(value), network, cores::now())
                }
            },
            // Nobody guesses what is signed: a browser may go on to show an old one.
            Shown::Session(value) => keys.session(value, index),
            Shown::Ticket(value) => keys.ticket(value, request, index),
            Shown::Nothing => Ok(anonymous(&index.tokens)),
        };
        match found {
            Ok(principal) if principal.rights.is_some() || principal.who == Who::Node => {
                let principal = Principal { generation, ..principal };
                if let Some((kind, value)) = known_by {
                    remembered.0 =
                        Some(Box::new(Known { kind, value: Hidden(value.into()), principal }));
                }
                Ok(principal)
            }
            // A probe may bear what its tool sends to everybody.
            _ if needs_nothing(request) => {
                Ok(Principal { rights: None, ..anonymous(&index.tokens) })
            }
            Ok(_) => Err(Refused::Missing),
            Err(refused) => Err(refused),
        }
    }

    /// Whether `principal` is as it was when it was looked up; looks it up again where that may not be so.
    pub(super) fn is_good(&self, principal: &mut Principal, index: &Index) -> bool {
        let Some(keys) = self.keys.as_ref().filter(|_| principal.may_end()) else { return true };
        let generation = keys.generation(index);
        if principal.generation != generation {
            if !keys.is_same(principal, index) {
                return false;
            }
            principal.generation = generation;
        }
        !principal.is_expired()
    }

    /// Changes whenever somebody may do less than before.
    pub(super) fn generation(&self, index: &Index) -> u64 {
        self.keys.as_ref().map_or(0, |keys| keys.generation(index))
    }

    /// A session of `principal` and its end.
    ///
    /// # Errors
    /// [`Code::Forbidden`] and [`Code::Unauthenticated`]
    pub(super) fn new_session(
        &self,
        principal: &Principal,
    ) -> Result<(String, Timestamp), ApiError> {
        self.keys()?.new_session(principal).ok_or_else(|| principal.forbidden(""))
    }

    /// A ticket of `principal` for a stream at `path`, and until when it may be used.
    ///
    /// # Errors
    /// [`Code::Forbidden`] and [`Code::Unauthenticated`]
    pub(super) fn new_ticket(
        &self,
        principal: &Principal,
        path: &str,
    ) -> Result<(String, Timestamp), ApiError> {
        self.keys()?.new_ticket(principal, path).ok_or_else(|| principal.forbidden(""))
    }

    fn keys(&self) -> Result<&Keys, ApiError> {
        self.keys.as_ref().ok_or_else(|| {
            let detail = "this node asks for no token, so there are no sessions and no tickets: start it with \
                          --root-token-file";
            ApiError::new(Code::Forbidden, detail)
        })
    }
}

/// The id of the token that a header bears, good or not.
fn id_of(value: &[u8]) -> Option<TokenId> {
    let presented = Some(value).filter(|value| value.len() <= HEADER_BYTES_MAX);
    Token::id_of(presented.and_then(Presented::of)?.token())
}

/// Who bears no token.
fn anonymous(tokens: &Tokens) -> Principal {
    let rights = tokens.anonymous();
    Principal { who: Who::Anonymous, rights, expires: None, generation: 0 }
}

impl Remembered {
    /// Who it was that showed that before, where that is good still.
    fn principal(&self, (kind, value): (Kind, &[u8]), generation: u64) -> Option<Principal> {
        let known = self.0.as_deref().filter(|known| known.kind == kind)?;
        let principal = known.principal;
        let is_known = bool::from(known.value.0.ct_eq(value));
        let is_good = principal.generation == generation || !principal.may_end();
        (is_known && is_good && !principal.is_expired()).then_some(principal)
    }
}

/// Whether a request is answered without a token.
fn needs_nothing(request: &Request) -> bool {
    match request.method() {
        Method::Get | Method::Head => {
            let resource = Resource::of(&request.path_segments());
            match resource {
                Some(Resource::Health | Resource::Ready) => true,
                // The page is the same for everybody. It asks for a token itself.
                Some(Resource::Index) => accept::names_html(request),
                _ => false,
            }
        }
        // Whoever it was, or is no more.
        Method::Delete => {
            matches!(Resource::of(&request.path_segments()), Some(Resource::Session))
        }
        // A browser asks without credentials whether it may send them.
        Method::Options => request.header("access-control-request-method").is_some(),
        _ => false,
    }
}

/// Whether `principal` may send `request`, as far as its method and path tell: what role it must have, and
/// whether it must concern everything. What a path or a body names is looked up among what is
/// [`Visible`] to it.
///
/// # Errors
/// [`Code::Forbidden`], [`Code::NotFound`], and [`Code::Unauthenticated`] of who bears no token.
pub(super) fn permit(principal: &Principal, request: &Request) -> Result<(), ApiError> {
    if principal.rights == Some(Rights::ALL) {
        return Ok(());
    }
    let path = request.path_segments();
    // What is not there is told as that.
    let Some(resource) = Resource::of(&path) else { return Ok(()) };
    let Some(Need { right, everything }) = resource.need(request) else { return Ok(()) };
    if principal.who == Who::Node {
        // Before nodes belong together they ask who the other is, and to be taken in.
        return match (request.method(), resource) {
            (Method::Get, Resource::Cluster) | (Method::Post, Resource::Members) => Ok(()),
            _ => Err(principal.forbidden("")),
        };
    }
    if let Some(right) = right
        && !principal.has(right)
    {
        let what = match right {
            Right::Read => "read",
            Right::Insert => "add changes",
            Right::Write => "update, delete or create",
            Right::Administer => "administer",
        };
        return Err(principal.forbidden(what));
    }
    match everything && principal.is_limited() {
        true if principal.who == Who::Anonymous => Err(principal.forbidden("")),
        true => Err(ApiError::new(Code::NotFound, route::not_there(request))),
        false => Ok(()),
    }
}
