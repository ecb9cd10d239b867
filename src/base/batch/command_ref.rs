//! One command of a batch, read where it lies.

use uuid::Uuid;

use super::{
    command::{Action, Conditions, Idempotency, token_version},
    layout::{QUOTAS_VERSION, TOKENS_VERSION, VERSION, command_flag, kind},
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    quota::TenantQuota,
    retention::{Beginning, TenantRetention},
    secret::SecretHash,
    tokens::{Grantor, Rights, Token, TokenId},
};

/// One command of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRef<'b> {
    /// How many changes it has.
    pub changes: u32,
    /// How a repeat of it is recognised.
    pub idempotency: Option<Idempotency>,
    /// What it does.
    pub action: ActionRef<'b>,
}

/// What a command of a batch does; see [`Action`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionRef<'b> {
    /// Appends its changes if the conditions hold.
    Append(Conditions),
    /// Creates a tenant.
    CreateTenant(Uuid, &'b str),
    /// Creates a collection: UUID of the tenant, its own, name.
    CreateCollection(Uuid, Uuid, &'b str),
    /// Takes the data and the tags of a change away.
    Redact(ChangeId),
    /// Says how much of its history a tenant keeps.
    SetRetention(Uuid, TenantRetention),
    /// Has the lists of a tenant begin later.
    BeginAt(Uuid, Beginning),
    /// Creates a token.
    CreateToken(Box<Token>),
    /// Revokes a token.
    RevokeToken(TokenId),
    /// Says what requests without a token may do, and who says so.
    SetAnonymous(Option<Rights>, Option<Grantor>),
    /// Says how much a tenant may use.
    SetQuota(Uuid, TenantQuota),
}

impl ActionRef<'_> {
    /// The version of a batch that it needs.
    pub(super) fn version(&self) -> u8 {
        match self {
            Self::CreateToken(token) => token_version(token),
            Self::RevokeToken(_) | Self::SetAnonymous(_, None) => TOKENS_VERSION,
            Self::SetAnonymous(_, Some(_)) | Self::SetQuota(..) => QUOTAS_VERSION,
            _ => VERSION,
        }
    }

    /// The same apart from the batch; nothing where it appends changes of it.
    #[must_use]
    pub fn to_action(&self) -> Option<Action> {
        Some(match *self {
            Self::CreateToken(ref token) => Action::CreateToken(token.clone()),
            Self::RevokeToken(id) => Action::RevokeToken(id),
            Self::SetAnonymous(rights, by) => Action::SetAnonymous(rights, by),
            Self::Append(_) => return None,
            Self::CreateTenant(tenant, name) => Action::CreateTenant { tenant, name: name.into() },
            Self::CreateCollection(tenant, collection, name) => {
                Action::CreateCollection { tenant, collection, name: name.into() }
            }
            Self::Redact(change) => Action::Redact(change),
            Self::SetRetention(tenant, retention) => Action::SetRetention(tenant, retention),
            Self::BeginAt(tenant, beginning) => Action::BeginAt(tenant, beginning),
            Self::SetQuota(tenant, quota) => Action::SetQuota(tenant, quota),
        })
    }
}

