//! The header `Authorization`: `Bearer TOKEN`, or `Basic` with the token as password.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

/// The longest value that is looked at: the longest token as a password, with a name before it.
pub(super) const HEADER_BYTES_MAX: usize = 1_024;

/// The same where JWTs are taken, which may be long.
pub(super) const JWT_HEADER_BYTES_MAX: usize = 4_096;

/// A token as a header bears it.
pub(super) struct Presented<'h>(Cow<'h, [u8]>);

impl<'h> Presented<'h> {
    /// What a value of the header bears; nothing where that is no token.
    pub(super) fn of(value: &'h [u8]) -> Option<Self> {
        let space = value.iter().position(|&byte| byte == b' ')?;
        let (scheme, rest) = value.split_at(space);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return (!rest.is_empty()).then_some(Self(rest.into()));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let mut pair = STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|&byte| byte == b':')?;
        // Whatever the name is: the token says whose it is.
        pair.drain(..=colon);
        (!pair.is_empty()).then_some(Self(pair.into()))
    }

    /// The token.
    pub(super) fn token(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_borne_by_bearer_or_as_the_password_of_basic() {
        let token = |value: &str| Presented::of(value.as_bytes()).map(|it| it.token().to_vec());
        for value in ["Bearer to:ken", "bearer  to:ken", "BEARER to:ken "] {
            assert_eq!(token(value), Some(b"to:ken".to_vec()), "{value}");
        }
        for name in ["", "root", "a b"] {
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:to:ken")));
            assert_eq!(token(&value), Some(b"to:ken".to_vec()), "{value}");
        }
        let without_colon = format!("Basic {}", STANDARD.encode("token"));
        let without_password = format!("Basic {}", STANDARD.encode("token:"));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "token",
            "Basic !",
            "Digest x",
            &without_colon,
            &without_password,
        ] {
            assert_eq!(token(value), None, "{value:?}");
        }
    }
}
