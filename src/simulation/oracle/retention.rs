//! What the lists of a tenant may leave out: changes beyond what it was to keep at some moment; and
//! a list never begins earlier than it did.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Truth, Violation, violation};
use crate::{
    base::ids::NodeId,
    simulation::history::{Asked, Call, Consistency, Filter, Moment, Thing, Told},
};

/// For a while a tenant was to keep so many changes, as far as anybody can know.
struct Kept {
    from: Moment,
    /// Something else was in force by then.
    until: Moment,
    changes: usize,
}

/// What tenants were to keep.
pub(super) struct Retentions<'a> {
    truth: &'a Truth,
    kept: BTreeMap<Uuid, Vec<Kept>>,
    /// The changes of those tenants, with when they were written at the earliest.
    changes: BTreeMap<Uuid, Vec<(u64, Moment)>>,
}

impl<'a> Retentions<'a> {
    pub(super) fn of(history: &[Call], truth: &'a Truth) -> Self {
        let mut kept: BTreeMap<Uuid, Vec<Kept>> = BTreeMap::new();
        for call in history {
            let Asked::Retain { tenant, changes } = call.asked else { continue };
            if !matches!(call.told, Told::Retained | Told::Unknown) {
                continue;
            }
            // What nobody knows of may come late.
            let after = history.iter().filter(|other| {
                call.told == Told::Retained
                    && other.told == Told::Retained
                    && other.called > call.returned
                    && matches!(other.asked, Asked::Retain { tenant: of, .. } if of == tenant)
            });
            let until = after.map(|other| other.returned).min().unwrap_or(Moment::MAX);
            let changes = usize::try_from(changes).unwrap_or(usize::MAX);
            kept.entry(tenant).or_default().push(Kept { from: call.called, until, changes });
        }
        let mut written: BTreeMap<u64, Moment> = BTreeMap::new();
        for call in history {
            for new in call.asked.news() {
                let first = written.entry(new.label).or_insert(call.called);
                *first = call.called.min(*first);
            }
        }
        let mut changes: BTreeMap<Uuid, Vec<(u64, Moment)>> = BTreeMap::new();
        for (id, change) in truth.all() {
            let Some(tenant) = change.place.tenant.filter(|id| kept.contains_key(id)) else {
                continue;
            };
            let label = change.label.and_then(|label| written.get(&label));
            changes.entry(tenant).or_default().push((id, label.copied().unwrap_or(0)));
        }
        Self { truth, kept, changes }
    }

    /// Up to which change a list may have been cut by `moment`.
    pub(super) fn left_out(&self, of: Thing, moment: Moment) -> u64 {
        let Some((tenant, kept)) =
            tenant_of(of, self.truth).and_then(|tenant| Some((tenant, self.kept.get(&tenant)?)))
        else {
            return 0;
        };
        if !self.truth.is_whole() {
            // Nobody knows how many changes the tenant has.
            return u64::MAX - 1;
        }
        let changes = self.changes.get(&tenant).map_or(&[][..], Vec::as_slice);
        let begun = kept.iter().filter(|kept| kept.from < moment);
        let over = begun.filter_map(|kept| {
            let by = kept.until.min(moment);
            let written = changes.iter().rev().filter(|(_, written)| *written < by);
            written.map(|(id, _)| *id).nth(kept.changes)
        });
        over.max().unwrap_or(0)
    }
}

/// The tenant whose list that is, or whose collection's.
fn tenant_of(of: Thing, truth: &Truth) -> Option<Uuid> {
    match of {
        Thing::Tenant(id) => Some(id),
        Thing::Collection(id) => truth.tenant_of(id),
    }
}

/// Where a list began, as far as was told.
#[derive(Default)]
struct Begun {
    anywhere: u64,
    /// Of each node, in each of its lives.
    at: BTreeMap<(NodeId, u32), u64>,
}

/// A list never begins earlier than it did: not at the node that told where, and in no strong read.
pub(super) fn check(history: &[Call]) -> Result<(), Violation> {
    let mut lists: BTreeMap<Thing, Vec<&Call>> = BTreeMap::new();
    for call in history {
        if let Asked::List { filter: Filter { of: Some(of), also: None, .. }, .. } = call.asked
            && matches!(call.told, Told::Page { .. } | Told::Purged { .. })
        {
            lists.entry(of).or_default().push(call);
        }
    }
    lists.values().try_for_each(|calls| check_list(calls))
}

fn check_list(calls: &[&Call]) -> Result<(), Violation> {
    let mut ended: Vec<&Call> = calls.to_vec();
    ended.sort_by_key(|call| call.returned);
    let mut ended = ended.into_iter().peekable();
    let mut begun: Vec<&Call> = calls.to_vec();
    begun.sort_by_key(|call| call.called);
    let mut known = Begun::default();
    for call in begun {
        while let Some(before) = ended.next_if(|before| before.returned < call.called) {
            if let Told::Purged { first } = before.told {
                known.anywhere = known.anywhere.max(first);
                let at = known.at.entry((before.node, before.life)).or_default();
                *at = first.max(*at);
            }
        }
        // A part of a stream may have been sent long before it was taken.
        if call.last.is_none() {
            continue;
        }
        let is_strong = matches!(call.asked, Asked::List { consistency: Consistency::Strong, .. });
        let at = known.at.get(&(call.node, call.life)).copied().unwrap_or(0);
        let first = if is_strong { known.anywhere } else { at };
        let is_earlier = match &call.told {
            Told::Page { changes, .. } => changes.first().is_some_and(|seen| seen.id < first),
            Told::Purged { first: told } => *told < first,
            _ => false,
        };
        if is_earlier {
            let text = format!("the list began at {first} before: {call:?}");
            return Err(violation("beginnings", text));
        }
    }
    Ok(())
}
