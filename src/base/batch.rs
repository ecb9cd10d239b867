//! The byte form of a batch of changes: the payload of one Raft entry, what a
//! segment holds on disk, and what a read copies from.
//!
//! All integers are little-endian; the layout is stable and versioned.
//!
//! ```text
//!  0  u8   version (1)
//!  1  u8   zero, 3 times
//!  4  u32  number of commands
//!  8  u32  number of changes
//! 12  u32  zero
//! 16  u64  timestamp of every change in it, microseconds since 1970 UTC
//! 24  commands: u8 kind, 3 zero bytes, u32 number of changes      8 bytes each
//!  .  changes: u32 end of its tail, u16 tags at, u16 tags length  8 bytes each
//!  .  tails, one after the other
//! ```
//!
//! A *tail* is a change as the API shows it without its head: a change reads
//! `{"_id":N,"_ts":T` followed by its tail, for example
//! `,"tags":["a"],"data":{"x":1}}`. `tags at` is where the text between the
//! brackets of `tags` starts, counted from the start of the tail, 0 when there
//! are no tags. Tags are stored in one canonical spelling
//! ([`write_json_string`]), so comparing bytes compares tags.
//!
//! Ids stand nowhere in it: they are given when the batch is applied.

use crate::base::ids::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

/// The version written by this build. Stable: it is on disk.
pub const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const COMMAND_BYTES: usize = 8;
const CHANGE_BYTES: usize = 8;

/// The kind of a command. Stable: it is on disk.
const KIND_APPEND: u8 = 1;

/// Where a change's tail ends and its tags lie; the tail starts where the one
/// before it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeSpan {
    /// End of the tail, from the start of the first tail.
    pub end: u32,
    /// Start of the text inside the brackets of `tags`, from the start of this
    /// tail; 0 without tags.
    pub tags_at: u16,
    /// Length of that text.
    pub tags_bytes: u16,
}

/// One accepted write request: changes that get consecutive ids, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// One for each change, in order. Invariant: not empty, ends ascend, the
    /// last equals `tails.len()`.
    pub spans: SmallVec<[ChangeSpan; 1]>,
    /// The tails of all changes, one after the other.
    pub tails: Bytes,
}

impl Append {
    /// Bytes this command adds to a batch.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        COMMAND_BYTES + CHANGE_BYTES * self.spans.len() + self.tails.len()
    }
}

/// Encodes `commands`, in order, as one batch stamped `at`.
///
/// # Panics
/// If the batch would exceed 4 GiB or has no command; callers bound both.
#[must_use]
pub fn encode(commands: &[Append], at: Timestamp) -> Bytes {
    assert!(!commands.is_empty(), "a batch has a command");
    let bytes = HEADER_BYTES + commands.iter().map(Append::encoded_bytes).sum::<usize>();
    assert!(u32::try_from(bytes).is_ok(), "a batch is smaller than 4 GiB");
    let changes: usize = commands.iter().map(|command| command.spans.len()).sum();

    let mut out = BytesMut::with_capacity(bytes);
    out.put_u8(VERSION);
    out.put_bytes(0, 3);
    out.put_u32_le(commands.len() as u32);
    out.put_u32_le(changes as u32);
    out.put_u32_le(0);
    out.put_u64_le(at.0);
    for command in commands {
        out.put_u8(KIND_APPEND);
        out.put_bytes(0, 3);
        out.put_u32_le(command.spans.len() as u32);
    }
    let mut base = 0;
    for command in commands {
        for span in &command.spans {
            out.put_u32_le(base + span.end);
            out.put_u16_le(span.tags_at);
            out.put_u16_le(span.tags_bytes);
        }
        base += command.tails.len() as u32;
    }
    for command in commands {
        out.extend_from_slice(&command.tails);
    }
    debug_assert_eq!(out.len(), bytes);
    out.freeze()
}

