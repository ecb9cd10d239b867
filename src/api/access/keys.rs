//! By what a node tells who sends a request: the secrets and the keys that it was given, and the tokens there are.

use std::sync::Arc;

use super::{
    attempts::Attempts,
    header::{HEADER_BYTES_MAX, JWT_HEADER_BYTES_MAX, Presented},
    jwt::{JwtKeys, is_jwt},
    principal::{Principal, Who},
    refused::Refused,
    signed::{Bearer, Claim, Place, Purpose, SignedError, Signer},
    ticket::{Use, UsedTickets},
};
use crate::{
    api::{
        request::{
            accept::{self, Media},
            target::path_of,
        },
        route::Resource,
    },
    base::{
        ids::Timestamp,
        secret::{Secret, SecretHash},
        tokens::{Scope, Token},
    },
    http::{Method, Request},
    io::cores,
    state::index::Index,
};

/// How long a session is good, in microseconds, unless the token that it was made with ends before.
const SESSION_MICROS: u64 = 12 * 3_600 * 1_000_000;
/// How long a ticket may be used, in microseconds.
const TICKET_MICROS: u64 = 60 * 1_000_000;

/// The secrets that the node itself was given.
#[derive(Debug)]
pub(super) struct Keys {
    root: SecretHash,
    /// What other nodes show that were given the same one.
    nodes: SecretHash,
    signer: Signer,
    used: UsedTickets,
    /// What was shown that is neither, nor any token.
    pub(super) attempts: Attempts,
    jwt: Option<Arc<JwtKeys>>,
}

fn now() -> Timestamp {
    Timestamp(cores::wall_micros())
}

impl Keys {
    pub(super) fn new(root: &Secret, jwt: Option<Arc<JwtKeys>>) -> Self {
        Self {
            root: root.hash(),
            nodes: root.between_nodes().hash(),
            signer: Signer::new(root),
            used: UsedTickets::default(),
            attempts: Attempts::default(),
            jwt,
        }
    }

    /// Changes whenever somebody may do less than before: both numbers only grow.
    pub(super) fn generation(&self, index: &Index) -> u64 {
        index.tokens.generation() + self.jwt.as_ref().map_or(0, |jwt| jwt.generation())
    }

    /// Whether `principal` may do what it could, but for its end.
    pub(super) fn is_same(&self, principal: &Principal, index: &Index) -> bool {
        match principal.who {
            Who::Open | Who::Root | Who::Node => true,
            Who::Anonymous => index.tokens.anonymous() == principal.rights,
            Who::Token(id) => index.tokens.get(id).is_some(),
            Who::Jwt(key) => {
                let scope = principal.scope();
                scope.is_some_and(|scope| self.is_jwt_good(key, scope, index))
            }
        }
    }

    /// Whether a JWT of that scope stands that was signed with that key.
    fn is_jwt_good(&self, key: u64, scope: Scope, index: &Index) -> bool {
        self.jwt.as_ref().is_some_and(|jwt| jwt.has(key))
            && scope.tenant().is_none_or(|tenant| index.catalog.tenant(tenant).is_some())
    }

    /// Who shows that value of the header `Authorization`.
    pub(super) fn header(&self, value: &[u8], index: &Index) -> Result<Principal, Refused> {
        let bytes_max = self.jwt.as_ref().map_or(HEADER_BYTES_MAX, |_| JWT_HEADER_BYTES_MAX);
        if value.len() > bytes_max {
            return Err(Refused::Malformed);
        }
        let presented = Presented::of(value).ok_or(Refused::Malformed)?;
        let hash = SecretHash::of(presented.token());
        let token = Token::id_of(presented.token()).and_then(|id| index.tokens.get(id));
        // All are compared, whatever comes of the first.
        let known = token.filter(|token| token.hash == hash);
        match (hash == self.root, hash == self.nodes, known) {
            (true, ..) => Ok(Principal::ROOT),
            (_, true, _) => Ok(Principal::node()),
            (_, _, Some(token)) => by_token(&token),
            _ => match &self.jwt {
                Some(jwt) if is_jwt(presented.token()) => {
                    jwt.verify(presented.token(), &index.catalog, now())
                }
                _ => Err(Refused::Unknown),
            },
        }
    }

