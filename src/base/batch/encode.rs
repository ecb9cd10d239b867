//! From commands to the byte form of a batch.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    command::{Action, Append, ChangeSpan, Command},
    layout::{CHANGE_BYTES, COMMAND_BYTES, HEADER_BYTES, PLAIN, VERSION, command_flag, kind},
};
use crate::base::{
    ids::Timestamp,
    retention::Beginning,
    tokens::{Rights, Token},
};

/// Encodes `commands`, in order, as one batch stamped `at`.
///
/// # Panics
/// If the batch would exceed 4 GiB or has no command; callers bound both.
#[must_use]
pub fn encode<'c>(commands: impl IntoIterator<Item = &'c Command> + Clone, at: Timestamp) -> Bytes {
    let commands = || commands.clone().into_iter();
    let count = commands().count();
    assert!(count > 0, "a batch has a command");
    let bytes = HEADER_BYTES + commands().map(Command::encoded_bytes).sum::<usize>();
    assert!(u32::try_from(bytes).is_ok(), "a batch is smaller than 4 GiB");
    let changes: u32 = commands().map(Command::changes).sum();
    let mut arguments = Vec::new();
    let mut heads = Vec::with_capacity(count * COMMAND_BYTES);
    for command in commands() {
        put_head(&mut heads, &mut arguments, command);
    }

    let mut out = BytesMut::with_capacity(bytes);
    let version = commands().map(|command| command.action.version()).max();
    out.put_u8(version.unwrap_or(VERSION));
    out.put_u8(if commands().all(is_plain) { PLAIN } else { 0 });
    out.put_bytes(0, 2);
    out.put_u32_le(count as u32);
    out.put_u32_le(changes);
    out.put_u32_le(arguments.len() as u32);
    out.put_u64_le(at.0);
    out.extend_from_slice(&heads);
    let mut base = 0;
    for append in commands().filter_map(appended) {
        append.assert_whole();
        for span in &append.spans {
            put_span(&mut out, span, base + span.end);
        }
        base += append.suffixes.len() as u32;
    }
    debug_assert_eq!(out.len(), HEADER_BYTES + heads.len() + changes as usize * CHANGE_BYTES);
    out.extend_from_slice(&arguments);
    for append in commands().filter_map(appended) {
        out.extend_from_slice(&append.suffixes);
    }
    debug_assert_eq!(out.len(), bytes);
    out.freeze()
}

/// Puts a change that ends at `end` into the table.
pub(super) fn put_span(out: &mut BytesMut, span: &ChangeSpan, end: u32) {
    out.put_u32_le(end);
    out.put_u16_le(span.tags_at);
    out.put_u16_le(span.tags_bytes);
    out.put_u16_le(span.key_bytes);
    out.put_u16_le(span.flags);
}

fn appended(command: &Command) -> Option<&Append> {
    match &command.action {
        Action::Append(append) => Some(append),
        _ => None,
    }
}

/// Whether a command concerns the global list alone.
fn is_plain(command: &Command) -> bool {
    command.idempotency.is_none()
        && appended(command).is_some_and(|append| {
            append.conditions.is_empty()
                && append.spans.iter().all(|span| span.flags == 0 && span.tags_bytes == 0)
        })
}

pub(super) fn put_head(heads: &mut Vec<u8>, arguments: &mut Vec<u8>, command: &Command) {
    let before = arguments.len();
    let mut flags = 0;
    if let Some(idempotency) = &command.idempotency {
        flags |= command_flag::IDEMPOTENCY;
        arguments.extend_from_slice(&idempotency.key);
        arguments.extend_from_slice(&idempotency.request);
    }
    let kind = match &command.action {
        Action::Append(append) => {
            if !append.conditions.is_empty() {
                flags |= command_flag::CONDITIONS;
                append.conditions.encode(arguments);
            }
            kind::APPEND
        }
        Action::CreateTenant { tenant, name } => {
            arguments.extend_from_slice(tenant.as_bytes());
            arguments.extend_from_slice(name.as_bytes());
            kind::CREATE_TENANT
        }
        Action::CreateCollection { tenant, collection, name } => {
            arguments.extend_from_slice(tenant.as_bytes());
            arguments.extend_from_slice(collection.as_bytes());
            arguments.extend_from_slice(name.as_bytes());
            kind::CREATE_COLLECTION
        }
        Action::Redact(change) => {
            arguments.extend_from_slice(&change.0.to_le_bytes());
            kind::REDACT
        }
        Action::SetRetention(tenant, retention) => {
            arguments.extend_from_slice(tenant.as_bytes());
            arguments.extend_from_slice(&retention.to_bytes());
            kind::SET_RETENTION
        }
        Action::BeginAt(tenant, Beginning { retention, first }) => {
            arguments.extend_from_slice(tenant.as_bytes());
            arguments.extend_from_slice(&retention.to_bytes());
            arguments.extend_from_slice(&first.0.to_le_bytes());
            kind::BEGIN_AT
        }
        Action::CreateToken(token) => {
            put_token(arguments, token);
            kind::CREATE_TOKEN
        }
        Action::RevokeToken(id) => {
            arguments.extend_from_slice(&id.0.to_le_bytes());
            kind::REVOKE_TOKEN
        }
        Action::SetAnonymous(rights, None) => {
            arguments.extend_from_slice(&Rights::to_bytes(*rights));
            kind::SET_ANONYMOUS
        }
        Action::SetAnonymous(rights, Some(by)) => {
            arguments.extend_from_slice(&by.number().to_le_bytes());
            arguments.extend_from_slice(&Rights::to_bytes(*rights));
            kind::GRANT_ANONYMOUS
        }
        Action::SetQuota(tenant, quota) => {
            arguments.extend_from_slice(tenant.as_bytes());
            arguments.extend_from_slice(&quota.to_bytes());
            kind::SET_QUOTA
        }
    };
    heads.extend_from_slice(&[kind, flags, 0, 0]);
    heads.extend_from_slice(&command.changes().to_le_bytes());
    heads.extend_from_slice(&((arguments.len() - before) as u32).to_le_bytes());
}

fn put_token(arguments: &mut Vec<u8>, token: &Token) {
    let creator = token.creator.number();
    let expires = token.expires.map_or(0, |expires| expires.0);
    for number in [token.id.0, creator, expires] {
        arguments.extend_from_slice(&number.to_le_bytes());
    }
    arguments.extend_from_slice(&Rights::to_bytes(Some(token.rights)));
    arguments.extend_from_slice(&token.hash.0);
    arguments.extend_from_slice(token.name.as_bytes());
}
