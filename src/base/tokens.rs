//! Tokens: what who shows one may do.
//!
//! What is written here as numbers is stable: it stands in batches, indexes and checkpoints.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{hex::hex, ids::Timestamp, secret::SecretHash, tenants::Tenants};

/// The most tokens that there may be at once.
pub const TOKENS_MAX: usize = 10_000;

/// One thing that a request may need to be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read.
    Read,
    /// To add changes that replace and delete nothing.
    Insert,
    /// To update, delete and create.
    Write,
    /// To say who may do what, what is kept, and who the members are.
    Administer,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It reads.
    Read,
    /// It adds changes, and reads nothing.
    Append,
    /// It reads and writes.
    Write,
    /// It may do everything.
    Admin,
}

impl Role {
    /// Each with its name and its number in a batch.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Read, "read"),
        (Self::Append, "append"),
        (Self::Write, "write"),
        (Self::Admin, "admin"),
    ];

    /// Whether it has that right.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Read => self != Self::Append,
            Right::Insert => self != Self::Read,
            Right::Write => matches!(self, Self::Write | Self::Admin),
            Right::Administer => self == Self::Admin,
        }
    }

    /// Whether it has every right that `other` has.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == other
            || self == Self::Admin
            || (self == Self::Write && matches!(other, Self::Read | Self::Append))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(role, _)| role)
    }
}

/// What a token concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything.
    All,
    /// A tenant, with its collections.
    Tenant(Uuid),
    /// A collection.
    Collection {
        /// The tenant that it belongs to.
        tenant: Uuid,
        /// The collection.
        collection: Uuid,
    },
}

impl Scope {
    /// Whether all of `other` is in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Tenant(own), Self::Tenant(tenant) | Self::Collection { tenant, .. }) => {
                own == tenant
            }
            _ => self == other,
        }
    }

    /// Whether something of it is of one of these tenants.
    #[must_use]
    pub fn concerns(self, tenants: &Tenants) -> bool {
        self.tenant().is_none_or(|tenant| tenants.has(tenant))
    }

    /// Its tenant, unless it is everything.
    #[must_use]
    pub fn tenant(self) -> Option<Uuid> {
        match self {
            Self::All => None,
            Self::Tenant(tenant) | Self::Collection { tenant, .. } => Some(tenant),
        }
    }
}

/// A role within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// What may be done.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl Rights {
    /// Everything, everywhere.
    pub const ALL: Self = Self { role: Role::Admin, scope: Scope::All };
    /// Bytes of its byte form.
    pub const BYTES: usize = 34;

    /// Whether it has every right that `other` has.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.role.covers(other.role) && self.scope.covers(other.scope)
    }

    /// The byte form of rights, or of none: u8 role, 1 to 4, 0 for none at all; u8 scope, 0 everything, 1 a tenant, 2
    /// a collection; UUID of the tenant and of the collection, zero where there is none.
    #[must_use]
    pub fn to_bytes(rights: Option<Self>) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let Some(Self { role, scope }) = rights else { return bytes };
        bytes[0] = role as u8 + 1;
        let (kind, tenant, collection) = match scope {
            Scope::All => (0, Uuid::nil(), Uuid::nil()),
            Scope::Tenant(tenant) => (1, tenant, Uuid::nil()),
            Scope::Collection { tenant, collection } => (2, tenant, collection),
        };
        bytes[1] = kind;
        bytes[2..18].copy_from_slice(tenant.as_bytes());
        bytes[18..].copy_from_slice(collection.as_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made; the outer `None` where it is nothing of that kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Option<Self>> {
        let [role, kind, ids @ ..] = bytes;
        let (tenant, collection) = ids.split_first_chunk::<16>()?;
        let tenant = Uuid::from_bytes(*tenant);
        let collection = Uuid::from_bytes(*collection.first_chunk()?);
        if *role == 0 {
            return (*bytes == [0; Self::BYTES]).then_some(None);
        }
        let (role, _) = *Role::ALL.get(usize::from(*role) - 1)?;
        let scope = match (kind, tenant.is_nil(), collection.is_nil()) {
            (0, true, true) => Scope::All,
            (1, _, true) => Scope::Tenant(tenant),
            (2, ..) => Scope::Collection { tenant, collection },
            _ => return None,
        };
        Some(Some(Self { role, scope }))
    }
}

