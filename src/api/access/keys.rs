//! By what a node tells who sends a request: the secrets that it was given, and the tokens there are.

use super::{
    attempts::Attempts,
    header::{HEADER_BYTES_MAX, Presented},
    principal::{Principal, Who},
    refused::Why,
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
        tokens::Token,
    },
    http::{Method, Request},
    io::cores,
    state::index::Tokens,
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
}

fn now() -> Timestamp {
    Timestamp(cores::wall_micros())
}

impl Keys {
    pub(super) fn new(root: &Secret) -> Self {
        Self {
            root: root.hash(),
            nodes: root.between_nodes().hash(),
            signer: Signer::new(root),
            used: UsedTickets::default(),
            attempts: Attempts::default(),
        }
    }

    /// Who shows that value of the header `Authorization`.
    pub(super) fn header(&self, value: &[u8], tokens: &Tokens) -> Result<Principal, Why> {
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
            (_, _, Some(token)) => by_token(&token),
            _ => Err(Why::Unknown),
        }
    }

    /// Who shows that session.
    pub(super) fn session(&self, value: &[u8], tokens: &Tokens) -> Result<Principal, Why> {
        let (claim, _) = self.signer.verify(Purpose::Session, value).map_err(|_| Why::Session)?;
        if claim.expires <= now() {
            return Err(Why::Expired);
        }
        let principal = by_bearer(claim.bearer, tokens).map_err(|why| match why {
            Why::Unknown => Why::Session,
            why => why,
        })?;
        Ok(principal.until(Some(claim.expires)))
    }

    /// Who shows that ticket with `request`, which uses it.
    pub(super) fn ticket(
        &self,
        value: &str,
        request: &Request,
        tokens: &Tokens,
    ) -> Result<Principal, Why> {
        if !is_stream(request) {
            return Err(Why::NoStream);
        }
        let purpose = Purpose::Ticket(Place::of(path_of(request.target())));
        let (claim, nonce) =
            self.signer.verify(purpose, value.as_bytes()).map_err(|error| match error {
                SignedError::Unknown => Why::Ticket,
                SignedError::Elsewhere => Why::NoStream,
            })?;
        let now = now();
        if claim.expires <= now {
            return Err(Why::Expired);
        }
        let principal = by_bearer(claim.bearer, tokens)?.until(claim.until);
        if principal.is_expired() {
            return Err(Why::Expired);
        }
        match self.used.take(claim.expires, nonce, now) {
            Use::First => Ok(principal),
            Use::Again => Err(Why::Used),
            Use::Crowded => Err(Why::Crowded),
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
        Who::Open | Who::Node | Who::Anonymous => None,
    }
}

fn by_bearer(bearer: Bearer, tokens: &Tokens) -> Result<Principal, Why> {
    match bearer {
        Bearer::Root => Ok(Principal::ROOT),
        Bearer::Token(id) => by_token(&*tokens.get(id).ok_or(Why::Unknown)?),
        Bearer::Jwt { .. } => Err(Why::Unknown),
    }
}

fn by_token(token: &Token) -> Result<Principal, Why> {
    if token.is_expired(now()) {
        return Err(Why::Expired);
    }
    Ok(Principal::with(Who::Token(token.id), token.rights).until(token.expires))
}

/// Whether a request opens a stream of changes.
fn is_stream(request: &Request) -> bool {
    let is_list = Resource::of(&request.path_segments()).is_some_and(|resource| resource.is_list());
    let form = accept::choose(request, &accept::OF_CHANGES);
    request.method() == Method::Get && is_list && form.is_ok_and(|form| form != Media::Json)
}
