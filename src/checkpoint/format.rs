//! The state at a position of the log, as a file: what a node needs of history
//! that is purged.
//!
//! Lines of JSON, in this order, each ended by `\n`:
//!
//! ```text
//! {"changeagent-checkpoint":5,"cluster":uuid,"term":…,"index":…,"raft":…,"last":…,"last_at":…,
//!  "tenants":…,"collections":…,"tokens":…,"requests":…,"keys":…}   the head, with counts, and `anonymous`, if set
//! {"tenant":uuid,"name":…}                                  and `retention`, `quota`, `first`, if set
//! {"collection":uuid,"name":…,"tenant":uuid}
//! {"id":hex,"name":…,"rights":{…},"hash":hex,"creator":hex,"created":…,"expires":…}   a token
//! {"key":hex,"request":hex,"at":…,"result":{"Ok":…}}        oldest first
//! {"_id":…,"_ts":…,…}               the current change of each key, as it is sent
//! {"crc32c":…}                      of all bytes before this line
//! ```
//!
//! The file is written whole, under another name, synced and renamed. It is
//! stable: the number of the format is in its first line.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{End, Lines, Summing, content};
use crate::{
    base::{
        batch::{SuffixParts, suffix_parts},
        ids::{ChangeId, ClusterId, LogId, Timestamp},
        planted::planted,
        quota::TenantQuota,
        retention::TenantRetention,
        tenants::Tenants,
        tokens::{Rights, Token},
    },
    state::{
        Position, State,
        checkpointed::Line,
        index::{Catalog, Known, Slice},
    },
};

/// The format written. Those from 1 on are read: in the first one no key expires, and up to the
/// second one no change says what it replaced. Up to the third there are no tokens, up to the fourth no quotas.
const FORMAT: u32 = 5;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "changeagent-checkpoint")]
    format: u32,
    /// The cluster whose history it is of.
    pub cluster: Uuid,
    term: u64,
    index: u64,
    /// What the Raft layer keeps here: the membership.
    pub raft: Box<serde_json::value::RawValue>,
    last: u64,
    last_at: u64,
    pub(super) tenants: usize,
    pub(super) collections: usize,
    #[serde(default)]
    pub(super) tokens: usize,
    /// What requests without a token may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anonymous: Option<Rights>,
    pub(super) requests: usize,
    pub(super) keys: usize,
}

impl Head {
    /// The same of another cluster.
    pub(super) fn given_to(&self, cluster: ClusterId) -> Self {
        Self { cluster: cluster.0, ..self.clone() }
    }

    /// The same of these tenants alone, with so many lines of each kind, no idempotency keys, and `raft` in the place
    /// of what Raft keeps.
    pub(super) fn of_tenants(
        &self,
        of: &Tenants,
        raft: Box<serde_json::value::RawValue>,
        tenants: usize,
        collections: usize,
        tokens: usize,
        keys: usize,
    ) -> Self {
        let anonymous = self.anonymous.filter(|rights| rights.scope.concerns(of));
        let requests = 0;
        Self { raft, tenants, collections, tokens, anonymous, requests, keys, ..self.clone() }
    }

    /// The last entry that is in it.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        LogId { term: self.term, index: self.index }
    }

    /// How far the list goes in it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { last: ChangeId(self.last), last_at: Timestamp(self.last_at) }
    }
}

#[derive(Serialize, Deserialize)]
struct TenantLine<'l> {
    tenant: Uuid,
    #[serde(borrow)]
    name: std::borrow::Cow<'l, str>,
    #[serde(default, skip_serializing_if = "TenantRetention::keeps_all")]
    retention: TenantRetention,
    #[serde(default, skip_serializing_if = "TenantQuota::is_unlimited")]
    quota: TenantQuota,
    /// The lowest change that its lists may have, if any was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct CollectionLine<'l> {
    collection: Uuid,
    #[serde(borrow)]
    name: std::borrow::Cow<'l, str>,
    tenant: Uuid,
}

#[derive(Deserialize)]
pub(super) struct ChangeLine {
    pub(super) _id: u64,
    _ts: u64,
}

