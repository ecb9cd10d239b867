//! JSON Web Tokens (RFC 7519) in the compact form: signed by somebody whose keys the node was given, and
//! tokens like others as long as they are good. Nothing is looked up elsewhere, and nothing is decrypted.

mod claims;
mod key;
mod key_set;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

pub use self::key_set::{JWKS_BYTES_MAX, KeySetError};
use self::{
    claims::{Claims, claim},
    key::Algorithm,
    key_set::KeySet,
};
use super::{
    principal::{Principal, Who},
    refused::Refused,
};
use crate::{
    api::request::path,
    base::{
        ids::Timestamp,
        tokens::{Rights, Role, Scope},
    },
    state::index::Catalog,
};

/// The keys that a node takes JWTs by, and for whom these must be.
#[derive(Debug)]
pub struct JwtKeys {
    audience: Box<str>,
    current: RwLock<Arc<KeySet>>,
    /// How often keys were taken away so far. Read without the lock.
    taken_away: AtomicU64,
}

/// The first part of a JWT. What it says else of its key is not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "claim")]
    kid: Option<String>,
    /// What must be understood besides: nothing is.
    #[serde(default, deserialize_with = "claim")]
    crit: Option<serde_json::Value>,
}

impl JwtKeys {
    /// The keys of a JWKS (RFC 7517), for JWTs whose `aud` is or has `audience`.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn new(text: &[u8], audience: &str) -> Result<Self, KeySetError> {
        let current = RwLock::new(Arc::new(KeySet::parse(text)?));
        Ok(Self { audience: audience.into(), current, taken_away: AtomicU64::new(0) })
    }

    /// Takes the keys of another JWKS in the place of those before. Gives how many there are, and how many
    /// of the file cannot be used here.
    ///
    /// # Errors
    /// [`KeySetError`]: the keys before stay.
    pub fn replace(&self, text: &[u8]) -> Result<(usize, usize), KeySetError> {
        let next = Arc::new(KeySet::parse(text)?);
        let counts = next.counts();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        // Whoever sees this looks at the keys that are there now.
        self.taken_away.fetch_add(1, Ordering::SeqCst);
        Ok(counts)
    }

    /// How many keys there are, and how many of the file cannot be used here.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.current().counts()
    }

    /// Changes whenever a key may be gone.
    pub(super) fn generation(&self) -> u64 {
        self.taken_away.load(Ordering::SeqCst)
    }

    /// Whether the key of that id is still there.
    pub(super) fn has(&self, id: u64) -> bool {
        self.current().has(id)
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who bears a JWT at that moment.
    pub(super) fn verify(
        &self,
        text: &[u8],
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<Principal, Refused> {
        let text = std::str::from_utf8(text).map_err(|_| Refused::Unknown)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Unknown)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Unknown)?;
        let header: Header = part(header).ok_or(Refused::Unknown)?;
        if header.crit.is_some() {
            return Err(Refused::Unknown);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Key)?;
        let keys = self.current();
        let key = keys.find(header.kid.as_deref(), algorithm).ok_or(Refused::Key)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Signature)?;
        if !key.verifies(algorithm, signed.as_bytes(), &signature) {
            return Err(Refused::Signature);
        }
        // From here on it is what somebody said whose word is taken.
        let claims: Claims = part(claims).ok_or(Refused::Claims)?;
        let expires = claims.check(&self.audience, now)?;
        let role = Role::named(&claims.role).ok_or(Refused::Claims)?;
        let scope = match &claims.tenant {
            None => Scope::All,
            Some(name) => {
                let tenant = path::tenant(catalog.into(), name).map_err(|_| Refused::Claims)?;
                Scope::Tenant(tenant.id)
            }
        };
        Ok(Principal::with(Who::Jwt(key.id()), Rights { role, scope }).until(Some(expires)))
    }
}

/// Whether a token may be a JWT: three parts, none of which is looked at.
pub(super) fn is_jwt(token: &[u8]) -> bool {
    token.iter().filter(|&&byte| byte == b'.').count() == 2
}

/// What a part of a JWT says.
fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
