//! A name belongs to one tenant at a time, or to one collection of a tenant, from when that is
//! made until it ends.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Truth, Violation, violation};
use crate::simulation::history::{Asked, Call, Moment, Thing, Told};

/// A tenant or a collection that somebody made.
struct Made<'a> {
    id: Uuid,
    tenant: Option<Uuid>,
    name: &'a str,
    /// When that was asked for the first time.
    called: Moment,
    /// When it was told the first time.
    returned: Moment,
}

impl Made<'_> {
    fn thing(&self) -> Thing {
        match self.tenant {
            None => Thing::Tenant(self.id),
            Some(_) => Thing::Collection(self.id),
        }
    }
}

/// When something ended: it may have from the first moment on, and surely had by the second.
#[derive(Clone, Copy)]
struct End {
    from: Moment,
    by: Moment,
}

/// Never.
const NEVER: End = End { from: Moment::MAX, by: Moment::MAX };

pub(super) fn check(history: &[Call], truth: &Truth) -> Result<(), Violation> {
    let made = made(history)?;
    let ends = ends(history);
    let end_of = |thing: Thing| {
        let of = |thing| ends.get(&thing).copied().unwrap_or(NEVER);
        let tenant = match thing {
            Thing::Collection(id) => truth.tenant_of(id),
            Thing::Tenant(_) => None,
        };
        let (own, its) = (of(thing), tenant.map_or(NEVER, |tenant| of(Thing::Tenant(tenant))));
        End { from: own.from.min(its.from), by: own.by.min(its.by) }
    };
    for one in &made {
        for other in made.iter().filter(|other| other.id != one.id) {
            let is_same = (one.tenant, one.name) == (other.tenant, other.name);
            if is_same && one.returned < other.called && end_of(one.thing()).from > other.returned {
                let text = format!("{} is {} and {}", one.name, one.id, other.id);
                return Err(violation("names", text));
            }
        }
    }
    for call in history {
        match (&call.asked, &call.told) {
            (Asked::Make { tenant, .. }, Told::Taken(id))
                if call.idempotency.is_none() && end_of(named(*tenant, *id)).by < call.called =>
            {
                return Err(violation("names", format!("it is over: {call:?}")));
            }
            (Asked::Names { tenant }, Told::Names(listed)) => {
                let of_it = made.iter().filter(|made| made.tenant == *tenant);
                let mut missing = of_it.filter(|made| {
                    made.returned < call.called
                        && end_of(made.thing()).from > call.returned
                        && !listed.iter().any(|(name, id)| (&**name, *id) == (made.name, made.id))
                });
                if let Some(missing) = missing.next() {
                    let text = format!("{} is missing: {call:?}", missing.name);
                    return Err(violation("names", text));
                }
                let is_over = |id: &Uuid| end_of(named(*tenant, *id)).by < call.called;
                if !listed.is_sorted() || listed.iter().any(|(_, id)| is_over(id)) {
                    return Err(violation("names", format!("not what it is: {call:?}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn named(tenant: Option<Uuid>, id: Uuid) -> Thing {
    if tenant.is_some() { Thing::Collection(id) } else { Thing::Tenant(id) }
}

fn made(history: &[Call]) -> Result<Vec<Made<'_>>, Violation> {
    let mut begun: BTreeMap<&String, Moment> = BTreeMap::new();
    let mut made: Vec<Made<'_>> = Vec::new();
    let mut by_key: BTreeMap<&String, Uuid> = BTreeMap::new();
    for call in history {
        let Asked::Make { tenant, name } = &call.asked else { continue };
        let called = match &call.idempotency {
            Some(key) => *begun.entry(key).or_insert(call.called),
            None => call.called,
        };
        let Told::Made(id) = call.told else { continue };
        if let Some(key) = &call.idempotency
            && *by_key.entry(key).or_insert(id) != id
        {
            return Err(violation("no duplicate", format!("one key, two answers: {call:?}")));
        }
        if made.iter().any(|made| made.id == id) {
            // The first answer once more.
            continue;
        }
        let (tenant, returned) = (*tenant, call.returned);
        made.push(Made { id, tenant, name, called, returned });
    }
    Ok(made)
}

fn ends(history: &[Call]) -> BTreeMap<Thing, End> {
    let mut ends: BTreeMap<Thing, End> = BTreeMap::new();
    for call in history {
        let Asked::End(thing) = call.asked else { continue };
        let by = match call.told {
            Told::Done { .. } => call.returned,
            Told::Unknown => Moment::MAX,
            _ => continue,
        };
        let end = ends.entry(thing).or_insert(NEVER);
        *end = End { from: end.from.min(call.called), by: end.by.min(by) };
    }
    ends
}