/// What is wrong with bytes that should be a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written by a later version of the program.
    #[error("batch version {0} is not known to this program (it knows {VERSION})")]
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
    at: Timestamp,
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
        if header[0] != VERSION {
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
        Self { commands: u32_at(&header, 4), changes: u32_at(&header, 8), at: Timestamp(at), bytes }
    }

    fn check(&self) -> Result<(), BatchError> {
        let raw = self.bytes.as_ref();
        let tables =
            self.commands as u64 * COMMAND_BYTES as u64 + self.changes as u64 * CHANGE_BYTES as u64;
        if (raw.len() as u64) < HEADER_BYTES as u64 + tables {
            return Err(BatchError::Damaged("shorter than its tables"));
        }
        let mut counted = 0u64;
        for n in 0..self.commands {
            let at = HEADER_BYTES + n as usize * COMMAND_BYTES;
            if raw[at] != KIND_APPEND {
                return Err(BatchError::Damaged("unknown kind of command"));
            }
            counted += u64::from(u32_at(raw, at + 4));
        }
        if counted != u64::from(self.changes) {
            return Err(BatchError::Damaged("commands and changes differ in number"));
        }
        let mut end = 0;
        for n in 0..self.changes {
            let span = self.span(n);
            let tail_bytes = span.end.checked_sub(end);
            let tags_end = u32::from(span.tags_at) + u32::from(span.tags_bytes);
            if tail_bytes.is_none_or(|bytes| tags_end > bytes) {
                return Err(BatchError::Damaged("a change ends before it starts"));
            }
            end = span.end;
        }
        if raw.len() != self.tails_at() + end as usize {
            return Err(BatchError::Damaged("tails and their table differ in length"));
        }
        Ok(())
    }

    /// The timestamp of every change in the batch.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How many changes it holds.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The tail of the `n`-th change and the text inside its `tags`.
    ///
    /// # Panics
    /// If `n` is not below [`changes`](Self::changes).
    #[must_use]
    pub fn change(&self, n: u32) -> (&[u8], &[u8]) {
        assert!(n < self.changes, "change {n} of {}", self.changes);
        let span = self.span(n);
        let start = if n == 0 { 0 } else { self.span(n - 1).end } as usize;
        let tails = &self.bytes.as_ref()[self.tails_at()..];
        let tail = &tails[start..span.end as usize];
        let tags = &tail[span.tags_at as usize..][..span.tags_bytes as usize];
        (tail, tags)
    }

    fn span(&self, n: u32) -> ChangeSpan {
        let raw = self.bytes.as_ref();
        let at = HEADER_BYTES + self.commands as usize * COMMAND_BYTES + n as usize * CHANGE_BYTES;
        let tags = u32_at(raw, at + 4);
        ChangeSpan { end: u32_at(raw, at), tags_at: tags as u16, tags_bytes: (tags >> 16) as u16 }
    }

    fn tails_at(&self) -> usize {
        HEADER_BYTES + self.commands as usize * COMMAND_BYTES + self.changes as usize * CHANGE_BYTES
    }
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

/// Appends `text` as a JSON string in the one spelling that stored text uses:
/// `"` and `\` escaped, control characters as `\b \t \n \f \r` or `\u00xx`,
/// all else as it is.
pub fn write_json_string(out: &mut impl BufMut, text: &str) {
    out.put_u8(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.put_slice(&bytes[plain..at]);
        plain = at + 1;
        out.put_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.put_slice(b"00");
            out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.put_slice(&bytes[plain..]);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(tails: &[(&str, u16, u16)]) -> Append {
        let mut spans = SmallVec::new();
        let mut text = String::new();
        for &(tail, tags_at, tags_bytes) in tails {
            text.push_str(tail);
            spans.push(ChangeSpan { end: text.len() as u32, tags_at, tags_bytes });
        }
        Append { spans, tails: text.into() }
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let one = append(&[(r#","data":1}"#, 0, 0)]);
        let two = append(&[(r#","tags":["a"],"data":2}"#, 9, 3), (r#","data":3}"#, 0, 0)]);
        let batch = Batch::parse(encode(&[one, two], Timestamp(u64::MAX - 5))).unwrap();
        assert_eq!(batch.at(), Timestamp(u64::MAX - 5));
        assert_eq!((batch.commands, batch.changes()), (2, 3));
        assert_eq!(batch.change(0), (&br#","data":1}"#[..], &b""[..]));
        assert_eq!(batch.change(1), (&br#","tags":["a"],"data":2}"#[..], &br#""a""#[..]));
        assert_eq!(batch.change(2), (&br#","data":3}"#[..], &b""[..]));
        let again = Batch::parsed_before(batch.bytes().clone()).unwrap();
        assert_eq!((again.at(), again.changes()), (batch.at(), 3));
        assert!((0..3).all(|n| again.change(n) == batch.change(n)));
        assert!(Batch::parsed_before(&[1; HEADER_BYTES - 1]).is_none());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let good = encode(&[append(&[(r#","tags":["a"],"data":2}"#, 9, 3)])], Timestamp(7));
        for cut in 0..good.len() {
            assert!(Batch::parse(good.slice(..cut)).is_err(), "cut at {cut}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(batch) = Batch::parse(bad) {
                (0..batch.changes()).for_each(|n| assert!(batch.change(n).0.len() < good.len()));
            }
        }
        let mut later = good.to_vec();
        later[0] = 2;
        assert_eq!(Batch::parse(later).unwrap_err(), BatchError::Version(2));
    }

    #[test]
    fn a_string_is_written_in_its_one_spelling() {
        let mut out = Vec::new();
        write_json_string(&mut out, "a\"\\\u{8}\t\n\u{c}\r\u{1}\u{1f}é\u{7f}/");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001fé\u{7f}/\""
        );
    }
}
