//! Who sends a request, and what that one may do.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    api::error::{ApiError, Code},
    base::{
        batch::{ChangeSpan, flag},
        ids::Timestamp,
        tokens::{Grantor, Right, Rights, Scope, TokenId},
    },
    io::cores,
};

use super::refused::Refused;

/// How it is known who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Who {
    /// Anybody: the node asks for no token.
    Open,
    /// Who has the root token.
    Root,
    /// A node of this cluster, or one that would join it.
    Node,
    /// Who bears no token.
    Anonymous,
    /// Who has that token.
    Token(TokenId),
    /// Who has a JWT that was signed with that key.
    Jwt(u64),
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(in crate::api) who: Who,
    /// What may be done; nothing but what needs no right, where there are none.
    pub(in crate::api) rights: Option<Rights>,
    /// Until when.
    pub(in crate::api) expires: Option<Timestamp>,
    /// That of the tokens and keys when it was looked up.
    pub(super) generation: u64,
}

impl Principal {
    /// Anybody, at a node that asks for no token.
    pub(in crate::api) const OPEN: Self = Self::with_all(Who::Open);
    pub(super) const ROOT: Self = Self::with_all(Who::Root);

    const fn with_all(who: Who) -> Self {
        Self::with(who, Rights::ALL)
    }

    pub(super) const fn with(who: Who, rights: Rights) -> Self {
        Self { who, rights: Some(rights), expires: None, generation: 0 }
    }

    /// The same, until `end` at most.
    pub(super) fn until(self, end: Option<Timestamp>) -> Self {
        let ends = [self.expires, end];
        Self { expires: ends.into_iter().flatten().min(), ..self }
    }

    pub(super) const fn node() -> Self {
        Self { who: Who::Node, rights: None, expires: None, generation: 0 }
    }

    /// Whether tokens that are revoked, keys that are gone, or its end, take something away from it.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.who, Who::Anonymous | Who::Token(_) | Who::Jwt(_)) || self.expires.is_some()
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires.0 <= cores::wall_micros())
    }

    /// Why it is not good any more.
    pub(in crate::api) fn refused(&self) -> Refused {
        match self.who {
            Who::Anonymous => Refused::Missing,
            _ if self.is_expired() => Refused::Expired,
            Who::Jwt(_) => Refused::Key,
            _ => Refused::Unknown,
        }
    }

    /// How long it is good.
    pub(in crate::api) fn left(&self) -> Option<Duration> {
        let expires = self.expires?;
        Some(Duration::from_micros(expires.0.saturating_sub(cores::wall_micros())))
    }

    /// Whether its rights are those of anybody, who shows nothing to have them: so also of a page that a browser was led
    /// astray with.
    pub(in crate::api) fn is_nobodys(&self) -> bool {
        matches!(self.who, Who::Open | Who::Anonymous) && self.rights.is_some()
    }

    /// Who gives what it gives to others. That is looked at again when it is ordered.
    pub(in crate::api) fn grantor(&self) -> Grantor {
        match self.who {
            Who::Token(id) => Grantor::Token(id),
            Who::Anonymous => Grantor::Anonymous,
            // Nothing that is ordered takes anything away from these.
            _ => Grantor::Root,
        }
    }

    /// What it concerns; nothing where it has no rights.
    pub(in crate::api) fn scope(&self) -> Option<Scope> {
        self.rights.map(|rights| rights.scope)
    }

    /// Whether all of that concerns it.
    pub(in crate::api) fn covers(&self, scope: Scope) -> bool {
        self.scope().is_some_and(|own| own.covers(scope))
    }

    /// Where its idempotency keys stand for what it asks, where that is not everything: keys of one room are none of
    /// another. What is of a tenant has the tenant's.
    pub(in crate::api) fn key_room(&self) -> Option<Uuid> {
        match self.scope()? {
            Scope::All => None,
            Scope::Tenant(tenant) => Some(tenant),
            Scope::Collection { collection, .. } => Some(collection),
        }
    }

    /// Whether there is anything that does not concern it.
    pub(in crate::api) fn is_limited(&self) -> bool {
        self.scope() != Some(Scope::All)
    }

    /// Whether it has that right, somewhere.
    pub(in crate::api) fn has(&self, right: Right) -> bool {
        self.rights.is_some_and(|rights| rights.role.has(right))
    }

    /// The refusal of what needs a token, shown by a header.
    pub(in crate::api) fn without_token() -> ApiError {
        Refused::Missing.error()
    }

    /// The refusal of what it has no right to.
    pub(in crate::api) fn forbidden(&self, what: &str) -> ApiError {
        match (self.who, self.rights) {
            (Who::Node, _) => {
                let detail =
                    "the token of nodes is for GET /cluster and POST /cluster/members alone";
                ApiError::new(Code::Forbidden, detail)
            }
            (Who::Anonymous, _) | (_, None) => Refused::Missing.error(),
            (_, Some(rights)) => {
                let role = rights.role.name();
                ApiError::new(
                    Code::Forbidden,
                    format!("a token of the role {role:?} may not {what}"),
                )
            }
        }
    }

    /// Whether it may append these changes, whose names were looked up among what concerns it. `creates`
    /// says that none of them replaces anything.
    ///
    /// # Errors
    /// [`Code::NotFound`] and [`Code::Forbidden`]
    pub(in crate::api) fn check_changes(
        &self,
        spans: &[ChangeSpan],
        creates: bool,
    ) -> Result<(), ApiError> {
        let own = match self.scope() {
            None => return Err(self.forbidden("")),
            Some(Scope::All) => 0,
            Some(Scope::Tenant(_)) => flag::TENANT,
            Some(Scope::Collection { .. }) => flag::COLLECTION,
        };
        if own != 0 && spans.iter().any(|span| span.flags & own == 0) {
            let what = if own == flag::TENANT { "tenant" } else { "collection" };
            let detail = format!("the scope of the token is a {what}: each change must name it");
            return Err(ApiError::new(Code::NotFound, detail));
        }
        let replaces = || spans.iter().any(|span| span.flags & flag::KEY != 0);
        match creates || self.has(Right::Write) || !replaces() {
            true => Ok(()),
            false => {
                Err(self.forbidden("replace what a key has: it adds changes without keys alone"))
            }
        }
    }
}
