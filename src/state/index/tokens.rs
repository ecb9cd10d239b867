//! The tokens there are, and what requests without one may do. Part of the replicated state.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::locks::{lock, share};
use crate::base::{
    ids::Timestamp,
    tokens::{Rights, Scope, Token, TokenId},
};

#[derive(Debug, Default)]
struct Held {
    all: BTreeMap<TokenId, Arc<Token>>,
    anonymous: Option<Rights>,
}

/// Which tokens there are.
#[derive(Debug, Default)]
pub struct Tokens {
    held: RwLock<Held>,
    /// How often rights were taken away so far. Read without the lock.
    taken_away: AtomicU64,
}

impl Tokens {
    /// Changes whenever a token may do less than before, or requests without one do. Whoever knows what
    /// a token may do need not look again as long as it stays the same, but for the token's end.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.taken_away.load(Ordering::SeqCst)
    }

    /// The token of that id.
    #[must_use]
    pub fn get(&self, id: TokenId) -> Option<Arc<Token>> {
        share(&self.held).all.get(&id).cloned()
    }

    /// All of them, in the order of their ids.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Token>> {
        share(&self.held).all.values().cloned().collect()
    }

    /// How many are good at that moment.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> usize {
        share(&self.held).all.values().filter(|token| !token.is_expired(now)).count()
    }

    /// What requests without a token may do.
    #[must_use]
    pub fn anonymous(&self) -> Option<Rights> {
        share(&self.held).anonymous
    }

    /// Adds a token, whose id must be free.
    pub fn add(&self, token: Token) {
        let before = lock(&self.held).all.insert(token.id, Arc::new(token));
        assert!(before.is_none(), "no two tokens have the same id");
    }

    /// Takes a token out; whether it was there.
    pub(in crate::state) fn remove(&self, id: TokenId) -> bool {
        let removed = lock(&self.held).all.remove(&id).is_some();
        self.note_taken_away(removed);
        removed
    }

    /// Takes out those whose scope lies within another, which is no more.
    pub(in crate::state) fn remove_within(&self, scope: Scope) {
        assert!(scope != Scope::All, "there is always something");
        let all = &mut lock(&self.held).all;
        let before = all.len();
        all.retain(|_, token| !scope.covers(token.rights.scope));
        // Not only tokens may concern a tenant.
        self.note_taken_away(all.len() < before || matches!(scope, Scope::Tenant(_)));
    }

    /// Those that are good for nothing any more.
    pub(in crate::state) fn expired(&self, now: Timestamp) -> Vec<TokenId> {
        let held = share(&self.held);
        held.all.values().filter(|token| token.is_expired(now)).map(|token| token.id).collect()
    }

    /// Says what requests without a token may do.
    pub fn set_anonymous(&self, rights: Option<Rights>) {
        lock(&self.held).anonymous = rights;
        self.note_taken_away(true);
    }

    fn note_taken_away(&self, something: bool) {
        if something {
            // Whoever was told of it on one core asks another next.
            self.taken_away.fetch_add(1, Ordering::SeqCst);
        }
    }
}
