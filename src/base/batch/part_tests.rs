use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::base::{
    batch::{
        Action, Append, BatchError, Conditions, NumberedBatch, Replaced, SuffixMembers, Versions,
        encode,
    },
    ids::Timestamp,
};

const OWN: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef);
const OTHER: Uuid = Uuid::from_u128(7);

struct OfOwn;

impl Selection for OfOwn {
    fn has_tenant(&self, tenant: Uuid) -> bool {
        tenant == OWN
    }

    fn action(&self, action: &ActionRef<'_>) -> Option<Action> {
        match action {
            ActionRef::CreateTenant(OWN, _) | ActionRef::Redact(_) => action.to_action(),
            _ => None,
        }
    }
}

fn append(changes: &[(Option<Uuid>, &str)]) -> Append {
    let mut suffixes = Vec::new();
    let members = |tenant| SuffixMembers { tenant, tags: b"", ..SuffixMembers::default() };
    let spans = changes.iter().map(|(tenant, data)| {
        members(*tenant).write(&mut suffixes, |out| out.extend_from_slice(data.as_bytes()))
    });
    let spans = spans.collect();
    Append { spans, suffixes: suffixes.into(), ..Append::default() }
}

/// A batch of which the fourth change is refused; what is not of `OWN` has the first id of it, the third
/// and the last.
fn whole() -> (Batch, Skips, Previous) {
    let mut refused = append(&[(Some(OWN), "3")]);
    refused.conditions = Conditions { if_match: Some(Versions::Any), if_none_match: None };
    let commands = [
        append(&[(None, "0"), (Some(OWN), "1"), (Some(OTHER), "2")]).into(),
        refused.into(),
        append(&[(Some(OWN), "4")]).into(),
        append(&[(None, "5")]).into(),
    ];
    let batch = Batch::parse(encode(&commands, Timestamp(9))).unwrap();
    let skips = Skips::of([(3, true), (1, false), (1, true), (1, true)]);
    (batch, skips, Previous::of(vec![Replaced { number: 3, version: ChangeId(7) }]))
}

/// The part of that, as a program wrote it.
const PART: &[u8] = &[
    6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    3, 0, 0, 0, 1, 0, 0, 0, // gaps, replaced
    0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, // gaps
    1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, // replaced
    1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, // command
    58, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 116, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, // changes
];
const SUFFIXES: &[u8] = br#","tenant":"00000000-0000-0000-0123-456789abcdef","data":1},"tenant":"00000000-0000-0000-0123-456789abcdef","data":4}"#;

#[test]
fn a_part_has_what_was_accepted_of_its_tenants_and_says_where_others_are() {
    let (batch, skips, previous) = whole();
    let part = batch.part(&skips, &previous, &OfOwn);
    assert_eq!(part, [PART, SUFFIXES].concat());
    let batch = Batch::parse(part).unwrap();
    assert!(batch.is_part() && !batch.is_plain() && !batch.tells_previous());
    let previous = batch.replaced();
    let part = NumberedBatch { first: ChangeId(11), batch, skips: Skips::default(), previous };
    assert_eq!((part.changes(), part.last()), (5, ChangeId(15)));
    let found: Vec<_> = part.iter().map(|(id, it)| (id.0, it.tenant(), it.previous().0)).collect();
    assert_eq!(found, [(12, Some(OWN), 0), (14, Some(OWN), 7)]);
    for (id, place) in [(11, None), (12, Some(0)), (13, None), (14, Some(1)), (15, None)] {
        let id = ChangeId(id);
        assert_eq!(part.place(id), place);
        assert_eq!(part.change(id).is_left_out(), place.is_none());
    }
}

#[test]
fn commands_stay_between_the_changes_that_they_were_between() {
    let create = |tenant, name: &str| Action::CreateTenant { tenant, name: name.into() }.into();
    let commands = [
        append(&[(Some(OWN), "1")]).into(),
        create(OWN, "own"),
        create(OTHER, "other"),
        append(&[(Some(OWN), "2"), (None, "3")]).into(),
        Action::Redact(ChangeId(1)).into(),
    ];
    let batch = Batch::parse(encode(&commands, Timestamp(9))).unwrap();
    let part = batch.part(&Skips::default(), &Previous::default(), &OfOwn);
    let part = Batch::parse(part).unwrap();
    let kinds: Vec<_> = part.to_commands().iter().map(Command::changes).collect();
    assert_eq!(kinds, [1, 0, 1, 0]);
    assert_eq!(part.to_commands()[1], create(OWN, "own"));
    assert_eq!((part.changes(), part.passed()), (2, 1));
    // Of a batch in which nothing is of the tenant, that it was, and when.
    let others = Batch::parse(encode(&[append(&[(None, "1")]).into()], Timestamp(9))).unwrap();
    let part = others.part(&Skips::default(), &Previous::default(), &OfOwn);
    assert_eq!(part.len(), 40);
    let part = Batch::parse(part).unwrap();
    assert_eq!((part.at(), part.changes(), part.passed()), (Timestamp(9), 0, 1));
    assert_eq!(part.commands().count(), 0);
}

#[test]
fn a_part_that_is_damaged_is_refused_and_never_panics() {
    let good = [PART, SUFFIXES].concat();
    for cut in 0..good.len() {
        assert!(Batch::parse(&good[..cut]).is_err(), "cut at {cut}");
    }
    // Gaps and what was replaced are in order, and within.
    for (at, byte) in [(32, 2), (36, 0), (44, 1), (48, 3), (52, 2), (56, 2), (1, 1)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(matches!(Batch::parse(bad), Err(BatchError::Damaged(_))), "byte {at}");
    }
    // It is not decided any more whether a change happens.
    let mut conditional = good;
    conditional[69] = 2;
    assert!(Batch::parse(conditional).is_err());
}

proptest! {
    #[test]
    fn any_part_is_read_without_a_panic(
        at in 0..PART.len(), byte: u8, other in 0..PART.len(), second: u8, id in 0u32..9,
    ) {
        let mut bytes = [PART, SUFFIXES].concat();
        (bytes[at], bytes[other]) = (byte, second);
        if let Ok(batch) = Batch::parse(bytes) {
            let place = batch.change_with_id(id);
            if let Some(change) = place.filter(|change| *change < batch.changes()) {
                prop_assert!(!batch.is_part() || change + batch.passed_before(change) == id);
                let _ = batch.change(change);
            }
            let _ = batch.replaced();
        }
    }
}
