//! A checkpoint made of another: of another cluster, or without what was redacted.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::{
    format::{ChangeLine, Head, head},
    text::{End, Lines, Summing, content},
};
use crate::{
    base::{
        batch::redacted_change,
        ids::{ChangeId, ClusterId},
    },
    state::checkpointed::Line,
};

/// The bytes of a checkpoint as one of another cluster. What is in it stays as it is.
///
/// # Errors
/// When they are not those of a sound checkpoint.
pub fn given_to(bytes: &[u8], cluster: ClusterId) -> Result<Vec<u8>, String> {
    let content = content(bytes)?;
    let mut lines = Lines { bytes: content, at: 0 };
    let head: Head = lines.json()?;
    let mut out = Summing { out: Vec::with_capacity(bytes.len()), crc: 0, written: 0 };
    let mut write = || {
        out.json(&head.given_to(cluster))?;
        for line in content[lines.at..].split_inclusive(|&byte| byte == b'\n') {
            out.line(line.strip_suffix(b"\n").unwrap_or(line))?;
        }
        out.json(&End { crc32c: out.crc })
    };
    write().map_err(|error: io::Error| error.to_string())?;
    Ok(out.out)
}

/// Writes the checkpoint that these bytes are without the data and tags of the changes `ids`, and
/// gives back where the current changes of keys lie.
///
/// # Errors
/// What `out` reports, or that it is no sound checkpoint.
pub fn redact(out: impl Write, bytes: &[u8], ids: &BTreeSet<ChangeId>) -> io::Result<Vec<Line>> {
    let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let content = content(bytes).map_err(damaged)?;
    let head = head(bytes).map_err(damaged)?;
    let before = 1 + head.tenants + head.collections + head.tokens + head.requests;
    let mut out = Summing { out, crc: 0, written: 0 };
    let mut lines = Vec::new();
    for (n, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if n < before {
            out.line(line)?;
            continue;
        }
        let ChangeLine { _id, .. } = serde_json::from_slice(line)?;
        let id = ChangeId(_id);
        let redacted = if ids.contains(&id) { redacted_change(line) } else { None };
        let line = redacted.as_deref().unwrap_or(line);
        lines.push(Line::new(id, out.written, line).map_err(io::Error::other)?);
        out.line(line)?;
    }
    let end = serde_json::to_vec(&End { crc32c: out.crc })?;
    out.line(&end)?;
    out.out.flush()?;
    Ok(lines)
}
