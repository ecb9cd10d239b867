//! What the batches of a segment change of the state, in its index file; and a whole state, as
//! what all batches so far change of an empty one.
//!
//! ```text
//! section 8   what names stand for: `Naming` after `Naming`
//! section 9   keys: for each collection its UUID and a number of keys, then of each
//!             the key and the id of its current change, 0 when it has none
//! section 10  idempotency keys that came in: `Known` after `Known`
//! section 11  `End`: how far the list goes, how many idempotency keys are known
//! section 12  of a whole state only: of each tenant and collection with changes
//!             its UUID, its first and its last change
//! section 13  changes that were redacted, by their ids
//! section 14  of the current changes in section 9 those that expire: `Expiry` after
//!             `Expiry`
//! section 15  in an index only: changes of the segment that are erased, by their ids
//! ```
//!
//! All in postcard.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    index::{Known, Slice, lists::SealedLists},
    machine::State,
    open::{Naming, Noted},
    position::Position,
};
use crate::{
    base::{
        batch::NumberedBatch,
        ids::{ChangeId, Timestamp},
        planted::planted,
    },
    sections::{Builder, Fault, Sections},
};

const NAMES: u32 = 8;
const KEYS: u32 = 9;
const REQUESTS: u32 = 10;
const END: u32 = 11;
const SPANS: u32 = 12;
const REDACTED: u32 = 13;
const EXPIRIES: u32 = 14;
pub(super) const ERASED: u32 = 15;

/// A version of a key, and the microsecond at which it expires.
type Expiry = (u64, u64);

#[derive(Serialize, Deserialize)]
struct End {
    position: Position,
    known: u64,
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    let bytes = postcard::to_allocvec(value).expect("it is written to memory");
    out.extend_from_slice(&bytes);
}

fn put_end(builder: &mut Builder, position: Position, known: usize) {
    let mut end = Vec::new();
    write(&mut end, &End { position, known: known as u64 });
    builder.add(END, end);
}

/// Puts the ids of changes, unless there is none.
pub(super) fn put_ids<'i>(
    builder: &mut Builder,
    kind: u32,
    ids: impl IntoIterator<Item = &'i ChangeId>,
) {
    let mut written = Vec::new();
    ids.into_iter().for_each(|id| write(&mut written, id));
    if !written.is_empty() {
        builder.add(kind, written);
    }
}