/// What names a token: a part of the token itself, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let id = Some(text).filter(|text| text.len() == 16 && text.bytes().all(hex));
        let id = id.and_then(|text| u64::from_str_radix(text, 16).ok());
        id.map(Self).ok_or("the id of a token is 16 digits of 0-9 a-f")
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Who gives rights to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Option<String>", try_from = "Option<String>")]
pub enum Grantor {
    /// Who has the root token, or stands for it: nobody takes its rights away.
    Root,
    /// Who bears no token, with the rights that requests without one have.
    Anonymous,
    /// Who has that token.
    Token(TokenId),
}

impl Grantor {
    /// What stands for [`Anonymous`](Self::Anonymous) where a token is named by its text. No token has it as its id.
    pub const ANONYMOUS: &str = "anonymous";

    /// Its number in a batch: 0 for the root token, `u64::MAX` for who bears none, else the id of the token. Stable: it is
    /// on disk.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Root => 0,
            Self::Anonymous => u64::MAX,
            Self::Token(id) => id.0,
        }
    }

    /// The one of that number.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        match number {
            0 => Self::Root,
            u64::MAX => Self::Anonymous,
            id => Self::Token(TokenId(id)),
        }
    }

    /// Its text; nothing for the root token.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::Root => None,
            Self::Anonymous => Some(Self::ANONYMOUS.to_owned()),
            Self::Token(id) => Some(id.to_string()),
        }
    }
}

impl From<Grantor> for Option<String> {
    fn from(grantor: Grantor) -> Self {
        grantor.text()
    }
}

impl TryFrom<Option<String>> for Grantor {
    type Error = &'static str;

    fn try_from(text: Option<String>) -> Result<Self, Self::Error> {
        match text.as_deref() {
            None => Ok(Self::Root),
            Some(Self::ANONYMOUS) => Ok(Self::Anonymous),
            Some(id) => id.parse().map(Self::Token),
        }
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What names it.
    pub id: TokenId,
    /// What its creator calls it.
    pub name: Box<str>,
    /// What it may do.
    pub rights: Rights,
    /// SHA-256 of the whole token.
    pub hash: SecretHash,
    /// Who created it.
    #[serde(default = "by_root")]
    pub creator: Grantor,
    /// When it was created: the stamp of the batch that does it, and nothing before.
    pub created: Timestamp,
    /// From when on it is good for nothing.
    pub expires: Option<Timestamp>,
}

fn by_root() -> Grantor {
    Grantor::Root
}

/// What a token begins with.
const PREFIX: &str = "ca_";

impl TokenId {
    /// Whether a token may have it: not what stands for other [`Grantor`]s.
    #[must_use]
    pub fn is_of_a_token(self) -> bool {
        Grantor::numbered(self.0) == Grantor::Token(self)
    }
}

impl Token {
    /// The token of that id and secret, as it is shown.
    #[must_use]
    pub fn text(id: TokenId, secret: &[u8; 32]) -> String {
        format!("{PREFIX}{id}_{}", hex(secret))
    }

    /// The id of a token as it is shown; nothing where it is none.
    #[must_use]
    pub fn id_of(text: &[u8]) -> Option<TokenId> {
        let rest = text.strip_prefix(PREFIX.as_bytes())?;
        let (id, rest) = rest.split_at_checked(16)?;
        rest.starts_with(b"_").then_some(())?;
        std::str::from_utf8(id).ok()?.parse().ok()
    }

