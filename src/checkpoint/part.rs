//! A checkpoint as a copy of some tenants begins with it: without all others.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    format::{Head, head},
    text::{End, Lines, Summing, content},
};
use crate::base::{batch::suffix_parts, planted::planted, tenants::Tenants, tokens::Rights};

#[derive(Deserialize)]
struct OfTenant {
    tenant: Uuid,
}

#[derive(Deserialize)]
struct OfCollection {
    collection: Uuid,
    tenant: Uuid,
}

#[derive(Deserialize)]
struct OfToken {
    rights: Rights,
}

/// How many lines of each kind there are.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    tenants: usize,
    collections: usize,
    tokens: usize,
    keys: usize,
}

/// Writes what the checkpoint `bytes` has of `tenants`, as a checkpoint of the same entry. Idempotency
/// keys are not in it: whoever reads it takes no writes. In the place of what Raft keeps stands what `raft` makes of it.
///
/// # Errors
/// What is wrong with the checkpoint, or what `raft` and `out` report.
pub fn write_part(
    bytes: &[u8],
    tenants: &Tenants,
    raft: impl FnOnce(&RawValue) -> io::Result<Box<RawValue>>,
    out: impl Write,
) -> io::Result<()> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let whole = head(bytes).map_err(wrong)?;
    content(bytes).map_err(wrong)?;
    let counts = each(bytes, &whole, tenants, |_| Ok(()))?;
    let mut out = Summing { out, crc: 0, written: 0 };
    let Counts { tenants: own, collections, tokens, keys } = counts;
    let raft = raft(&whole.raft)?;
    out.json(&whole.of_tenants(tenants, raft, own, collections, tokens, keys))?;
    each(bytes, &whole, tenants, |line| out.line(line))?;
    let end = serde_json::to_vec(&End { crc32c: out.crc })?;
    out.line(&end)?;
    out.out.flush()
}

/// Hands each line behind the head that is of `tenants` to `take`.
fn each(
    bytes: &[u8],
    whole: &Head,
    tenants: &Tenants,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Counts> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut lines = Lines { bytes, at: 0 };
    let mut next = || lines.next().map_err(wrong);
    let (mut counts, mut collections) = (Counts::default(), HashSet::new());
    next()?;
    for _ in 0..whole.tenants {
        let (_, line) = next()?;
        let own: OfTenant = serde_json::from_slice(line)?;
        if tenants.has(own.tenant) {
            counts.tenants += 1;
            take(line)?;
        }
    }
    for _ in 0..whole.collections {
        let (_, line) = next()?;
        let own: OfCollection = serde_json::from_slice(line)?;
        if tenants.has(own.tenant) {
            collections.insert(own.collection);
            counts.collections += 1;
            take(line)?;
        }
    }
    for _ in 0..whole.tokens {
        let (_, line) = next()?;
        let own: OfToken = serde_json::from_slice(line)?;
        if own.rights.scope.tenant().is_some_and(|tenant| tenants.has(tenant)) {
            counts.tokens += 1;
            take(line)?;
        }
    }
    for _ in 0..whole.requests {
        next()?;
    }
    for _ in 0..whole.keys {
        let (at, line) = next()?;
        let parts = suffix_parts(line);
        let parts = parts.ok_or_else(|| wrong(format!("no change at byte {at}")))?;
        if collections.contains(&parts.collection) && !planted!(ForgetKeysInPart) {
            counts.keys += 1;
            take(line)?;
        }
    }
    Ok(counts)
}
