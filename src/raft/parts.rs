//! Entries as a copy of some tenants gets them: of each batch the part that concerns these. Every entry
//! stays one, under its own index, so that such a copy follows a log as any other does.

use std::{collections::HashMap, io, ops::RangeInclusive, sync::Arc};

use uuid::Uuid;

use super::{sealing::Decided, segment_index::opened, state_machine::StateMachine, types::kind};
use crate::{
    base::{
        batch::{ActionRef, Batch, Previous, Selection, Skips},
        tenants::Tenants,
    },
    io::{Disk, Files, cores},
    log::Entry,
    state::{self, Index},
};

/// What is told of some tenants.
struct Told {
    tenants: Tenants,
    index: Arc<Index>,
}

impl Selection for Told {
    fn has_tenant(&self, tenant: Uuid) -> bool {
        self.tenants.has(tenant)
    }

    /// What was created, and whether, is told by what is there now: what was deleted since may never
    /// have been there for whoever has not heard of it yet.
    fn has_action(&self, action: &ActionRef<'_>) -> bool {
        let catalog = &self.index.catalog;
        match *action {
            ActionRef::Append(_) => false,
            ActionRef::CreateTenant(tenant, _) => {
                self.has_tenant(tenant) && catalog.tenant(tenant).is_some()
            }
            ActionRef::CreateCollection(tenant, collection, _) => {
                self.has_tenant(tenant) && catalog.collection(collection).is_some()
            }
            // Whose change it was is not looked up: it is an id and nothing else.
            ActionRef::Redact(_) => true,
            // What a request without a token may do is one thing for all: the last word counts.
            ActionRef::RevokeToken(_) | ActionRef::SetAnonymous(_) => true,
            ActionRef::CreateToken(ref token) => {
                let tenant = token.rights.scope.tenant();
                tenant.is_some_and(|tenant| self.has_tenant(tenant))
                    && self.index.tokens.get(token.id).is_some()
            }
            ActionRef::SetRetention(tenant, _) | ActionRef::BeginAt(tenant, _) => {
                self.has_tenant(tenant)
            }
        }
    }
}

/// Makes applied entries, which follow one another, parts of them.
pub(super) async fn take<D: Disk>(
    machine: &StateMachine<D>,
    entries: Vec<Entry>,
    tenants: &Tenants,
) -> io::Result<Vec<Entry>> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(entries) };
    let range = first.id.index..=last.id.index;
    // Together: what is not the one is the other.
    let mut known = machine.unsealed_decided(&range);
    let (ended, _) = machine.ended();
    let told = Told { tenants: tenants.clone(), index: machine.index() };
    let files = machine.log().files();
    let mut before = 0;
    let mut segments = Vec::new();
    for end in ended {
        if before < *range.end() && end.index >= *range.start() {
            segments.push((before + 1..=end.index, end.sequence));
        }
        before = end.index;
    }
    let take = move || {
        for (held, sequence) in segments {
            look_up(&files, sequence, held, &entries, &mut known)?;
        }
        entries.into_iter().map(|entry| part(entry, &known, &told)).collect()
    };
    cores::off_core(take).await
}

/// Adds how a sealed segment, which has the entries `held`, says that those of `entries` were decided
/// that are its own.
fn look_up(
    files: &impl Files,
    sequence: u64,
    held: RangeInclusive<u64>,
    entries: &[Entry],
    known: &mut HashMap<u64, Decided>,
) -> io::Result<()> {
    let segment = opened(files, sequence)?.segment;
    let own = entries.iter().filter(|it| it.kind == kind::BATCH && held.contains(&it.id.index));
    for entry in own {
        let index = entry.id.index;
        // One without an index of changes has none.
        let decided = segment.as_ref().map(|segment| state::decided(segment, index)).transpose()?;
        known.insert(index, decided.flatten());
    }
    Ok(())
}

/// The part of an entry, where it is `known` how batches were decided.
fn part(entry: Entry, known: &HashMap<u64, Decided>, told: &Told) -> io::Result<Entry> {
    if entry.kind != kind::BATCH {
        return Ok(entry);
    }
    let batch = Batch::parsed_before(&*entry.payload);
    let batch = batch.ok_or_else(|| io::Error::other("a batch is shorter than its header"))?;
    let decided = known.get(&entry.id.index).cloned().ok_or_else(|| {
        io::Error::other(format!("how entry {} was decided is not known", entry.id.index))
    })?;
    let nothing = || (Skips::of([(batch.changes(), false)]), Previous::default());
    let (skips, previous) = decided.unwrap_or_else(nothing);
    let payload = batch.part(&skips, &previous, told);
    Ok(Entry { payload, ..entry })
}
