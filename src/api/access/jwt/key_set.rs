//! A file of keys: a JWKS (RFC 7517).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::key::{Algorithm, Key, Material};

/// The most keys that a file may have.
const KEYS_MAX: usize = 64;
/// The largest file.
pub const JWKS_BYTES_MAX: usize = 256 << 10;
/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;
/// The shortest modulus of RSA, in bytes.
const MODULUS_BYTES_MIN: usize = 256;
/// The longest.
const MODULUS_BYTES_MAX: usize = 1_024;

/// Why a file of keys cannot be used. It does not repeat what stands there, but for the name of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is too large.
    #[error("it has {0} bytes, more than {JWKS_BYTES_MAX}")]
    TooLarge(usize),
    /// It is no JSON of that form.
    #[error("it is no JWKS, {{\"keys\":[…]}}: line {line}, column {column}")]
    Form {
        /// Where.
        line: usize,
        /// Likewise.
        column: usize,
    },
    /// It has too many keys.
    #[error("it has {0} keys, more than {KEYS_MAX}")]
    TooMany(usize),
    /// It has keys, but none that verifies signatures here.
    #[error("none of its keys is one by which this node can verify a signature")]
    None,
    /// One of its keys is wrong.
    #[error("its key {at} ({}) {what}", named(kid.as_deref()))]
    Key {
        /// Which, from 1.
        at: usize,
        /// Its name, if it has one.
        kid: Option<String>,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Jwk>,
}

/// A key as it is written. Members that are not known here are left alone.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    /// What nobody but who signs may have.
    d: Option<Value>,
}

/// The keys of one file; without any, no JWT is good.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Keys that are for something else, or of a kind that is not known here.
    left_out: usize,
}

impl KeySet {
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge(text.len()));
        }
        let file: File = serde_json::from_slice(text)
            .map_err(|error| KeySetError::Form { line: error.line(), column: error.column() })?;
        let all = file.keys.len();
        if all > KEYS_MAX {
            return Err(KeySetError::TooMany(all));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (n, jwk) in file.keys.into_iter().enumerate() {
            let kid = jwk.kid.clone();
            let wrong = |what| KeySetError::Key { at: n + 1, kid, what };
            let Some(key) = jwk.key().map_err(wrong.clone())? else { continue };
            if key.kid().is_some() && keys.iter().any(|other| other.kid() == key.kid()) {
                return Err(wrong("has the kid of another one"));
            }
            keys.push(key);
        }
        let left_out = all - keys.len();
        // A file without any is meant so; one of which none is of use here hardly is.
        match keys.is_empty() && left_out > 0 {
            true => Err(KeySetError::None),
            false => Ok(Self { keys, left_out }),
        }
    }

    /// How many keys there are, and how many were left out.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.keys.len(), self.left_out)
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.keys.iter().any(|key| key.id() == id)
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().map(Key::id)
    }

    /// The key of that name, where a JWT may be signed with it in that way. Without a name the only one that
    /// it may be.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let named = |key: &&Key| kid.is_none_or(|kid| key.kid() == Some(kid));
        let mut fitting = self.keys.iter().filter(named).filter(|key| key.is_for(algorithm));
        let found = fitting.next()?;
        fitting.next().is_none().then_some(found)
    }
}

impl Jwk {
    /// The key; nothing where it is none that this node could use.
    fn key(self) -> Result<Option<Key>, &'static str> {
        let is_for_something_else = self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify"));
        if is_for_something_else {
            return Ok(None);
        }
        let algorithm = self.alg.as_deref().map(Algorithm::named);
        if algorithm == Some(None) {
            return Ok(None);
        }
        let algorithm = algorithm.flatten();
        if self.d.is_some() {
            return Err("is a private one: give its public part alone");
        }
        let Some(material) = self.material()? else { return Ok(None) };
        if matches!(material, Material::Secret(_)) && algorithm.is_none() {
            return Err("is a secret (oct) and names no alg, one of HS256, HS384 and HS512");
        }
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err("has an alg that does not fit its kty or crv");
        }
        Ok(Some(Key::new(self.kid.map(Into::into), algorithm, material)))
    }

    fn material(&self) -> Result<Option<Material>, &'static str> {
        let point = |bytes: usize| {
            let (x, y) = (decoded(&self.x)?, decoded(&self.y)?);
            match x.len() == bytes && y.len() == bytes {
                true => Ok([&[4], &*x, &*y].concat()),
                false => Err("has an x or a y of another length than its crv asks for"),
            }
        };
        Ok(Some(match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (without_zeros(decoded(&self.n)?), without_zeros(decoded(&self.e)?));
                if !(MODULUS_BYTES_MIN..=MODULUS_BYTES_MAX).contains(&n.len()) {
                    return Err("has a modulus of less than 2048 or more than 8192 bits");
                }
                Material::Rsa { n, e }
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => match decoded(&self.x)? {
                x if x.len() == 32 => Material::Ed25519(x),
                _ => return Err("has an x of another length than 32 bytes"),
            },
            ("oct", _) => match decoded(&self.k)? {
                k if k.len() >= SECRET_BYTES_MIN => Material::Secret(k),
                _ => return Err("is a secret of less than 32 bytes"),
            },
            _ => return Ok(None),
        }))
    }
}

fn named(kid: Option<&str>) -> String {
    kid.map_or_else(|| "without kid".into(), |kid| format!("kid {kid:?}"))
}

/// A number as ring takes it.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.split_off(zeros)
}

fn decoded(text: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = text.as_deref().ok_or("lacks a member that its kty asks for")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "has a member that is not base64url without padding")
}
