//! Names of tenants and collections, and the UUIDs that stand for them.

use uuid::Uuid;

use super::limits::{KEY_BYTES_MAX, NAME_BYTES_MAX};

/// The longest address of a node: a name of DNS has 253 characters.
const ADDRESS_BYTES_MAX: usize = 300;

/// What names a tenant, or a collection of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'n> {
    /// Its UUID.
    Id(Uuid),
    /// Its name.
    Name(&'n str),
}

impl<'n> Named<'n> {
    /// Reads a UUID or a name; `None` when `text` can be neither.
    #[must_use]
    pub fn parse(text: &'n str) -> Option<Self> {
        match parse_uuid(text) {
            Some(id) => Some(Self::Id(id)),
            None => is_name(text).then_some(Self::Name(text)),
        }
    }
}

/// Whether `text` may name a tenant or a collection: 1 to 128 of
/// `A-Z a-z 0-9 . _ ~ -`, but not of a UUID's form.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(known)
        && parse_uuid(text).is_none()
}

/// Whether `text` may be a key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len())
}

/// Whether `text` is a host and a port and nothing else: `node-1.example:9000`,
/// `10.0.0.1:9000` or `[fd00::1]:9000`.
#[must_use]
pub fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let has_only = |text: &str, marks: &[u8]| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
        !text.is_empty() && text.bytes().all(known)
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => has_only(address, b":.%"),
        None => has_only(host, b"-._"),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= ADDRESS_BYTES_MAX && is_host && is_port && matches!(port.parse::<u16>(), Ok(1..))
}

/// Reads a UUID in its usual form of 36 characters, in any case.
#[must_use]
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    Uuid::try_parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uuids_are_told_apart() {
        let id = "0198c0de-0000-4000-8000-00000000000a";
        for text in [id, &id.to_uppercase()] {
            assert_eq!(Named::parse(text), Some(Named::Id(Uuid::parse_str(id).unwrap())));
            assert!(!is_name(text));
        }
        let plain = id.replace('-', "");
        for name in ["a", "A.b_c~d-9", &"x".repeat(128), &plain, &id[1..], &format!("{id}x")] {
            assert_eq!(Named::parse(name), Some(Named::Name(name)));
        }
        let braced = format!("{{{plain}}}");
        for text in ["", "a b", "é", "a/b", &"x".repeat(129), &braced] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["a:1", "node-1.example:9000", "10.0.0.1:65535", "[fd00::1%2]:80", "a_b:1"] {
            assert!(is_host_and_port(text), "{text}");
        }
        let long = format!("{}:1", "x".repeat(300));
        for text in [
            "",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "a/b:1",
            "u@h:1",
            "a?b:1",
            "a#b:1",
            "fd00::1:80",
            "[]:1",
            "[a:1",
            "é:1",
            "a\r\n:1",
            &long,
        ] {
            assert!(!is_host_and_port(text), "{text}");
        }
    }
}
