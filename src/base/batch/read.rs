//! A batch read where it lies.

use std::ops::Range;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    change_ref::{ChangeRef, fits},
    command::{Action, Append, ChangeSpan, Command, Conditions, Idempotency, flag},
    encode::encode,
    layout::{
        CHANGE_BYTES, COMMAND_BYTES, ERASED, HEADER_BYTES, PLAIN, VERSION, command_flag, kind,
    },
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    retention::{Beginning, TenantRetention},
};

/// Sizes of version 1.
const COMMAND_BYTES_1: usize = 8;
const CHANGE_BYTES_1: usize = 8;

/// What is wrong with bytes that should be a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written by a later version of the program.
    #[error("batch version {0} is not known to this program (it knows up to {VERSION})")]
    Version(u8),
    /// The tables do not fit the bytes.
    #[error("batch is damaged: {0}")]
    Damaged(&'static str),
}

/// A batch in its byte form, checked once, then read without further checks.
#[derive(Clone, Debug)]
pub struct Batch<B = Bytes> {
    bytes: B,
    commands: u32,
    changes: u32,
    argument_bytes: u32,
    at: Timestamp,
    version: u8,
    plain: bool,
}

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
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// Reads the header and checks that the tables fit: `O(commands + changes)`.
    ///
    /// # Errors
    /// [`BatchError`] for another version or tables that do not add up.
    pub fn parse(bytes: B) -> Result<Self, BatchError> {
        let raw = bytes.as_ref();
        let Some(header) = raw.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Damaged("shorter than its header"));
        };
        if !(1..=VERSION).contains(&header[0]) {
            return Err(BatchError::Version(header[0]));
        }
        let batch = Self::with_header(*header, bytes);
        batch.check()?;
        Ok(batch)
    }

    /// Reads the header of bytes that [`parse`](Self::parse) has accepted
    /// before, and that have not changed since: that is for the caller to see
    /// to. Of other bytes, changes read may be wrong or panic.
    pub(crate) fn parsed_before(bytes: B) -> Option<Self> {
        let header = *bytes.as_ref().first_chunk()?;
        Some(Self::with_header(header, bytes))
    }

    fn with_header(header: [u8; HEADER_BYTES], bytes: B) -> Self {
        let at = u64::from(u32_at(&header, 16)) | u64::from(u32_at(&header, 20)) << 32;
        let version = header[0];
        Self {
            commands: u32_at(&header, 4),
            changes: u32_at(&header, 8),
            argument_bytes: u32_at(&header, 12),
            at: Timestamp(at),
            version,
            // Version 1 does not say so.
            plain: version > 1 && header[1] & PLAIN != 0,
            bytes,
        }
    }

    fn command_bytes(&self) -> usize {
        if self.version == 1 { COMMAND_BYTES_1 } else { COMMAND_BYTES }
    }

    fn change_bytes(&self) -> usize {
        if self.version == 1 { CHANGE_BYTES_1 } else { CHANGE_BYTES }
    }

    fn check(&self) -> Result<(), BatchError> {
        let raw = self.bytes.as_ref();
        let tables = self.commands as u64 * self.command_bytes() as u64
            + self.changes as u64 * self.change_bytes() as u64
            + u64::from(self.argument_bytes);
        if (raw.len() as u64) < HEADER_BYTES as u64 + tables {
            return Err(BatchError::Damaged("shorter than its tables"));
        }
        let (mut changes, mut arguments) = (0u64, 0u64);
        for n in 0..self.commands {
            let at = HEADER_BYTES + n as usize * self.command_bytes();
            changes += u64::from(u32_at(raw, at + 4));
            if self.version > 1 {
                arguments += u64::from(u32_at(raw, at + 8));
            }
        }
        if changes != u64::from(self.changes) {
            return Err(BatchError::Damaged("commands and changes differ in number"));
        }
        if arguments != u64::from(self.argument_bytes) {
            return Err(BatchError::Damaged("commands and their arguments differ in length"));
        }
        if self.read_commands().any(|command| command.is_none()) {
            return Err(BatchError::Damaged("a command cannot be read"));
        }
        let (mut end, mut ttls) = (0, false);
        for n in 0..self.changes {
            let span = self.span(n);
            ttls |= span.flags & flag::TTL != 0;
            let Some(suffix_bytes) = span.end.checked_sub(end) else {
                return Err(BatchError::Damaged("a change ends before it starts"));
            };
            if !fits(span, suffix_bytes) || span.flags & !self.flags_known() != 0 {
                return Err(BatchError::Damaged("a change is shorter than its members"));
            }
            end = span.end;
        }
        if raw.len() != self.suffixes_at() + end as usize {
            return Err(BatchError::Damaged("suffixes and their table differ in length"));
        }
        if ttls && (0..self.changes).any(|n| self.change(n).lacks_ttl()) {
            return Err(BatchError::Damaged("a time to live cannot be read"));
        }
        Ok(())
    }

    fn flags_known(&self) -> u16 {
        if self.version < 4 { flag::BEFORE_4 } else { flag::ALL }
    }

    /// The timestamp of every change in the batch.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How many changes it holds, accepted or not.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Whether its changes are shown with the versions of keys that they replace, on every node.
    #[must_use]
    pub fn tells_previous(&self) -> bool {
        self.version >= 5
    }

    /// Whether it only appends changes that bear no tenant, collection, key or
    /// tag, without conditions or idempotency keys.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether a command of it that is refused because a tenant or collection is
    /// not there is remembered under its idempotency key. That is decided by who
    /// wrote the batch, so that a log read anew gives what it gave at first.
    #[must_use]
    pub fn remembers_missing(&self) -> bool {
        self.version < 3
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Its commands, in order.
    pub fn commands(&self) -> impl Iterator<Item = CommandRef<'_>> {
        // What cannot be read was refused by `check`.
        self.read_commands().map_while(|command| command)
    }

    fn read_commands(&self) -> impl Iterator<Item = Option<CommandRef<'_>>> {
        let raw = self.bytes.as_ref();
        let mut arguments = &raw[self.arguments_at()..self.suffixes_at()];
        (0..self.commands).map(move |n| {
            let head = &raw[HEADER_BYTES + n as usize * self.command_bytes()..];
            let bytes = if self.version == 1 { 0 } else { u32_at(head, 8) as usize };
            let (own, rest) = arguments.split_at_checked(bytes)?;
            arguments = rest;
            let flags = if self.version == 1 { 0 } else { head[1] };
            command(head[0], flags, u32_at(head, 4), own)
        })
    }

    /// The `n`-th change.
    ///
    /// # Panics
    /// If `n` is not below [`changes`](Self::changes).
    #[must_use]
    pub fn change(&self, n: u32) -> ChangeRef<'_> {
        assert!(n < self.changes, "change {n} of {}", self.changes);
        let span = self.span(n);
        let suffix = &self.bytes.as_ref()[self.suffix_range(n)];
        let tags = &suffix[span.tags_at as usize..][..span.tags_bytes as usize];
        let change = ChangeRef::new(suffix, tags, span.flags, span.key_bytes);
        change.shown(suffix.last() == Some(&ERASED))
    }

    /// Where the suffix of the `n`-th change lies.
    pub(super) fn suffix_range(&self, n: u32) -> Range<usize> {
        let start = if n == 0 { 0 } else { self.span(n - 1).end } as usize;
        let suffixes = self.suffixes_at();
        suffixes + start..suffixes + self.span(n).end as usize
    }

    /// Where the `n`-th change stands in the table.
    pub(super) fn span_at(&self, n: u32) -> usize {
        self.changes_at() + n as usize * self.change_bytes()
    }

    fn span(&self, n: u32) -> ChangeSpan {
        let raw = self.bytes.as_ref();
        let at = self.span_at(n);
        let tags = u32_at(raw, at + 4);
        let more = if self.version == 1 { 0 } else { u32_at(raw, at + 8) };
        ChangeSpan {
            end: u32_at(raw, at),
            tags_at: tags as u16,
            tags_bytes: (tags >> 16) as u16,
            key_bytes: more as u16,
            flags: (more >> 16) as u16,
        }
    }

    fn changes_at(&self) -> usize {
        HEADER_BYTES + self.commands as usize * self.command_bytes()
    }

    fn arguments_at(&self) -> usize {
        self.changes_at() + self.changes as usize * self.change_bytes()
    }

    fn suffixes_at(&self) -> usize {
        self.arguments_at() + self.argument_bytes as usize
    }
}

