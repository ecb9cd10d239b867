//! How commands about tokens are decided.

use super::{
    index::Index,
    open::{Naming, Noted},
};
use crate::base::{
    ids::Timestamp,
    outcome::{Effect, Missing, Refusal},
    tokens::{Grantor, Right, Rights, Scope, TOKENS_MAX, Token, TokenId},
};

/// Whether a token may be created in a batch that is stamped `at`. One that was `decided_elsewhere`, as all that is in a
/// part of a batch, was accepted there.
pub(super) fn check_creation(
    index: &Index,
    token: &Token,
    at: Timestamp,
    decided_elsewhere: bool,
) -> Result<Effect, Refusal> {
    let tokens = &index.tokens;
    if decided_elsewhere {
        return Ok(Effect::Token(token.id));
    }
    check_grantor(index, token.creator, token.rights, at)?;
    check_scope(index, token.rights.scope)?;
    match tokens.get(token.id).is_some() || tokens.count(at) >= TOKENS_MAX {
        true => Err(Refusal::TooManyTokens),
        false => Ok(Effect::Token(token.id)),
    }
}

/// Whether `by` may say, in a batch that is stamped `at`, what requests without a token may do: that takes something from
/// everybody's hand, and so needs every right.
pub(super) fn check_anonymous(
    index: &Index,
    rights: Option<Rights>,
    by: Grantor,
    at: Timestamp,
) -> Result<Effect, Refusal> {
    check_grantor(index, by, Rights::ALL, at)?;
    rights.map_or(Ok(()), |rights| check_scope(index, rights.scope))?;
    Ok(Effect::Anonymous)
}

/// Whether `by` may give these rights: it could when it was asked, and may be able to no more.
fn check_grantor(index: &Index, by: Grantor, rights: Rights, at: Timestamp) -> Result<(), Refusal> {
    let own = match by {
        Grantor::Root => return Ok(()),
        Grantor::Anonymous => index.tokens.anonymous(),
        Grantor::Token(id) => {
            let token = index.tokens.get(id).filter(|token| !token.is_expired(at));
            token.map(|token| token.rights)
        }
    };
    let may = |own: Rights| own.role.has(Right::Administer) && own.covers(rights);
    if own.is_some_and(may) { Ok(()) } else { Err(Refusal::NoRight) }
}

/// Whether what a scope names is there.
fn check_scope(index: &Index, scope: Scope) -> Result<(), Refusal> {
    match scope {
        Scope::Tenant(tenant) if index.catalog.tenant(tenant).is_none() => {
            Err(Refusal::NotFound(Missing::Tenant))
        }
        Scope::Collection { tenant, collection } => {
            let found = index.catalog.collection(collection);
            match found.is_some_and(|found| found.tenant == tenant) {
                true => Ok(()),
                false => Err(Refusal::NotFound(Missing::Collection)),
            }
        }
        Scope::All | Scope::Tenant(_) => Ok(()),
    }
}

/// Creates a token that was accepted; those that are good for nothing any more make room for it. A repeat of its
/// creation, which is told apart by its idempotency key where the whole batch is, does nothing in a part of one.
pub(super) fn create(
    index: &Index,
    noted: &mut Noted,
    token: &Token,
    at: Timestamp,
    is_part: bool,
) {
    if is_part && index.tokens.get(token.id).is_some() {
        return;
    }
    for expired in index.tokens.expired(at) {
        index.tokens.remove(expired);
        noted.names.push(Naming::NoToken(expired));
    }
    let token = Token { created: at, ..token.clone() };
    noted.names.push(Naming::Token(Box::new(token.clone())));
    index.tokens.add(token);
    assert!(index.tokens.count(at) <= TOKENS_MAX, "no more tokens than may be");
}

/// Whether a token may be revoked.
pub(super) fn check_revocation(index: &Index, id: TokenId) -> Result<Effect, Refusal> {
    match index.tokens.get(id) {
        Some(_) => Ok(Effect::Revoked(id)),
        None => Err(Refusal::NotFound(Missing::Token)),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