/// Reads what [`put_ids`] wrote.
pub(super) fn ids(sections: &Sections, kind: u32) -> Result<Vec<ChangeId>, Fault> {
    let mut ids = Vec::new();
    if sections.len(kind) > 0 {
        let mut items = Items { rest: sections.all(kind)? };
        while let Some(id) = items.next()? {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Puts what the `batches` of a segment, of which this was noted, change into its index.
pub fn put<'b, B: AsRef<[u8]> + 'b>(
    builder: &mut Builder,
    noted: &Noted,
    batches: impl IntoIterator<Item = &'b NumberedBatch<B>>,
) {
    let mut names = Vec::new();
    let is_forgotten = |naming: &&Naming| match naming {
        Naming::Begins(..) => planted!(ForgetBeginningInIndex),
        Naming::NoToken(_) => planted!(ForgetRevocationInIndex),
        _ => false,
    };
    let named = noted.names.iter().filter(|naming| !is_forgotten(naming));
    named.for_each(|naming| write(&mut names, naming));
    let mut current: BTreeMap<Uuid, HashMap<Cow<'_, str>, u64>> = BTreeMap::new();
    let mut expire: HashMap<u64, u64> = HashMap::new();
    let changes = batches
        .into_iter()
        .flat_map(|batch| batch.iter().map(|(id, change)| (id, batch.batch.at(), change)));
    let mut erased = Vec::new();
    for (id, at, change) in changes {
        if change.is_redacted() {
            erased.push(id);
        }
        if let Some(ttl) = change.ttl().filter(|_| !planted!(ForgetTtlInIndex)) {
            expire.insert(id.0, ttl.after(at).0);
        }
        if let (Some(collection), Some(key)) = (change.collection(), change.key()) {
            let id = if change.is_deletion() { 0 } else { id.0 };
            if id == 0 && planted!(ForgetDeletionInIndex) {
                continue;
            }
            current.entry(collection).or_default().insert(key, id);
        }
    }
    let (mut keys, mut expiries) = (Vec::new(), Vec::new());
    for (collection, changed) in current {
        let mut changed: Vec<(Cow<'_, str>, u64)> = changed.into_iter().collect();
        changed.sort_unstable();
        write(&mut keys, &(collection, changed.len() as u64));
        changed.iter().for_each(|key| write(&mut keys, key));
        let expiring = changed.iter().filter_map(|(_, id)| Some((*id, *expire.get(id)?)));
        expiring.for_each(|expiry: Expiry| write(&mut expiries, &expiry));
    }
    let mut requests = Vec::new();
    let forgets = planted!(ForgetIdempotencyInIndex);
    let said = noted.requests.iter().filter(|_| !forgets);
    said.for_each(|known| write(&mut requests, known));
    builder.add(NAMES, names);
    builder.add(KEYS, keys);
    builder.add(REQUESTS, requests);
    let said = noted.redacted.iter().filter(|_| !planted!(ForgetRedactionInIndex));
    put_ids(builder, REDACTED, said);
    put_ids(builder, ERASED, &erased);
    builder.add(EXPIRIES, expiries);
    put_end(builder, noted.position, noted.known);
}

/// Puts a whole state into a file of its own.
pub fn put_whole(builder: &mut Builder, state: &State) {
    let catalog = &state.index().catalog;
    let (mut names, mut keys, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let mut expiries = Vec::new();
    let mut span = |id: Uuid, span: &super::index::Span| {
        if span.last() > ChangeId::ZERO {
            write(&mut spans, &(id, span.first(), span.last()));
        }
    };
    for tenant in catalog.tenant_ids().into_iter().filter_map(|id| catalog.tenant(id)) {
        write(&mut names, &Naming::Tenant(tenant.id, tenant.name.clone()));
        let (retention, begins, quota) = (tenant.retention(), tenant.begins(), tenant.quota());
        if !retention.keeps_all() {
            write(&mut names, &Naming::Retention(tenant.id, retention.to_bytes()));
        }
        if begins > ChangeId::ZERO {
            write(&mut names, &Naming::Begins(tenant.id, begins));
        }
        if !quota.is_unlimited() {
            write(&mut names, &Naming::Quota(tenant.id, quota.to_bytes()));
        }
        span(tenant.id, &tenant.span);
    }
    for collection in catalog.collection_ids().into_iter().filter_map(|id| catalog.collection(id)) {
        let (id, tenant, name) = (collection.id, collection.tenant, collection.name.clone());
        write(&mut names, &Naming::Collection(id, tenant, name));
        span(id, &collection.span);
        write(&mut keys, &(id, collection.keys() as u64));
        collection.each_expiry(|id, at| write(&mut expiries, &(id.0, at.0)));
        let mut after = None;
        loop {
            let Slice { entries, next } = collection.entries_after(after.as_deref());
            entries.iter().for_each(|key| write(&mut keys, key));
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    let tokens = &state.index().tokens;
    for token in tokens.all() {
        write(&mut names, &Naming::Token(Box::new((*token).clone())));
    }
    if let Some(rights) = tokens.anonymous() {
        write(&mut names, &Naming::Anonymous(Some(rights)));
    }
    let known = state.index().idempotency();
    let mut requests = Vec::new();
    known.iter().for_each(|known| write(&mut requests, known));
    builder.add(NAMES, names);
    builder.add(KEYS, keys);
    builder.add(REQUESTS, requests);
    builder.add(SPANS, spans);
    put_ids(builder, REDACTED, &state.index().redactions.all());
    builder.add(EXPIRIES, expiries);
    put_end(builder, state.position(), known.len());
}

/// Bytes that [`absorb`] has to go through, about.
#[must_use]
pub fn weight(sections: &Sections, lists: u64) -> u64 {
    let kinds = [NAMES, KEYS, REQUESTS, SPANS, REDACTED, EXPIRIES];
    kinds.into_iter().map(|kind| sections.len(kind) as u64).sum::<u64>() + 16 * lists
}

/// How far the list goes after a segment, by its index, or in a whole state.
///
/// # Errors
/// It is damaged.
pub fn position(sections: &Sections) -> Result<Position, Fault> {
    Ok(end(sections)?.position)
}

fn end(sections: &Sections) -> Result<End, Fault> {
    let mut items = Items { rest: sections.all(END)? };
    items.next()?.ok_or_else(|| wrong("its end is missing"))
}

/// Makes of a state what it is after another segment, by the index of that; or of an empty one a
/// whole state.
///
/// # Errors
/// The file is damaged; the state is void then.
pub fn absorb(
    state: &mut State,
    sections: &Sections,
    lists: Option<&SealedLists>,
) -> Result<(), Fault> {
    let End { position, known } = end(sections)?;
    if position.last < state.last() || position.last_at < state.last_at() {
        return Err(wrong("it does not follow what it is to be joined to"));
    }
    let mut names = Items { rest: sections.all(NAMES)? };
    while let Some(naming) = names.next::<Naming>()? {
        state.name(naming).map_err(wrong)?;
    }
    let (catalog, expire) = (&state.index().catalog, expiries(sections)?);
    let mut keys = Items { rest: sections.all(KEYS)? };
    while let Some((collection, count)) = keys.next::<(Uuid, u64)>()? {
        // A collection that was deleted since is not there any more.
        let collection = catalog.collection(collection);
        let mut changed = Vec::new();
        for _ in 0..count {
            let key: Option<(Box<str>, u64)> = keys.next()?;
            changed.push(key.ok_or_else(|| wrong("a key is missing"))?);
        }
        if let Some(collection) = collection {
            let expiring = changed.iter().filter_map(|(key, id)| {
                Some((ChangeId(*id), key.clone(), Timestamp(*expire.get(id)?)))
            });
            let expiring: Vec<_> = expiring.collect();
            for id in collection.change_keys(changed) {
                catalog.replaced(&collection, id);
            }
            for (id, key, at) in expiring {
                catalog.expire_at(&collection, id, key, at);
            }
        }
    }
    let mut requests = Items { rest: sections.all(REQUESTS)? };
    let mut remembered = state.index().idempotency_mut();
    while let Some(request) = requests.next::<Known>()? {
        remembered.restore_next(request);
    }
    remembered.keep_newest(known as usize);
    drop(remembered);
    for id in ids(sections, REDACTED)? {
        state.index().redactions.add(id);
    }
    join_spans(state, sections, lists)?;
    state.go_on_at(position);
    Ok(())
}

/// When versions of keys expire.
fn expiries(sections: &Sections) -> Result<HashMap<u64, u64>, Fault> {
    let mut found = HashMap::new();
    if sections.len(EXPIRIES) > 0 {
        let mut items = Items { rest: sections.all(EXPIRIES)? };
        while let Some((id, at)) = items.next::<Expiry>()? {
            found.insert(id, at);
        }
    }
    Ok(found)
}

fn join_spans(
    state: &State,
    sections: &Sections,
    lists: Option<&SealedLists>,
) -> Result<(), Fault> {
    let catalog = &state.index().catalog;
    let join = |id: Uuid, first, last| {
        if let Some(tenant) = catalog.tenant(id) {
            tenant.span.join(first, last);
        } else if let Some(collection) = catalog.collection(id) {
            collection.span.join(first, last);
        }
    };
    match lists {
        Some(lists) => lists.spans(|key, first, last| join(key.uuid(), first, last)),
        // No change is in the segment.
        None if sections.len(SPANS) == 0 => Ok(()),
        None => {
            let mut spans = Items { rest: sections.all(SPANS)? };
            while let Some((id, first, last)) = spans.next()? {
                join(id, first, last);
            }
            Ok(())
        }
    }
}

/// Reads what was written one after the other.
struct Items<'b> {
    rest: &'b [u8],
}

impl Items<'_> {
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (item, rest) = postcard::take_from_bytes(self.rest)
            .map_err(|_| wrong("what it says of the state cannot be read"))?;
        self.rest = rest;
        Ok(Some(item))
    }
}

fn wrong(reason: &str) -> Fault {
    Fault { offset: 0, reason: reason.into() }
}
