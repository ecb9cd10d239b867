//! Entries as a copy of some tenants gets them: of each batch the part that concerns these. Every entry
//! stays one, under its own index, so that such a copy follows a log as any other does.

use std::{collections::HashMap, io, ops::RangeInclusive, sync::Arc};

use uuid::Uuid;

use super::{
    sealing::Decided,
    segment_index::opened,
    state_machine::StateMachine,
    types::{kind, unplaced},
};
use crate::{
    base::{
        batch::{Action, ActionRef, Batch, Previous, Selection, Skips},
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
    /// have been there for whoever has not heard of it yet. What a tenant keeps, and may use, is told as it is now,
    /// for no more is known of a command than that it was applied before: the last of those that set
    /// it says what the last that was accepted set. Where its lists begin never moves back, so what
    /// they begin after by now was accepted, or is left out of them anyway.
    fn action(&self, action: &ActionRef<'_>) -> Option<Action> {
        let catalog = &self.index.catalog;
        let own = |tenant| catalog.tenant(tenant).filter(|_| self.has_tenant(tenant));
        match *action {
            ActionRef::Append(_) => None,
            ActionRef::CreateTenant(tenant, _) => own(tenant).and_then(|_| action.to_action()),
            ActionRef::CreateCollection(tenant, collection, _) => {
                let is_own = self.has_tenant(tenant) && catalog.collection(collection).is_some();
                is_own.then(|| action.to_action()).flatten()
            }
            // Whose change it was is not looked up: it is an id and nothing else.
            ActionRef::Redact(_) | ActionRef::RevokeToken(_) => action.to_action(),
            // What a request without a token may do is told as it is now, too: nothing where that is with others.
            ActionRef::SetAnonymous(..) => {
                let now = self.index.tokens.anonymous();
                let now = now.filter(|rights| rights.scope.concerns(&self.tenants));
                Some(Action::SetAnonymous(now, None))
            }
            ActionRef::CreateToken(ref token) => {
                let tenant = token.rights.scope.tenant();
                let is_own = tenant.is_some_and(|tenant| self.has_tenant(tenant))
                    && self.index.tokens.get(token.id).is_some();
                is_own.then(|| action.to_action()).flatten()
            }
            ActionRef::SetRetention(tenant, _) => {
                own(tenant).map(|now| Action::SetRetention(tenant, now.retention()))
            }
            ActionRef::SetQuota(tenant, _) => {
                own(tenant).map(|now| Action::SetQuota(tenant, now.quota()))
            }
            ActionRef::BeginAt(tenant, beginning) => {
                let now = own(tenant).filter(|now| beginning.first <= now.begins());
                now.and_then(|_| action.to_action())
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
    let mut before = machine.purged().map_or(0, |last| last.index);
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
    match entry.kind {
        kind::BATCH => {}
        // Whoever follows some tenants is no member, and meets none.
        kind::MEMBERSHIP => return Ok(Entry { payload: unplaced(&entry.payload)?, ..entry }),
        _ => return Ok(entry),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{
        base::{
            batch::{Append, Command, Idempotency, NumberedBatch},
            ids::{ChangeId, Timestamp},
            outcome::Decision,
            quota::TenantQuota,
            retention::{Beginning, TenantRetention},
            secret::SecretHash,
            tokens::{Grantor, Rights, Role, Scope, Token, TokenId},
        },
        io::simulated::{disk::SimDisk, executor},
        raft::{
            compact::compact,
            fold_tests::{CLUSTER, What},
            snapshot_tests::filled,
        },
        state::{
            State,
            testing::{ChangeText, batch, batch_of, create_tenant},
        },
    };

    const OWN: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn what_is_purged_while_it_is_read_is_not_looked_up_in_another_segment() {
        executor::run(7, async {
            let disk = SimDisk::new(7);
            let all: Vec<What> = (0..60).map(|_| What::Batch(batch(300, b'}'))).collect();
            let machine = filled(&disk, 1, &all).await;
            let entries = machine.log().read(1, 3, usize::MAX).await.unwrap();
            let own = Tenants::new(vec![OWN]);
            assert_eq!(take(&machine, entries.clone(), &own).await.unwrap().len(), 2);
            let compacted = compact(&disk.files(), CLUSTER, 1..=1, None).unwrap().unwrap();
            assert!(compacted.log_id.index >= 2 && machine.log().active_segment() > 2);
            machine.purge(&compacted);
            // The log itself is purged a moment later.
            assert_eq!((machine.purged(), machine.log().purged()), (Some(compacted.log_id), None));
            let refused = take(&machine, entries, &own).await.unwrap_err();
            assert!(refused.to_string().contains("is not known"), "{refused}");
        });
    }

    fn kept(changes: u64) -> TenantRetention {
        TenantRetention { changes: NonZeroU64::new(changes), age: None }
    }

    fn set(retention: TenantRetention, key: Option<u8>) -> Command {
        let idempotency = key.map(|key| Idempotency { key: [key; 16], request: [1; 16] });
        Command { action: Action::SetRetention(OWN, retention), idempotency }
    }

    fn quota(waits: u64) -> TenantQuota {
        TenantQuota { waits: NonZeroU64::new(waits), ..TenantQuota::default() }
    }

    fn allow(waits: u64) -> Command {
        Action::SetQuota(OWN, quota(waits)).into()
    }

    fn create(id: u64, key: u8) -> Command {
        let rights = Rights { role: Role::Read, scope: Scope::Tenant(OWN) };
        let (hash, created) = (SecretHash([id as u8; 32]), Timestamp::default());
        let name = format!("n{id}").into();
        let token = Token {
            id: TokenId(id),
            name,
            rights,
            hash,
            creator: Grantor::Root,
            created,
            expires: None,
        };
        let idempotency = Some(Idempotency { key: [key; 16], request: [3; 16] });
        Command { action: Action::CreateToken(Box::new(token)), idempotency }
    }

    #[test]
    fn nothing_is_told_of_what_those_without_a_token_may_do_with_others() {
        let state = State::default();
        let told = Told { tenants: Tenants::new(vec![OWN]), index: Arc::clone(state.index()) };
        let told_of = |scope| {
            let rights = Some(Rights { role: Role::Read, scope });
            state.index().tokens.set_anonymous(rights);
            (told.action(&ActionRef::SetAnonymous(rights, Some(Grantor::Root))), rights)
        };
        for scope in [Scope::All, Scope::Tenant(OWN)] {
            let (told, rights) = told_of(scope);
            assert_eq!(told, Some(Action::SetAnonymous(rights, None)));
        }
        let shelf = Scope::Collection { tenant: OTHER, collection: OWN };
        for scope in [Scope::Tenant(OTHER), shelf] {
            assert_eq!(told_of(scope).0, Some(Action::SetAnonymous(None, None)));
        }
    }

    fn begin(changes: u64, first: u64) -> Command {
        let beginning = Beginning { retention: kept(changes), first: ChangeId(first) };
        Action::BeginAt(OWN, beginning).into()
    }

    fn write(tenant: Uuid, key: u8) -> Command {
        let idempotency = Some(Idempotency { key: [key; 16], request: [2; 16] });
        let append = Append::from(ChangeText::of(tenant, None, None));
        Command { action: Action::Append(append), idempotency }
    }

    /// What was refused, and what was the repeat of something earlier, does nothing at a copy, whenever
    /// that asks.
    #[test]
    fn a_copy_keeps_of_a_tenant_what_its_origin_decided() {
        let batches: [&[Command]; 5] = [
            &[create_tenant(OWN, "own"), create_tenant(OTHER, "other")],
            &[write(OTHER, 1), write(OWN, 2), write(OWN, 3), write(OWN, 4), create(1, 7)],
            &[set(kept(2), Some(5)), begin(2, 3), set(kept(9), None), allow(3)],
            // The keys of others are not known at a copy.
            &[set(kept(1), Some(5)), set(kept(1), Some(1)), set(kept(2), Some(5)), begin(2, 4)],
            &[set(kept(3), Some(6)), set(kept(4), Some(2)), allow(4), create(1, 7), create(2, 8)],
        ];
        for late in [false, true] {
            let (mut whole, mut copy) = (State::default(), State::default());
            let mut applied = Vec::new();
            let follow = |whole: &State, copy: &mut State, batch: &NumberedBatch| {
                let told =
                    Told { tenants: Tenants::new(vec![OWN]), index: Arc::clone(whole.index()) };
                let part = batch.batch.part(&batch.skips, &batch.previous, &told);
                let decisions = copy.apply(Batch::parse(part).unwrap()).decisions;
                let is_done = |it: &Decision| it.result.is_ok() && !it.replayed;
                assert!(decisions.iter().flatten().all(is_done), "it is decided");
            };
            let agree = |whole: &State, copy: &State| {
                let own = |state: &State| state.index().catalog.tenant(OWN).unwrap();
                let (whole, copy) = (own(whole), own(copy));
                assert_eq!(copy.retention(), whole.retention());
                assert_eq!(copy.begins(), whole.begins());
                assert_eq!(copy.quota(), whole.quota());
            };
            let tokens = |state: &State| state.index().tokens.all();
            for (at, commands) in batches.iter().enumerate() {
                let batch = whole.apply(batch_of(commands, at as u64 + 1)).batch;
                if late {
                    applied.push(batch);
                } else {
                    follow(&whole, &mut copy, &batch);
                    agree(&whole, &copy);
                    assert_eq!(tokens(&copy), tokens(&whole));
                }
            }
            applied.iter().for_each(|batch| follow(&whole, &mut copy, batch));
            agree(&whole, &copy);
            assert_eq!(tokens(&copy), tokens(&whole));
            assert_eq!(tokens(&copy).len(), 2);
            let own = whole.index().catalog.tenant(OWN).unwrap();
            assert_eq!((own.retention(), own.begins()), (kept(3), ChangeId(3)));
            assert_eq!(own.quota(), quota(4));
        }
    }
}
