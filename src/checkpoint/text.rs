//! The lines of a checkpoint and their checksum, whatever they say.

use std::io::{self, Write};

use serde::{Deserialize, Serialize, de::IgnoredAny};

/// The last line is no longer than that.
const END_BYTES_MAX: usize = 64;
const NO_END: &str = "its end is missing";

#[derive(Serialize, Deserialize)]
pub(super) struct End {
    pub(super) crc32c: u32,
}

/// Counts and sums up what goes through.
pub(super) struct Summing<W> {
    pub(super) out: W,
    pub(super) crc: u32,
    pub(super) written: u64,
}

impl<W: Write> Summing<W> {
    pub(super) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in [bytes, b"\n"] {
            self.crc = crc32c::crc32c_append(self.crc, part);
            self.written += part.len() as u64;
            self.out.write_all(part)?;
        }
        Ok(())
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.line(&text)
    }
}

/// What comes before the last line, checked against that.
///
/// # Errors
/// What is wrong, and at which byte. One checksum is of all, so where no line is torn that is the first one.
pub(super) fn content(bytes: &[u8]) -> Result<&[u8], String> {
    let (before, end) =
        split_end(bytes).map_err(|why| format!("{why}, at byte {}", bytes.len()))?;
    check_sum(crc32c::crc32c(before), end)
        .map_err(|why| format!("{why}, at byte {}", first_torn(before).unwrap_or(0)))?;
    Ok(before)
}

/// Where the first line begins that is not JSON.
fn first_torn(bytes: &[u8]) -> Option<usize> {
    let mut lines = Lines { bytes, at: 0 };
    while lines.at < bytes.len() {
        let (at, line) = (lines.at, lines.next());
        if !line.is_ok_and(|(_, line)| serde_json::from_slice::<IgnoredAny>(line).is_ok()) {
            return Some(at);
        }
    }
    None
}

/// What comes before the last line, and that.
fn split_end(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let content = bytes.strip_suffix(b"\n").ok_or(NO_END)?;
    let start = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Ok(bytes.split_at(start))
}

fn check_sum(found: u32, end: &[u8]) -> Result<(), &'static str> {
    let end: End = serde_json::from_slice(end).map_err(|_| NO_END)?;
    if found == end.crc32c { Ok(()) } else { Err("it does not match its checksum") }
}

/// The checksum of a checkpoint that is read in pieces.
#[derive(Debug, Default)]
pub(super) struct Sum {
    crc: u32,
    /// The newest bytes: the last line may be among them.
    held: Vec<u8>,
}

impl Sum {
    /// The same once `piece` is read, too.
    pub(super) fn with(mut self, piece: &[u8]) -> Self {
        self.held.extend_from_slice(piece);
        let done = self.held.len().saturating_sub(END_BYTES_MAX);
        self.crc = crc32c::crc32c_append(self.crc, &self.held[..done]);
        self.held.drain(..done);
        self
    }

    /// Whether all that was read is a checkpoint as it was written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        let (before, end) = split_end(&self.held)?;
        check_sum(crc32c::crc32c_append(self.crc, before), end)
    }
}

pub(super) struct Lines<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
}

impl<'b> Lines<'b> {
    pub(super) fn next(&mut self) -> Result<(usize, &'b [u8]), String> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| format!("it ends early, at byte {start}"))?;
        self.at = start + length + 1;
        Ok((start, &rest[..length]))
    }

    pub(super) fn json<T: Deserialize<'b>>(&mut self) -> Result<T, String> {
        let (at, line) = self.next()?;
        serde_json::from_slice(line).map_err(|error| format!("{error}, at byte {at}"))
    }
}
