//! What tenants need not keep: whoever leads has their lists begin later.
//!
//! Where a list begins is ordered in the log, so all nodes agree. Nothing is removed by that:
//! the changes stay in the whole list until retention of the node purges them there.
//!
//! A tenant's list is gone through once, by two positions: up to the one its changes are
//! counted, up to the other they are left out.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use uuid::Uuid;

use super::{ForwardedWrites, Status};
use crate::{
    base::{
        batch::{Action, Command},
        ids::{ChangeId, Timestamp},
        limits::{BEGINNINGS_MAX, READ_EXAMINED_MAX},
        planted::planted,
        retention::{Beginning, TenantRetention},
        timing::{RETENTION_RETRY, TENANT_RETENTION_PERIOD},
    },
    io::{Disk, cores},
    raft::{Later, Leadership, Replica, first_later_in},
    state::{
        Cursor, Index,
        index::{Reached, Tenant},
        unread::Unread,
    },
};

/// How far a leader has gone through the list of a tenant.
#[derive(Clone, Debug)]
struct Walk {
    retention: TenantRetention,
    /// Everything up to here is left out.
    left_out: ChangeId,
    /// Up to here, changes are counted.
    counted: ChangeId,
    /// Changes behind `left_out`, up to `counted`. Invariant: only where a number is kept.
    count: u64,
}

impl Walk {
    fn new(retention: TenantRetention, begins: ChangeId) -> Self {
        let left_out = ChangeId(begins.0.saturating_sub(1));
        Self { retention, left_out, counted: left_out, count: 0 }
    }

    /// Goes on in the list of `tenant`, which is held from behind `purged` to `last`, and leaves
    /// out what may go: changes below `young`. It ends early where the index cannot be read.
    fn go_on(
        &mut self,
        index: &Index,
        tenant: &Arc<Tenant>,
        (purged, last): (ChangeId, ChangeId),
        young: ChangeId,
    ) {
        if self.left_out < purged {
            // What was counted may be gone.
            *self = Self { left_out: purged, counted: purged, count: 0, ..self.clone() };
        }
        let mut steps = READ_EXAMINED_MAX;
        if self.retention.changes.is_some() {
            let mut ahead = Cursor::tenant(Arc::clone(tenant), &[]);
            while let Some(id) = next(&mut ahead, index, self.counted, last, &mut steps) {
                self.counted = id;
                self.count += 1;
            }
        }
        assert!(self.count == 0 || self.retention.changes.is_some(), "they are counted for that");
        let kept = self.retention.changes.map_or(0, |changes| changes.get());
        let kept = kept.saturating_sub(u64::from(planted!(RetainTooFew)));
        let is_over = |walk: &Self| walk.retention.changes.is_none() || walk.count > kept;
        let mut behind = Cursor::tenant(Arc::clone(tenant), &[]);
        while is_over(self) {
            let found = next(&mut behind, index, self.left_out, last, &mut steps);
            let Some(id) = found.filter(|id| *id < young) else { break };
            self.left_out = id;
            self.count = self.count.saturating_sub(1);
        }
    }
}

/// The next change of a list behind `after`; nothing where there is none, or none can be found
/// for now. Reads from the disk.
fn next(
    cursor: &mut Cursor,
    index: &Index,
    after: ChangeId,
    last: ChangeId,
    steps: &mut usize,
) -> Option<ChangeId> {
    let mut from = after.next();
    while *steps > 0 && from <= last {
        match cursor.next(index, from, last, steps) {
            Ok(found) => {
                *steps = steps.saturating_sub(1);
                return found;
            }
            Err(Reached::Id(reached)) => from = reached,
            Err(Reached::Unread(Unread::Missing(missing, _))) => {
                missing.map.populate(missing.range).ok()?;
                *steps -= 1;
            }
            // Reads of it say so.
            Err(Reached::Unread(Unread::Damaged(_))) => return None,
        }
    }
    None
}

/// Has lists begin later whenever this node leads.
pub(super) async fn run<D: Disk>(
    replica: Rc<Replica<D>>,
    index: Arc<Index>,
    status: Arc<Status>,
    writes: Rc<ForwardedWrites<D>>,
) {
    let mut walks: BTreeMap<Uuid, Walk> = BTreeMap::new();
    let mut after = None;
    loop {
        cores::sleep(TENANT_RETENTION_PERIOD).await;
        let leads = replica.leadership() == Leadership::Here && !status.is_claimed();
        if !leads || planted!(RetainAll) {
            walks.clear();
            continue;
        }
        let tenants = index.catalog.retaining_after(after, BEGINNINGS_MAX);
        after = tenants.last().map(|tenant| tenant.id);
        let commands = look(&replica, &index, tenants, &mut walks).await;
        if commands.is_empty() {
            continue;
        }
        let outcomes = writes.decide(commands).await;
        if outcomes.iter().any(Result::is_err) {
            cores::sleep(RETENTION_RETRY / 10).await;
        }
    }
}

