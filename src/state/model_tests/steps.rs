//! Random commands that mostly make sense one after the other.

use proptest::{prelude::*, sample::Index as Pick};
use uuid::Uuid;

use crate::{
    base::{
        batch::{Append, Command, Conditions, Idempotency, Versions},
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
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Tenant(Uuid, &'static str),
    Collection(Uuid, Uuid, &'static str),
    Write { places: Vec<(Place, Vec<&'static str>)>, conditions: Conditions },
    Delete { place: Place, conditions: Conditions },
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
            data,
        };
        match &self.what {
            What::Tenant(..) | What::Collection(..) => Vec::new(),
            What::Write { places, .. } => {
                places.iter().map(|(place, tags)| text(place, tags, Some(data))).collect()
            }
            What::Delete { place, .. } => vec![text(place, &[], None)],
        }
    }

    pub(super) fn command(&self) -> Command {
        let command = match &self.what {
            What::Tenant(tenant, name) => create_tenant(*tenant, name),
            What::Collection(tenant, id, name) => create_collection(*tenant, *id, name),
            What::Write { conditions, .. } | What::Delete { conditions, .. } => {
                let texts = append_all(&self.texts(&self.number.to_string()));
                Append { conditions: conditions.clone(), ..texts }.into()
            }
        };
        let idempotency = self
            .idempotency
            .map(|(key, request)| Idempotency { key: [key; 16], request: [request; 16] });
        Command { idempotency, ..command }
    }
}

/// One step before it is known what there is for it to name.
type Draft = (u8, [Pick; 6], Vec<(u8, Pick, Pick, u8)>, Option<(u8, u8)>, bool);

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let more = proptest::collection::vec(any::<(u8, Pick, Pick, u8)>(), 1..4);
    let idempotency = proptest::option::weighted(0.2, (0u8..6, 0u8..2));
    let draft = (0u8..22, any::<[Pick; 6]>(), more, idempotency, proptest::bool::weighted(0.1));
    proptest::collection::vec(draft, 1..80).prop_map(|drafts| resolve(&drafts))
}

/// Makes steps that mostly name what may be there.
fn resolve(drafts: &[Draft]) -> Vec<Step> {
    // Something that never is, and what any step so far asked to create.
    let mut tenants = vec![Uuid::from_u128(1000)];
    let mut collections = vec![(tenants[0], Uuid::from_u128(1001))];
    let (mut steps, mut hour) = (Vec::new(), 1);
    for (number, (kind, picks, more, idempotency, later)) in drafts.iter().enumerate() {
        let id = Uuid::from_u128(number as u128 + 1);
        let tenant = *picks[0].get(&tenants);
        let (of, collection) = *picks[1].get(&collections);
        let key = Some(one(&picks[2], &KEYS));
        let keyed = Place { tenant: Some(of), collection: Some(collection), key };
        let conditions = conditions(number as u64, picks);
        let place = |(kind, a, b, _): &(u8, Pick, Pick, u8)| match kind % 6 {
            0 => Place::default(),
            1 => Place { tenant: Some(*a.get(&tenants)), ..Place::default() },
            kind => {
                let (tenant, collection) = *a.get(&collections);
                let key = (kind > 2).then(|| one(b, &KEYS));
                Place { tenant: Some(tenant), collection: Some(collection), key }
            }
        };
        // Each tag on one change in four.
        let tagged = |one: &(u8, Pick, Pick, u8)| (place(one), tags_of(one.3 & one.3 >> 4));
        let what = match kind {
            0..3 => What::Tenant(id, one(&picks[2], &TENANTS)),
            3..7 => What::Collection(tenant, id, one(&picks[2], &COLLECTIONS)),
            7..12 => What::Write {
                places: more.iter().map(tagged).collect(),
                conditions: Conditions::default(),
            },
            12..17 => What::Write { places: vec![(keyed, Vec::new())], conditions },
            17..20 => What::Delete { place: keyed, conditions },
            20 => What::Delete {
                place: Place { key: None, ..keyed },
                conditions: Conditions::default(),
            },
            _ => What::Delete {
                place: Place { tenant: Some(tenant), ..Place::default() },
                conditions: Conditions::default(),
            },
        };
        match what {
            What::Tenant(id, _) => tenants.push(id),
            What::Collection(tenant, id, _) => collections.push((tenant, id)),
            _ => {}
        }
        hour += u64::from(*later) * (1 + picks[5].index(30) as u64);
        steps.push(Step { what, idempotency: *idempotency, hour, number });
    }
    steps
}

fn one(pick: &Pick, of: &[&'static str]) -> &'static str {
    of[pick.index(of.len())]
}

/// Those of `TAGS` that `mask` has a bit for.
pub(super) fn tags_of(mask: u8) -> Vec<&'static str> {
    (0..TAGS.len()).filter(|n| mask & 1 << n != 0).map(|n| TAGS[n]).collect()
}

/// Conditions of a kind that holds now and then.
fn conditions(newest: u64, picks: &[Pick; 6]) -> Conditions {
    let near = |pick: &Pick| ChangeId(1 + pick.index(newest as usize + 3) as u64);
    let versions = Versions::Of([near(&picks[3]), near(&picks[4])].into_iter().collect());
    match picks[5].index(8) {
        0 => Conditions { if_match: Some(Versions::Any), if_none_match: None },
        1 => Conditions { if_match: Some(versions), if_none_match: None },
        2 => Conditions { if_match: None, if_none_match: Some(Versions::Any) },
        3 => Conditions { if_match: None, if_none_match: Some(versions) },
        _ => Conditions::default(),
    }
}