/// Writes the lines of all tenants.
fn write_tenants(out: &mut Summing<impl Write>, catalog: &Catalog) -> io::Result<()> {
    let mut after = None;
    loop {
        let Slice { entries, next } = catalog.tenants_after(after.as_deref(), usize::MAX);
        for tenant in &entries {
            let begins = Some(tenant.begins()).filter(|first| *first > ChangeId::ZERO);
            out.json(&TenantLine {
                tenant: tenant.id,
                name: (*tenant.name).into(),
                retention: tenant.retention(),
                quota: tenant.quota(),
                first: begins.map(|first| first.0).filter(|_| !planted!(ForgetBeginning)),
            })?;
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// Writes `state`, which is that of `cluster` after the entry `log_id`, to `out`. `change`
/// gives a change as it is sent; it is asked for the current one of each key, and
/// where these lie is given back.
///
/// # Errors
/// What `out` and `change` report.
pub fn write(
    out: impl Write,
    state: &State,
    cluster: ClusterId,
    log_id: LogId,
    raft: Box<serde_json::value::RawValue>,
    mut change: impl FnMut(ChangeId) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<Line>> {
    let catalog = &state.index().catalog;
    let (tenants, collections) = catalog.counts();
    let ids = catalog.collection_ids();
    let keys = ids.iter().filter_map(|id| catalog.collection(*id)).map(|c| c.keys()).sum();
    let Position { last, last_at } = state.position();
    let requests = state.index().idempotency();
    let tokens = state.index().tokens.all();
    let mut out = Summing { out, crc: 0, written: 0 };
    out.json(&Head {
        format: FORMAT,
        cluster: cluster.0,
        term: log_id.term,
        index: log_id.index,
        raft,
        last: last.0,
        last_at: last_at.0,
        tenants,
        collections,
        tokens: if planted!(ForgetTokensInCheckpoint) { 0 } else { tokens.len() },
        anonymous: state.index().tokens.anonymous(),
        requests: if planted!(ForgetIdempotencyInCheckpoint) { 0 } else { requests.len() },
        keys,
    })?;
    write_tenants(&mut out, catalog)?;
    for collection in ids.iter().filter_map(|id| catalog.collection(*id)) {
        let (id, tenant, name) = (collection.id, collection.tenant, &*collection.name);
        out.json(&CollectionLine { collection: id, name: name.into(), tenant })?;
    }
    for token in tokens.iter().filter(|_| !planted!(ForgetTokensInCheckpoint)) {
        out.json(&**token)?;
    }
    for known in requests.iter().filter(|_| !planted!(ForgetIdempotencyInCheckpoint)) {
        out.json(&known)?;
    }
    let mut lines = Vec::with_capacity(keys);
    for collection in ids.iter().filter_map(|id| catalog.collection(*id)) {
        let mut after = None;
        loop {
            let Slice { entries, next } = collection.keys_after(after.as_deref(), "", usize::MAX);
            for id in entries {
                let change = change(id)?;
                lines.push(Line::new(id, out.written, &change).map_err(io::Error::other)?);
                out.line(&change)?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    // The state does not change meanwhile, so the head's counts hold.
    assert_eq!(lines.len(), keys, "the head counts the keys that follow");
    let end = serde_json::to_vec(&End { crc32c: out.crc })?;
    out.line(&end)?;
    out.out.flush()?;
    Ok(lines)
}

/// The first line of a checkpoint, of which this is the beginning.
///
/// # Errors
/// When it is of another format, or none.
pub fn head(bytes: &[u8]) -> Result<Head, String> {
    let head: Head = Lines { bytes, at: 0 }.json()?;
    if !(1..=FORMAT).contains(&head.format) {
        return Err(format!(
            "checkpoint format {} is not known to this program, at byte 0",
            head.format
        ));
    }
    Ok(head)
}

/// What a checkpoint holds.
pub struct Checkpoint {
    /// Its first line.
    pub head: Head,
    /// The state.
    pub state: State,
    /// Where the current changes of keys lie in it.
    pub lines: Vec<Line>,
}

/// Reads a whole checkpoint.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(bytes: &[u8]) -> Result<Checkpoint, String> {
    let head = head(bytes)?;
    let mut lines = Lines { bytes, at: 0 };
    lines.next()?;
    content(bytes)?;
    let state = State::at(head.position());
    let index = state.index();
    for _ in 0..head.tenants {
        let line: TenantLine<'_> = lines.json()?;
        index.catalog.add_tenant(line.tenant, &line.name);
        let begins = ChangeId(line.first.unwrap_or_default());
        index.catalog.restore_retention(line.tenant, line.retention, begins);
        index.catalog.set_quota(line.tenant, line.quota);
    }
    for _ in 0..head.collections {
        let at = lines.at;
        let line: CollectionLine<'_> = lines.json()?;
        let tenant = index.catalog.tenant(line.tenant);
        let tenant = tenant.ok_or_else(|| format!("a collection without tenant, at byte {at}"))?;
        index.catalog.add_collection(line.collection, &tenant, &line.name);
    }
    for _ in 0..head.tokens {
        let at = lines.at;
        let token: Token = lines.json()?;
        if index.tokens.get(token.id).is_some() {
            return Err(format!("a second token of the same id, at byte {at}"));
        }
        index.tokens.add(token);
    }
    index.tokens.set_anonymous(head.anonymous);
    for _ in 0..head.requests {
        let known: Known = lines.json()?;
        index.restore_request(&known);
    }
    // Each takes more than a byte, whatever the head says.
    let mut found = Vec::with_capacity(head.keys.min(bytes.len()));
    let mut expiring = Vec::new();
    for _ in 0..head.keys {
        let (offset, line) = lines.next()?;
        let wrong = || format!("a change that cannot be read, at byte {offset}");
        let ChangeLine { _id, _ts } = serde_json::from_slice(line).map_err(|_| wrong())?;
        let SuffixParts { collection, key, ttl } = suffix_parts(line).ok_or_else(wrong)?;
        let collection = index.catalog.collection(collection).ok_or_else(wrong)?;
        if collection.restore_key(&key, ChangeId(_id)).is_some() {
            return Err(format!("another change of the same key, at byte {offset}"));
        }
        if let Some(ttl) = ttl.filter(|_| !planted!(ForgetTtlInCheckpoint)) {
            let at = ttl.after(Timestamp(_ts));
            expiring.push((collection, ChangeId(_id), key.into(), at));
        }
        found.push(Line::new(ChangeId(_id), offset as u64, line).map_err(|_| wrong())?);
    }
    check_ids(&found, head.position().last)?;
    for (collection, id, key, at) in expiring {
        index.catalog.expire_at(&collection, id, key, at);
    }
    Ok(Checkpoint { head, state, lines: found })
}

/// Checks that each key has a change of its own, and none that comes later.
fn check_ids(lines: &[Line], last: ChangeId) -> Result<(), String> {
    let mut ids: Vec<(ChangeId, u64)> = lines.iter().map(|line| (line.id, line.offset)).collect();
    ids.sort_unstable();
    if let Some([_, (id, at)]) = ids.array_windows().find(|[one, next]| one.0 == next.0) {
        return Err(format!("change {id} is that of two keys, at byte {at}"));
    }
    match ids.last() {
        Some((id, at)) if *id > last => {
            Err(format!("change {id} is beyond the last, {last}, at byte {at}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests;