/// What is to be ordered so that those tenants keep what they are to, and no more.
async fn look<D: Disk>(
    replica: &Replica<D>,
    index: &Arc<Index>,
    tenants: Vec<Arc<Tenant>>,
    walks: &mut BTreeMap<Uuid, Walk>,
) -> Vec<Command> {
    let now = Timestamp(cores::wall_micros()).max(replica.last_at());
    let last = index.applying_up_to();
    let held = (replica.purged_upto(), last);
    let mut commands = Vec::new();
    // Many have the same.
    let mut young: BTreeMap<Option<Timestamp>, ChangeId> = BTreeMap::new();
    for tenant in tenants {
        let (retention, begins) = (tenant.retention(), tenant.begins());
        let old = retention.old_at(now);
        let young = match young.get(&old) {
            Some(young) => *young,
            None => {
                let first = first_young(replica, old, last).await;
                young.insert(old, first);
                first
            }
        };
        let known = walks.remove(&tenant.id).filter(|walk| walk.retention == retention);
        let mut walk = known.unwrap_or_else(|| Walk::new(retention, begins));
        let (index, of) = (Arc::clone(index), Arc::clone(&tenant));
        let gone = cores::off_core(move || {
            walk.go_on(&index, &of, held, young);
            walk
        });
        let walk = gone.await;
        let first = walk.left_out.next();
        if first > begins.max(held.0.next()) {
            let beginning = Beginning { retention, first };
            commands.push(Action::BeginAt(tenant.id, beginning).into());
        }
        walks.insert(tenant.id, walk);
    }
    commands
}

/// The first change that is too young to go, where what was written up to `old` may; one past
/// the last where there is none.
async fn first_young<D: Disk>(
    replica: &Replica<D>,
    old: Option<Timestamp>,
    last: ChangeId,
) -> ChangeId {
    let Some(old) = old else { return last.next() };
    let segment = match replica.first_later(old) {
        Later::At(first) => return first,
        Later::In(segment) => segment,
    };
    let files = replica.log().files();
    let search = move || first_later_in(&files, segment, old);
    match cores::on_own_thread("age", search).await {
        Ok(Ok(first)) => first,
        // Nothing may go for now.
        Ok(Err(error)) | Err(error) => {
            tracing::debug!(segment, %error, "how old changes are cannot be read");
            ChangeId::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        base::batch::Append,
        state::{
            State,
            testing::{ChangeText, batch_of, create_tenant},
        },
    };

    const TENANT: Uuid = Uuid::from_u128(1);

    proptest! {
        /// However it goes on, what is left out is what a plain count gives.
        #[test]
        fn what_is_left_out_is_what_need_not_be_kept(
            rounds in proptest::collection::vec(
                (proptest::collection::vec(any::<bool>(), 0..40), 0u64..60, 0u64..60), 1..6),
            changes in 0u64..30, ages: bool,
        ) {
            let age = if ages || changes == 0 { 1 } else { 0 };
            let retention = TenantRetention {
                changes: NonZeroU64::new(changes),
                age: NonZeroU64::new(age),
            };
            let mut state = State::default();
            state.apply(batch_of(&[create_tenant(TENANT, "t")], 1));
            let tenant = state.index().catalog.tenant(TENANT).unwrap();
            let (mut of_tenant, mut wanted, mut young, mut purged) = (Vec::new(), 0, 0, 0);
            let mut walk = Walk::new(retention, ChangeId::ZERO);
            for (added, older, gone) in rounds {
                for is_of_tenant in added {
                    let text = match is_of_tenant {
                        true => ChangeText::of(TENANT, None, None),
                        false => ChangeText::plain("1"),
                    };
                    state.apply(batch_of(&[Append::from(text).into()], 1));
                    if is_of_tenant {
                        of_tenant.push(state.last().0);
                    }
                }
                let last = state.last();
                young = last.0.min(young + older);
                purged = (last.0.min(purged + gone / 4)).max(purged);
                let below = if age > 0 { ChangeId(young) } else { last.next() };
                walk.go_on(state.index(), &tenant, (ChangeId(purged), last), below);

                wanted = purged.max(wanted);
                let held: Vec<u64> =
                    of_tenant.iter().copied().filter(|id| *id > wanted).collect();
                let over = match changes {
                    0 => held.len(),
                    changes => held.len().saturating_sub(changes as usize),
                };
                let mut goes = held[..over].iter().rev().filter(|id| **id < below.0);
                wanted = goes.next().copied().unwrap_or(wanted);
                prop_assert_eq!(walk.left_out, ChangeId(wanted));
            }
        }
    }
}
