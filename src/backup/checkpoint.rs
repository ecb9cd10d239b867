//! A checkpoint as it arrives, part by part, verified on its way.

use std::io::{self, Read};

use super::ends::{Part, Source};
use crate::checkpoint::{Head, format};

/// The last line of a checkpoint has at most so many bytes.
const END_BYTES_MAX: usize = 64;

/// Reads a checkpoint from a source.
pub(super) struct Incoming<'s, S: Source> {
    source: &'s mut S,
    index: u64,
    total: u64,
    part: bytes::Bytes,
    /// Bytes that were handed out.
    taken: u64,
    /// The last bytes handed out, which are not summed up yet.
    end: Vec<u8>,
    /// The checksum of all before.
    summed: u32,
    /// The checksum of everything.
    whole: u32,
    /// Why the source gave no more.
    pub(super) failure: Option<S::Error>,
    /// The source has another checkpoint by now.
    pub(super) is_gone: bool,
}

impl<'s, S: Source> Incoming<'s, S> {
    /// The checkpoint that `first` is the first part of, and what its first line says.
    pub(super) fn new(source: &'s mut S, first: Part) -> Result<(Self, Head), String> {
        let head = format::head(&first.bytes)?;
        if head.log_id().index != first.index {
            return Err("it is that of another entry".into());
        }
        let incoming = Self {
            source,
            index: first.index,
            total: first.total,
            part: first.bytes,
            taken: 0,
            end: Vec::new(),
            summed: 0,
            whole: 0,
            failure: None,
            is_gone: false,
        };
        Ok((incoming, head))
    }

    /// Its length.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The checksum of all its bytes, once they were handed out, if they are what was written.
    pub(super) fn checksum(&self) -> Result<u32, String> {
        #[derive(serde::Deserialize)]
        struct End {
            crc32c: u32,
        }
        let before = self.end.strip_suffix(b"\n").unwrap_or_default();
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let (content, line) = self.end.split_at(start);
        let end: End = serde_json::from_slice(line).map_err(|_| "its end is missing")?;
        match crc32c::crc32c_append(self.summed, content) == end.crc32c {
            true => Ok(self.whole),
            false => Err("it does not match its checksum".into()),
        }
    }

    /// Notes that these bytes are handed out.
    fn hand_out(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        self.whole = crc32c::crc32c_append(self.whole, bytes);
        self.end.extend_from_slice(bytes);
        let surely = self.end.len().saturating_sub(END_BYTES_MAX);
        self.summed =
            crc32c::crc32c_append(self.summed, self.end.get(..surely).unwrap_or_default());
        self.end.drain(..surely);
    }
}

impl<S: Source> Read for Incoming<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && self.taken < self.total {
            match self.source.checkpoint(Some(self.index), self.taken) {
                Ok(Some(part)) if part.total == self.total => self.part = part.bytes,
                Ok(_) => {
                    self.is_gone = true;
                    return Err(io::Error::other("the checkpoint is not held any more"));
                }
                Err(error) => {
                    let text = error.to_string();
                    self.failure = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        let count = out.len().min(self.part.len());
        let bytes = self.part.split_to(count);
        if let Some(out) = out.get_mut(..count) {
            out.copy_from_slice(&bytes);
        }
        self.hand_out(&bytes);
        Ok(count)
    }
}