    /// Who shows that session.
    pub(super) fn session(&self, value: &[u8], index: &Index) -> Result<Principal, Refused> {
        let (claim, _) =
            self.signer.verify(Purpose::Session, value).map_err(|_| Refused::Session)?;
        if claim.expires <= now() {
            return Err(Refused::Expired);
        }
        let principal = self.by_bearer(claim.bearer, index, Refused::Session)?;
        Ok(principal.until(Some(claim.expires)))
    }

    /// Who shows that ticket with `request`, which uses it.
    pub(super) fn ticket(
        &self,
        value: &str,
        request: &Request,
        index: &Index,
    ) -> Result<Principal, Refused> {
        if !is_stream(request) {
            return Err(Refused::NoStream);
        }
        let purpose = Purpose::Ticket(Place::of(path_of(request.target())));
        let (claim, nonce) =
            self.signer.verify(purpose, value.as_bytes()).map_err(|error| match error {
                SignedError::Unknown => Refused::Ticket,
                SignedError::Elsewhere => Refused::NoStream,
            })?;
        let now = now();
        if claim.expires <= now {
            return Err(Refused::Expired);
        }
        let principal = self.by_bearer(claim.bearer, index, Refused::Ticket)?.until(claim.until);
        if principal.is_expired() {
            return Err(Refused::Expired);
        }
        match self.used.take(claim.expires, nonce, now) {
            Use::First => Ok(principal),
            Use::Again => Err(Refused::Used),
            Use::Crowded => Err(Refused::Crowded),
        }
    }

    /// Whose rights a value gives; `unknown` where their token is no more.
    fn by_bearer(
        &self,
        bearer: Bearer,
        index: &Index,
        unknown: Refused,
    ) -> Result<Principal, Refused> {
        match bearer {
            Bearer::Root => Ok(Principal::ROOT),
            Bearer::Token(id) => by_token(&*index.tokens.get(id).ok_or(unknown)?),
            Bearer::Jwt { key, rights } if self.is_jwt_good(key, rights.scope, index) => {
                Ok(Principal::with(Who::Jwt(key), rights))
            }
            Bearer::Jwt { .. } => Err(Refused::Key),
        }
    }

    /// A session of `principal` and its end.
    pub(super) fn new_session(&self, principal: &Principal) -> Option<(String, Timestamp)> {
        let usual = Timestamp(now().0.saturating_add(SESSION_MICROS));
        let expires = principal.expires.map_or(usual, |end| end.min(usual));
        let claim = Claim { bearer: bearer(principal)?, expires, until: None };
        Some((self.signer.sign(Purpose::Session, &claim, cores::random()), expires))
    }

    /// A ticket of `principal` for a stream at `path`, and until when it may be used.
    pub(super) fn new_ticket(
        &self,
        principal: &Principal,
        path: &str,
    ) -> Option<(String, Timestamp)> {
        let usual = Timestamp(now().0.saturating_add(TICKET_MICROS));
        let expires = principal.expires.map_or(usual, |end| end.min(usual));
        let claim = Claim { bearer: bearer(principal)?, expires, until: principal.expires };
        let purpose = Purpose::Ticket(Place::of(path));
        Some((self.signer.sign(purpose, &claim, cores::random()), expires))
    }
}

/// Whose rights a session or a ticket of `principal` gives; nothing where it can have none.
fn bearer(principal: &Principal) -> Option<Bearer> {
    match principal.who {
        Who::Root => Some(Bearer::Root),
        Who::Token(id) => Some(Bearer::Token(id)),
        Who::Jwt(key) => principal.rights.map(|rights| Bearer::Jwt { key, rights }),
        Who::Open | Who::Node | Who::Anonymous => None,
    }
}

fn by_token(token: &Token) -> Result<Principal, Refused> {
    if token.is_expired(now()) {
        return Err(Refused::Expired);
    }
    Ok(Principal::with(Who::Token(token.id), token.rights).until(token.expires))
}

/// Whether a request opens a stream of changes.
fn is_stream(request: &Request) -> bool {
    let is_list = Resource::of(&request.path_segments()).is_some_and(|resource| resource.is_list());
    let form = accept::choose(request, &accept::OF_CHANGES);
    request.method() == Method::Get && is_list && form.is_ok_and(|form| form != Media::Json)
}