    /// Whether it is good for nothing any more at that moment.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::from_u128(1);
    const COLLECTION: Scope = Scope::Collection { tenant: TENANT, collection: Uuid::from_u128(2) };

    #[test]
    fn a_role_covers_what_has_no_right_more() {
        use Right::{Administer, Insert, Read, Write};
        for (one, _) in Role::ALL {
            for (other, _) in Role::ALL {
                let rights = [Read, Insert, Write, Administer];
                let all = rights.into_iter().all(|right| one.has(right) || !other.has(right));
                assert_eq!(one.covers(other), all, "{one:?} {other:?}");
            }
            assert_eq!(Role::named(one.name()), Some(one));
        }
        assert!(!Role::Append.has(Read) && !Role::Read.has(Insert));
        assert_eq!(Role::named("root"), None);
    }

    #[test]
    fn a_scope_covers_what_lies_in_it() {
        let other = Scope::Tenant(Uuid::from_u128(3));
        let in_other = Scope::Collection { tenant: Uuid::from_u128(3), collection: TENANT };
        let all = [Scope::All, Scope::Tenant(TENANT), COLLECTION, other, in_other];
        let covered: Vec<Vec<bool>> =
            all.iter().map(|one| all.iter().map(|it| one.covers(*it)).collect()).collect();
        assert_eq!(covered[0], [true; 5]);
        assert_eq!(covered[1], [false, true, true, false, false]);
        assert_eq!(covered[2], [false, false, true, false, false]);
        assert_eq!(covered[3], [false, false, false, true, true]);
    }

    #[test]
    fn rights_are_read_back_and_nothing_else_is_taken_for_any() {
        let mut all = vec![None];
        for (role, _) in Role::ALL {
            for scope in [Scope::All, Scope::Tenant(TENANT), COLLECTION] {
                all.push(Some(Rights { role, scope }));
            }
        }
        for rights in all {
            assert_eq!(Rights::from_bytes(&Rights::to_bytes(rights)), Some(rights));
        }
        let whole = Rights::to_bytes(Some(Rights::ALL));
        for (at, byte) in [(0, 5), (0, 255), (1, 3), (1, 255), (2, 1), (18, 1)] {
            let mut wrong = whole;
            wrong[at] = byte;
            assert_eq!(Rights::from_bytes(&wrong), None, "{at} {byte}");
        }
        let mut wrong = Rights::to_bytes(None);
        wrong[7] = 1;
        assert_eq!(Rights::from_bytes(&wrong), None);
    }

    #[test]
    fn whoever_gives_rights_is_read_back() {
        for (grantor, number, text) in [
            (Grantor::Root, 0, "null"),
            (Grantor::Anonymous, u64::MAX, "\"anonymous\""),
            (Grantor::Token(TokenId(0xab)), 0xab, "\"00000000000000ab\""),
        ] {
            assert_eq!((grantor.number(), Grantor::numbered(number)), (number, grantor));
            assert_eq!(serde_json::to_string(&grantor).unwrap(), text);
            assert_eq!(serde_json::from_str::<Grantor>(text).unwrap(), grantor);
        }
        assert!(serde_json::from_str::<Grantor>("\"root\"").is_err());
    }

    #[test]
    fn a_token_tells_its_id() {
        let id = TokenId(0xab);
        let text = Token::text(id, &[0x5c; 32]);
        assert_eq!(text, format!("ca_00000000000000ab_{}", "5c".repeat(32)));
        assert_eq!(Token::id_of(text.as_bytes()), Some(id));
        for wrong in
            ["", "ca_", "ca_00000000000000ab", "ca_00000000000000AB_x", "cb_00000000000000ab_x"]
        {
            assert_eq!(Token::id_of(wrong.as_bytes()), None, "{wrong}");
        }
        let shown = serde_json::to_string(&id).unwrap();
        assert_eq!(shown, "\"00000000000000ab\"");
        assert_eq!(serde_json::from_str::<TokenId>(&shown).unwrap(), id);
    }
}
