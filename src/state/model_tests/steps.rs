//! Random commands that mostly make sense one after the other.

use proptest::{prelude::*, sample::Index as Pick};
use uuid::Uuid;

use super::model::Model;
use crate::{
    base::{
        batch::{Action, Append, Command, Conditions, Idempotency, Versions},
        ids::ChangeId,
    },
    state::testing::{ChangeText, append_all, create_collection, create_tenant},
};

pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
pub(super) const COLLECTIONS: [&str; 2] = ["orders", "users"];
pub(super) const KEYS: [&str; 6] = ["", "a", "a\"1", "a2", "b", "\u{e9}"];
pub(super) const TAGS: [&str; 3] = ["blue", "red", "a,\"b"];

/// Where a change belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) tenant: Option<Uuid>,
    pub(super) collection: Option<Uuid>,
    pub(super) key: Option<&'static str>,
    /// How many hours the version of the key is to live; 0 for ever.
    pub(super) hours: u32,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Tenant(Uuid, &'static str),
    Collection(Uuid, Uuid, &'static str),
    Redact(ChangeId),
    Write {
        places: Vec<(Place, Vec<&'static str>)>,
        conditions: Conditions,
    },
    Delete {
        place: Place,
        conditions: Conditions,
    },
    /// The version of a key is said to have expired.
    Expire {
        place: Place,
        version: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) what: What,
    /// Key and request.
    pub(super) idempotency: Option<(u8, u8)>,
    pub(super) hour: u64,
    pub(super) number: usize,
}

impl Step {
    pub(super) fn texts<'t>(&'t self, data: &'t str) -> Vec<ChangeText<'t>> {
        let text = |place: &Place, tags, data| ChangeText {
            tenant: place.tenant,
            collection: place.collection,
            key: place.key,
            tags,
            ttl: 3600 * place.hours,
            data,
            expired: matches!(self.what, What::Expire { .. }),
        };
        match &self.what {
            What::Tenant(..) | What::Collection(..) | What::Redact(_) => Vec::new(),
            What::Write { places, .. } => {
                places.iter().map(|(place, tags)| text(place, tags, Some(data))).collect()
            }
            What::Delete { place, .. } | What::Expire { place, .. } => {
                vec![text(place, &[], None)]
            }
        }
    }

    pub(super) fn command(&self) -> Command {
        let command = match &self.what {
            What::Tenant(tenant, name) => create_tenant(*tenant, name),
            What::Collection(tenant, id, name) => create_collection(*tenant, *id, name),
            What::Redact(id) => Action::Redact(*id).into(),
            What::Write { conditions, .. } | What::Delete { conditions, .. } => {
                let texts = append_all(&self.texts(&self.number.to_string()));
                Append { conditions: conditions.clone(), ..texts }.into()
            }
            What::Expire { version, .. } => {
                let texts = append_all(&self.texts(""));
                Append { conditions: this_version(*version), ..texts }.into()
            }
        };
        let idempotency = self
            .idempotency
            .map(|(key, request)| Idempotency { key: [key; 16], request: [request; 16] });
        Command { idempotency, ..command }
    }
}

/// One step before it is known what there is for it to name.
type Draft = (u8, [Pick; 7], Vec<(u8, Pick, Pick, u8)>, Option<(u8, u8)>, bool);

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let more = proptest::collection::vec(any::<(u8, Pick, Pick, u8)>(), 1..4);
    let idempotency = proptest::option::weighted(0.2, (0u8..6, 0u8..2));
    let draft = (0u8..43, any::<[Pick; 7]>(), more, idempotency, proptest::bool::weighted(0.1));
    proptest::collection::vec(draft, 1..120).prop_map(|drafts| resolve(&drafts))
}

/// Makes steps that mostly name what may be there.
fn resolve(drafts: &[Draft]) -> Vec<Step> {
    // What never was, and later what is no more, is named now and then.
    let mut gone = (Uuid::from_u128(1000), Uuid::from_u128(1001));
    let (mut model, mut steps, mut hour) = (Model::default(), Vec::new(), 1);
    for (number, (kind, picks, more, idempotency, later)) in drafts.iter().enumerate() {
        let id = Uuid::from_u128(number as u128 + 1);
        let live = model.tenants.values().copied();
        let tenants: Vec<Uuid> = live.clone().chain(live).chain([gone.0]).collect();
        let live = model.collections.iter().map(|((tenant, _), id)| (*tenant, *id));
        let collections: Vec<(Uuid, Uuid)> = live.clone().chain(live).chain([gone]).collect();
        let tenant = *picks[0].get(&tenants);
        let (of, collection) = *picks[1].get(&collections);
        let named = one(&picks[2], &KEYS);
        let key = Some(named);
        let hours = picks[5].index(4) as u32 * u32::from(kind % 3 == 0);
        let keyed = Place { tenant: Some(of), collection: Some(collection), key, hours };
        let conditions = conditions(model.changes.len() as u64, picks);
        let place = |(kind, a, b, _): &(u8, Pick, Pick, u8)| match kind % 6 {
            0 => Place::default(),
            1 => Place { tenant: Some(*a.get(&tenants)), ..Place::default() },
            kind => {
                let (tenant, collection) = *a.get(&collections);
                let key = (kind > 2).then(|| one(b, &KEYS));
                let hours = if key.is_some() { u32::from(kind / 50) } else { 0 };
                Place { tenant: Some(tenant), collection: Some(collection), key, hours }
            }
        };
        // Each tag on one change in four.
        let tagged = |one: &(u8, Pick, Pick, u8)| (place(one), tags_of(one.3 & one.3 >> 4));
        // Most steps need something to write to.
        let what = match kind {
            4.. if model.tenants.is_empty() => What::Tenant(id, one(&picks[2], &TENANTS)),
            8.. if model.collections.is_empty() => {
                What::Collection(tenant, id, one(&picks[2], &COLLECTIONS))
            }
            0..3 => What::Tenant(id, one(&picks[2], &TENANTS)),
            3..7 => What::Collection(tenant, id, one(&picks[2], &COLLECTIONS)),
            7..17 => What::Write {
                places: more.iter().map(tagged).collect(),
                conditions: Conditions::default(),
            },
            17..29 => What::Write { places: vec![(keyed, Vec::new())], conditions },
            29..34 => What::Delete { place: Place { hours: 0, ..keyed }, conditions },
            34..38 => {
                // Mostly one that has a time to live, now and then one of before.
                let versions: Vec<_> = model.expires.keys().copied().collect();
                let (collection, key, version) = match versions.is_empty() {
                    true => (collection, named, 1),
                    false => *picks[4].get(&versions),
                };
                let of = collections.iter().find(|(_, id)| *id == collection).map(|(of, _)| *of);
                let place = Place {
                    tenant: of.or(Some(gone.0)),
                    collection: Some(collection),
                    key: Some(key),
                    hours: 0,
                };
                What::Expire { place, version }
            }
            38 => What::Delete {
                place: Place { key: None, hours: 0, ..keyed },
                conditions: Conditions::default(),
            },
            39 => What::Delete {
                place: Place { tenant: Some(tenant), ..Place::default() },
                conditions: Conditions::default(),
            },
            // The first that is not there yet, now and then.
            _ => What::Redact(ChangeId(picks[3].index(model.changes.len() + 2) as u64)),
        };
        hour += u64::from(*later) * (1 + picks[5].index(30) as u64);
        let step = Step { what, idempotency: *idempotency, hour, number };
        if let What::Delete {
            place: Place { tenant: Some(tenant), collection, key: None, .. },
            ..
        } = step.what
        {
            gone = (tenant, collection.unwrap_or(gone.1));
        }
        model.decide(&step);
        steps.push(step);
    }
    steps
}

/// Only that version of a key.
pub(super) fn this_version(version: u64) -> Conditions {
    let versions = Versions::Of([ChangeId(version)].into_iter().collect());
    Conditions { if_match: Some(versions), if_none_match: None }
}

fn one(pick: &Pick, of: &[&'static str]) -> &'static str {
    of[pick.index(of.len())]
}

/// Those of `TAGS` that `mask` has a bit for.
pub(super) fn tags_of(mask: u8) -> Vec<&'static str> {
    (0..TAGS.len()).filter(|n| mask & 1 << n != 0).map(|n| TAGS[n]).collect()
}

/// Conditions of a kind that holds now and then.
fn conditions(newest: u64, picks: &[Pick; 7]) -> Conditions {
    let near = |pick: &Pick| ChangeId(newest.saturating_sub(pick.index(8) as u64));
    let versions = Versions::Of([near(&picks[3]), near(&picks[4])].into_iter().collect());
    match picks[6].index(8) {
        0 => Conditions { if_match: Some(Versions::Any), if_none_match: None },
        1 => Conditions { if_match: Some(versions), if_none_match: None },
        2 => Conditions { if_match: None, if_none_match: Some(Versions::Any) },
        3 => Conditions { if_match: None, if_none_match: Some(versions) },
        _ => Conditions::default(),
    }
}