/// Reads one, of these arguments; nothing where it is none.
pub(super) fn command(
    kind: u8,
    flags: u8,
    changes: u32,
    mut arguments: &[u8],
) -> Option<CommandRef<'_>> {
    if flags & !(command_flag::IDEMPOTENCY | command_flag::CONDITIONS) != 0 {
        return None;
    }
    let take = |arguments: &mut &[u8]| -> Option<[u8; 16]> {
        let (taken, rest) = arguments.split_first_chunk()?;
        *arguments = rest;
        Some(*taken)
    };
    let idempotency = match flags & command_flag::IDEMPOTENCY {
        0 => None,
        _ => Some(Idempotency { key: take(&mut arguments)?, request: take(&mut arguments)? }),
    };
    let conditions = match flags & command_flag::CONDITIONS {
        0 => Conditions::default(),
        _ => Conditions::decode(&mut arguments)?,
    };
    let action = match kind {
        kind::APPEND => {
            let conditional = !conditions.is_empty();
            (arguments.is_empty() && changes > 0 && (changes == 1 || !conditional))
                .then_some(ActionRef::Append(conditions))?
        }
        kind::CREATE_TENANT => {
            let tenant = Uuid::from_bytes(take(&mut arguments)?);
            ActionRef::CreateTenant(tenant, std::str::from_utf8(arguments).ok()?)
        }
        kind::CREATE_COLLECTION => {
            let tenant = Uuid::from_bytes(take(&mut arguments)?);
            let collection = Uuid::from_bytes(take(&mut arguments)?);
            ActionRef::CreateCollection(tenant, collection, std::str::from_utf8(arguments).ok()?)
        }
        kind::REDACT => {
            let id = u64::from_le_bytes(*arguments.first_chunk().filter(|_| arguments.len() == 8)?);
            ActionRef::Redact(ChangeId(id))
        }
        kind::SET_RETENTION => {
            let tenant = Uuid::from_bytes(take(&mut arguments)?);
            let retention = TenantRetention::from_bytes(take(&mut arguments)?);
            arguments.is_empty().then_some(ActionRef::SetRetention(tenant, retention))?
        }
        kind::BEGIN_AT => {
            let tenant = Uuid::from_bytes(take(&mut arguments)?);
            let retention = TenantRetention::from_bytes(take(&mut arguments)?);
            let first = ChangeId(u64::from_le_bytes(arguments.try_into().ok()?));
            ActionRef::BeginAt(tenant, Beginning { retention, first })
        }
        kind::SET_QUOTA => {
            let tenant = Uuid::from_bytes(take(&mut arguments)?);
            ActionRef::SetQuota(tenant, TenantQuota::from_bytes(arguments.try_into().ok()?))
        }
        kind::CREATE_TOKEN => ActionRef::CreateToken(Box::new(token(arguments)?)),
        kind::REVOKE_TOKEN => {
            ActionRef::RevokeToken(TokenId(u64::from_le_bytes(arguments.try_into().ok()?)))
        }
        kind::SET_ANONYMOUS => {
            ActionRef::SetAnonymous(Rights::from_bytes(arguments.try_into().ok()?)?, None)
        }
        kind::GRANT_ANONYMOUS => granted(arguments)?,
        _ => return None,
    };
    let creates = !matches!(action, ActionRef::Append(_));
    (!creates || changes == 0).then_some(CommandRef { changes, idempotency, action })
}

/// What requests without a token may do, and who says so.
fn granted(arguments: &[u8]) -> Option<ActionRef<'static>> {
    let (by, rights) = arguments.split_first_chunk()?;
    let by = Grantor::numbered(u64::from_le_bytes(*by));
    Some(ActionRef::SetAnonymous(Rights::from_bytes(rights.try_into().ok()?)?, Some(by)))
}

/// The token that a command creates.
fn token(arguments: &[u8]) -> Option<Token> {
    let (numbers, rest) = arguments.split_first_chunk::<24>()?;
    let (rights, rest) = rest.split_first_chunk()?;
    let (hash, name) = rest.split_first_chunk()?;
    let mut numbers =
        numbers.chunks_exact(8).map(|number| number.try_into().map(u64::from_le_bytes));
    let mut number = || numbers.next()?.ok();
    Some(Token {
        id: TokenId(number()?),
        creator: number().map(Grantor::numbered)?,
        expires: number().map(Timestamp).filter(|expires| expires.0 > 0),
        rights: Rights::from_bytes(rights)??,
        hash: SecretHash(*hash),
        name: std::str::from_utf8(name).ok()?.into(),
        created: Timestamp::default(),
    })
}