impl Batch {
    /// The batch of `commands`, in order, stamped `at`. It is what was encoded, so
    /// it is not checked.
    ///
    /// # Panics
    /// As [`encode`].
    #[must_use]
    pub fn of<'c>(commands: impl IntoIterator<Item = &'c Command> + Clone, at: Timestamp) -> Self {
        let bytes = encode(commands, at);
        debug_assert!(Self::parse(bytes.clone()).is_ok(), "what was encoded can be read");
        Self::parsed_before(bytes).expect("a batch has a header")
    }

    /// Its commands as they were before they were put into it: suffixes are shared
    /// with it.
    #[must_use]
    pub fn to_commands(&self) -> Vec<Command> {
        let mut next = 0;
        let mut commands = Vec::with_capacity(self.commands as usize);
        for CommandRef { changes, idempotency, action } in self.commands() {
            let action = match action {
                ActionRef::Append(conditions) => {
                    let append = self.append(next, changes, conditions);
                    next += changes;
                    Action::Append(append)
                }
                ActionRef::CreateTenant(tenant, name) => {
                    Action::CreateTenant { tenant, name: name.into() }
                }
                ActionRef::CreateCollection(tenant, collection, name) => {
                    Action::CreateCollection { tenant, collection, name: name.into() }
                }
                ActionRef::Redact(change) => Action::Redact(change),
                ActionRef::SetRetention(tenant, retention) => {
                    Action::SetRetention(tenant, retention)
                }
                ActionRef::BeginAt(tenant, beginning) => Action::BeginAt(tenant, beginning),
            };
            commands.push(Command { action, idempotency });
        }
        commands
    }

    /// `count` changes from the `first` on.
    fn append(&self, first: u32, count: u32, conditions: Conditions) -> Append {
        let base = if first == 0 { 0 } else { self.span(first - 1).end };
        let mut end = base;
        let spans = (first..first + count).map(|n| {
            let span = self.span(n);
            end = span.end;
            ChangeSpan { end: span.end - base, ..span }
        });
        let spans = spans.collect();
        let suffixes_at = self.suffixes_at();
        let suffixes = self.bytes.slice(suffixes_at + base as usize..suffixes_at + end as usize);
        Append { spans, suffixes, conditions }
    }
}

fn command(kind: u8, flags: u8, changes: u32, mut arguments: &[u8]) -> Option<CommandRef<'_>> {
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
        _ => return None,
    };
    let creates = !matches!(action, ActionRef::Append(_));
    (!creates || changes == 0).then_some(CommandRef { changes, idempotency, action })
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}
