//! A batch read where it lies.

use std::ops::Range;

use bytes::Bytes;

use super::{
    change_ref::ChangeRef,
    command::{Action, Append, ChangeSpan, Command, Conditions},
    command_ref::{ActionRef, CommandRef, command},
    encode::encode,
    layout::{
        CHANGE_BYTES, COMMAND_BYTES, ERASED, GAP_BYTES, HEADER_BYTES, NEWEST_VERSION,
        PART_HEADER_BYTES, PLAIN, REPLACED_BYTES, VERSION, is_part,
    },
};
use crate::base::ids::Timestamp;

/// Sizes of version 1.
const COMMAND_BYTES_1: usize = 8;
const CHANGE_BYTES_1: usize = 8;

/// What is wrong with bytes that should be a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written by a later version of the program.
    #[error("batch version {0} is not known to this program (it knows up to {NEWEST_VERSION})")]
    Version(u8),
    /// The tables do not fit the bytes.
    #[error("batch is damaged: {0}")]
    Damaged(&'static str),
}

/// A batch in its byte form, checked once, then read without further checks.
#[derive(Clone, Debug)]
pub struct Batch<B = Bytes> {
    pub(super) bytes: B,
    pub(super) commands: u32,
    pub(super) changes: u32,
    pub(super) argument_bytes: u32,
    at: Timestamp,
    pub(super) version: u8,
    pub(super) plain: bool,
    /// How many gaps a part has.
    pub(super) gaps: u32,
    /// How many of the changes of a part replaced something.
    pub(super) replaced: u32,
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
        if !(1..=NEWEST_VERSION).contains(&header[0]) {
            return Err(BatchError::Version(header[0]));
        }
        if is_part(header[0]) && raw.len() < PART_HEADER_BYTES {
            return Err(BatchError::Damaged("shorter than its header"));
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
        let (gaps, replaced) = match bytes.as_ref().get(HEADER_BYTES..PART_HEADER_BYTES) {
            Some(rest) if is_part(version) => (u32_at(rest, 0), u32_at(rest, 4)),
            _ => (0, 0),
        };
        Self {
            commands: u32_at(&header, 4),
            changes: u32_at(&header, 8),
            argument_bytes: u32_at(&header, 12),
            at: Timestamp(at),
            version,
            // Version 1 does not say so.
            plain: version > 1 && header[1] & PLAIN != 0,
            gaps,
            replaced,
            bytes,
        }
    }

    pub(super) fn command_bytes(&self) -> usize {
        if self.version == 1 { COMMAND_BYTES_1 } else { COMMAND_BYTES }
    }

    pub(super) fn change_bytes(&self) -> usize {
        if self.version == 1 { CHANGE_BYTES_1 } else { CHANGE_BYTES }
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

    /// Whether its changes are shown with the versions of keys that they replace, on every node, as it
    /// is found out when they are applied.
    #[must_use]
    pub fn tells_previous(&self) -> bool {
        self.version >= VERSION && !self.is_part()
    }

    /// Whether it is a part of a batch: it has changes of some tenants alone, all of them accepted.
    #[must_use]
    pub fn is_part(&self) -> bool {
        is_part(self.version)
    }

    /// Whether a command may be in it that needs that version.
    pub(super) fn knows(&self, version: u8) -> bool {
        version <= self.version.max(VERSION)
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

    pub(super) fn read_commands(&self) -> impl Iterator<Item = Option<CommandRef<'_>>> {
        let raw = self.bytes.as_ref();
        let mut arguments = &raw[self.arguments_at()..self.suffixes_at()];
        (0..self.commands).map(move |n| {
            let head = &raw[self.commands_at() + n as usize * self.command_bytes()..];
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

    /// What is stored of the `n`-th change.
    pub(super) fn suffix(&self, n: u32) -> &[u8] {
        &self.bytes.as_ref()[self.suffix_range(n)]
    }

    pub(super) fn span(&self, n: u32) -> ChangeSpan {
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

    pub(super) fn header_bytes(&self) -> usize {
        if self.is_part() { PART_HEADER_BYTES } else { HEADER_BYTES }
    }

    /// Bytes of what only a part has.
    pub(super) fn part_bytes(&self) -> u64 {
        u64::from(self.gaps) * GAP_BYTES as u64 + u64::from(self.replaced) * REPLACED_BYTES as u64
    }

    pub(super) fn commands_at(&self) -> usize {
        self.header_bytes() + self.part_bytes() as usize
    }

    fn changes_at(&self) -> usize {
        self.commands_at() + self.commands as usize * self.command_bytes()
    }

    fn arguments_at(&self) -> usize {
        self.changes_at() + self.changes as usize * self.change_bytes()
    }

    pub(super) fn suffixes_at(&self) -> usize {
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
            let action = action.to_action().unwrap_or_else(|| {
                let ActionRef::Append(conditions) = action else { unreachable!("it appends") };
                let append = self.append(next, changes, conditions);
                next += changes;
                Action::Append(append)
            });
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

pub(super) fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}
