//! Who sends a request, and whether that is known.
//!
//! A node that was given a root token asks every request for a token, but `GET /health` and
//! `GET /ready`, and the question of a browser whether a page may ask. A connection remembers the last
//! header that was found to be good, and by which generation of the tokens: so a client that sends the same one
//! again costs a comparison and the load of a number, and neither a digest nor a lock.

mod attempts;
mod header;
mod principal;
mod refused;
mod visible;

use subtle::ConstantTimeEq;

pub(super) use self::principal::Who;
use self::{
    attempts::Attempts,
    header::{HEADER_BYTES_MAX, Presented},
    refused::Why,
};
pub use self::{principal::Principal, refused::Refused, visible::Visible};
use super::{
    error::{ApiError, Code},
    route::{self, Need, Resource},
};
use crate::{
    base::{
        ids::Timestamp,
        secret::{Secret, SecretHash},
        tokens::{Right, Rights, Token, TokenId},
    },
    http::{Method, Request},
    io::{cores, net::Peer},
    state::index::Tokens,
};

/// What a node asks of requests. Without a root token it asks nothing.
#[derive(Debug, Default)]
pub struct Access(Option<Keys>);

/// The secrets that the node itself was given.
#[derive(Debug)]
struct Keys {
    root: SecretHash,
    /// What other nodes show that were given the same one.
    nodes: SecretHash,
    /// What was shown that is neither, nor any token.
    attempts: Attempts,
}

/// What a connection remembers of the last header that was good.
#[derive(Debug, Default)]
pub struct Remembered(Option<Box<(Box<[u8]>, Principal)>>);

impl Access {
    /// Asks for tokens if there is a root token.
    #[must_use]
    pub fn new(root: Option<&Secret>) -> Self {
        let keys = |root: &Secret| Keys {
            root: root.hash(),
            nodes: root.between_nodes().hash(),
            attempts: Attempts::default(),
        };
        Self(root.map(keys))
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Who sends `request`, from there.
    ///
    /// # Errors
    /// [`Refused`]
    pub(super) fn principal(
        &self,
        request: &Request,
        tokens: &Tokens,
        remembered: &mut Remembered,
        from: impl FnOnce() -> Option<Peer>,
    ) -> Result<Principal, Refused> {
        let Some(keys) = &self.0 else { return Ok(Principal::OPEN) };
        let value = request.header("authorization");
        // A header without a value is none of those that are remembered.
        let known = value.filter(|value| !value.is_empty()).or(value.is_none().then_some(b""));
        if let Some(principal) = known.and_then(|value| remembered.principal(value, tokens)) {
            return Ok(principal);
        }
        let generation = tokens.generation();
        let found = match value {
            Some(value) => match keys.verify(value, tokens) {
                found @ Err(_) if needs_nothing(request) => found,
                found => {
                    let network = || from().map(Peer::network);
                    keys.attempts.judge(found, id_of(value), network, cores::now())
                }
            },
            None => Ok(anonymous(tokens)),
        };
        match found {
            Ok(principal) if principal.rights.is_some() || principal.who == Who::Node => {
                let principal = Principal { generation, ..principal };
                remembered.0 = Some(Box::new((value.unwrap_or_default().into(), principal)));
                Ok(principal)
            }
            // A probe may bear what its tool sends to everybody.
            _ if needs_nothing(request) => Ok(Principal { rights: None, ..anonymous(tokens) }),
            Ok(_) => Err(Why::Missing.into()),
            Err(why) => Err(why.into()),
        }
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
    fn principal(&self, value: &[u8], tokens: &Tokens) -> Option<Principal> {
        let (header, principal) = self.0.as_deref()?;
        let is_known = bool::from(header.ct_eq(value));
        let is_good = principal.generation == tokens.generation() || !principal.may_end();
        (is_known && is_good && !principal.is_expired()).then_some(*principal)
    }
}

impl Keys {
    fn verify(&self, value: &[u8], tokens: &Tokens) -> Result<Principal, Why> {
        if value.len() > HEADER_BYTES_MAX {
            return Err(Why::Malformed);
        }
        let presented = Presented::of(value).ok_or(Why::Malformed)?;
        let hash = SecretHash::of(presented.token());
        let token = Token::id_of(presented.token()).and_then(|id| tokens.get(id));
        // All are compared, whatever comes of the first.
        let known = token.filter(|token| token.hash == hash);
        match (hash == self.root, hash == self.nodes, known) {
            (true, ..) => Ok(Principal::ROOT),
            (_, true, _) => Ok(Principal::node()),
            (_, _, Some(token)) if token.is_expired(Timestamp(cores::wall_micros())) => {
                Err(Why::Expired)
            }
            (_, _, Some(token)) => Ok(Principal {
                who: Who::Token(token.id),
                rights: Some(token.rights),
                expires: token.expires,
                generation: 0,
            }),
            _ => Err(Why::Unknown),
        }
    }
}

/// Whether a request is answered without a token.
fn needs_nothing(request: &Request) -> bool {
    match request.method() {
        Method::Get | Method::Head => {
            let resource = Resource::of(&request.path_segments());
            matches!(resource, Some(Resource::Health | Resource::Ready))
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
