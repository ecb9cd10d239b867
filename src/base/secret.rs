//! Secrets that requests bear, and what is kept of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::hex::hex;

/// The least length of a secret, in characters.
pub const SECRET_CHARS_MIN: usize = 32;
/// The greatest.
pub const SECRET_CHARS_MAX: usize = 255;

/// A secret as it is sent: [`SECRET_CHARS_MIN`] to [`SECRET_CHARS_MAX`] visible characters of ASCII. It is
/// never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why a text is no secret. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has too few or too many characters.
    #[error("it has {0} characters, not {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX}")]
    Length(usize),
    /// One of its characters cannot stand in a header.
    #[error(
        "its character {0} is not a visible one of ASCII: a token has neither spaces nor line breaks"
    )]
    Character(usize),
}

impl Secret {
    /// The secret that `text` is.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if let Some(at) = text.chars().position(|character| !character.is_ascii_graphic()) {
            return Err(SecretError::Character(at + 1));
        }
        if !(SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&text.len()) {
            return Err(SecretError::Length(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The secret that a file or a variable holds: a line break at its end is not part of it.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn of_line(text: &str) -> Result<Self, SecretError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }

    /// The value of `Authorization` that bears it.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The secret that nodes which were given this one show to each other before they belong together.
    /// It does not tell this one.
    #[must_use]
    pub fn between_nodes(&self) -> Self {
        let hash = Sha256::new_with_prefix(b"changeagent node\0").chain_update(self.0.as_bytes());
        Self(hex(&hash.finalize()).into())
    }

    /// The key by which nodes that were given this secret sign what they give to clients. It does not tell
    /// the secret.
    #[must_use]
    pub fn signing_key(&self) -> [u8; 32] {
        let hash = Sha256::new_with_prefix(b"changeagent signed\0").chain_update(self.0.as_bytes());
        hash.finalize().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What `Debug` does not show, since there is, or may be, a secret in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden<T>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// SHA-256 of a secret. Compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// That of a secret as it is sent.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for SecretHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a SHA-256 is 64 digits of 0-9 a-f");
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "a SHA-256 is hexadecimal")?;
        }
        Ok(Self(bytes))
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_to_255_visible_characters() {
        let of = |length: usize| Secret::new(&"x".repeat(length));
        assert!(of(32).is_ok() && of(255).is_ok());
        assert_eq!(of(31), Err(SecretError::Length(31)));
        assert_eq!(of(256), Err(SecretError::Length(256)));
        for wrong in [" ", "\t", "\n", "é", "\0", "\u{7f}"] {
            let text = format!("{}{wrong}{}", "x".repeat(20), "x".repeat(20));
            assert_eq!(Secret::new(&text), Err(SecretError::Character(21)), "{wrong:?}");
        }
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_is_no_part_of_it() {
        let text = "0123456789abcdef0123456789abcdef";
        let secret = Secret::new(text).unwrap();
        for end in ["", "\n", "\r\n"] {
            assert_eq!(Secret::of_line(&format!("{text}{end}")), Ok(secret.clone()));
        }
        assert_eq!(Secret::of_line(&format!("{text}\n\n")), Err(SecretError::Character(33)));
    }

    #[test]
    fn what_is_kept_and_shown_does_not_tell_it() {
        let text = "0123456789abcdef0123456789abcdef";
        let secret = Secret::new(text).unwrap();
        assert_eq!(format!("{secret:?} {:?}", secret.hash()), "Secret SecretHash");
        let between = secret.between_nodes().authorization();
        assert!(!between.contains(text));
        assert_eq!(secret.hash(), SecretHash::of(text.as_bytes()));
        assert_ne!(secret.hash(), secret.between_nodes().hash());
        assert_ne!(secret.hash().0, secret.signing_key());
        assert_ne!(secret.between_nodes().signing_key(), secret.signing_key());
    }
}
