//! How commands about tokens are decided.

use super::{
    index::Index,
    open::{Naming, Noted},
};
use crate::base::{
    ids::Timestamp,
    outcome::{Effect, Missing, Refusal},
    tokens::{Right, Scope, TOKENS_MAX, Token, TokenId},
};

/// Whether a token may be created in a batch that is stamped `at`; in a part of a batch all that is in it
/// was accepted.
pub(super) fn check_creation(
    index: &Index,
    token: &Token,
    at: Timestamp,
    is_part: bool,
) -> Result<Effect, Refusal> {
    let tokens = &index.tokens;
    if is_part {
        return Ok(Effect::Token(token.id));
    }
    if let Some(creator) = token.creator {
        // It was good when it was asked, and may be no more.
        let creator = tokens.get(creator).filter(|creator| !creator.is_expired(at));
        let may = |creator: &Token| {
            creator.rights.role.has(Right::Administer) && creator.rights.covers(token.rights)
        };
        if !creator.is_some_and(|creator| may(&creator)) {
            return Err(Refusal::NoRight);
        }
    }
    match token.rights.scope {
        Scope::Tenant(tenant) if index.catalog.tenant(tenant).is_none() => {
            return Err(Refusal::NotFound(Missing::Tenant));
        }
        Scope::Collection { tenant, collection } => {
            let found = index.catalog.collection(collection);
            if found.is_none_or(|found| found.tenant != tenant) {
                return Err(Refusal::NotFound(Missing::Collection));
            }
        }
        Scope::All | Scope::Tenant(_) => {}
    }
    match tokens.get(token.id).is_some() || tokens.count(at) >= TOKENS_MAX {
        true => Err(Refusal::TooManyTokens),
        false => Ok(Effect::Token(token.id)),
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
