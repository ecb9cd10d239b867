use super::{
    layout::{COMMAND_BYTES, HEADER_BYTES, NEWEST_VERSION},
    *,
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    quota::TenantQuota,
    retention::{Beginning, TenantRetention},
    secret::SecretHash,
    tokens::{Grantor, Rights, Role, Scope, Token, TokenId},
    ttl::Ttl,
};
use proptest::prelude::*;
use smallvec::smallvec;
use std::num::NonZeroU64;
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef);
const COLLECTION: Uuid = Uuid::from_u128(u128::MAX - 5);

fn append(changes: &[(SuffixMembers<'_>, &str)]) -> Append {
    let mut suffixes = Vec::new();
    let spans = changes
        .iter()
        .map(|(members, data)| members.write(&mut suffixes, |out| out.extend(data.bytes())))
        .collect();
    Append { spans, suffixes: suffixes.into(), conditions: Conditions::default() }
}

fn plain(data: &str) -> Append {
    append(&[(SuffixMembers::default(), data)])
}

fn of_key(key: &str) -> SuffixMembers<'_> {
    SuffixMembers {
        tenant: Some(TENANT),
        collection: Some(COLLECTION),
        key: Some(key),
        ttl: None,
        tags: br#""a""#,
    }
}

/// A command of every kind.
fn every_kind() -> Vec<Command> {
    let mut deletion = Vec::new();
    let members = SuffixMembers { tenant: Some(TENANT), ..SuffixMembers::default() };
    let span = members.write_deletion(&mut deletion);
    let mut conditional = append(&[(of_key("k\n\"é"), "1")]);
    conditional.conditions = Conditions {
        if_match: Some(Versions::Of(smallvec![ChangeId(7), ChangeId(u64::MAX)])),
        if_none_match: Some(Versions::Any),
    };
    let idempotency = Some(Idempotency { key: [1; 16], request: [2; 16] });
    let name: Box<str> = "bar".into();
    vec![
        plain("{}").into(),
        Action::CreateTenant { tenant: TENANT, name: "foo".into() }.into(),
        Command { action: Action::Append(conditional), idempotency },
        Command {
            action: Action::CreateCollection { tenant: TENANT, collection: COLLECTION, name },
            idempotency,
        },
        Append { spans: smallvec![span], suffixes: deletion.into(), ..Append::default() }.into(),
        Command { action: Action::Redact(ChangeId(3)), idempotency },
        Command { action: Action::SetRetention(TENANT, KEPT), idempotency },
        Action::BeginAt(TENANT, Beginning { retention: KEPT, first: ChangeId(1 << 40) }).into(),
    ]
    .into_iter()
    .chain(about_tokens(idempotency))
    .chain([Command { action: Action::SetQuota(TENANT, QUOTA), idempotency }])
    .collect()
}

/// Those that only later versions know.
fn about_tokens(idempotency: Option<Idempotency>) -> [Command; 8] {
    let rights = Rights { role: Role::Append, scope: Scope::Tenant(TENANT) };
    let token = Token {
        id: TokenId(7),
        name: "sensor é".into(),
        rights,
        hash: SecretHash([9; 32]),
        creator: Grantor::Token(TokenId(u64::MAX - 1)),
        created: Timestamp::default(),
        expires: Some(Timestamp(1 << 50)),
    };
    let by_root = Token { creator: Grantor::Root, expires: None, name: "".into(), ..token.clone() };
    let by_nobody = Token { creator: Grantor::Anonymous, ..by_root.clone() };
    [
        Command { action: Action::CreateToken(Box::new(token)), idempotency },
        Action::CreateToken(Box::new(by_root)).into(),
        Action::RevokeToken(TokenId(1 << 63)).into(),
        Command { action: Action::SetAnonymous(Some(rights), None), idempotency },
        Action::SetAnonymous(None, None).into(),
        Action::CreateToken(Box::new(by_nobody)).into(),
        Command { action: Action::SetAnonymous(Some(rights), Some(Grantor::Root)), idempotency },
        Action::SetAnonymous(None, Some(Grantor::Token(TokenId(7)))).into(),
    ]
}

const QUOTA: TenantQuota = TenantQuota {
    writes_per_second: NonZeroU64::new(100),
    reads_per_second: None,
    waits: NonZeroU64::new(3),
    bytes_per_second: NonZeroU64::new(1 << 40),
};
const KEPT: TenantRetention = TenantRetention { changes: NonZeroU64::new(7), age: None };

fn check_reads_back(batch: &Batch, commands: &[Command]) {
    let read: Vec<_> = batch.commands().collect();
    assert_eq!(read.len(), commands.len());
    for (read, command) in read.iter().zip(commands) {
        assert_eq!((read.changes, read.idempotency), (command.changes(), command.idempotency));
        match (&read.action, &command.action) {
            (ActionRef::Append(conditions), Action::Append(append)) => {
                assert_eq!(*conditions, append.conditions);
            }
            (ActionRef::CreateTenant(id, name), Action::CreateTenant { tenant, name: want }) => {
                assert_eq!((id, *name), (tenant, &**want));
            }
            (
                ActionRef::CreateCollection(of, id, name),
                Action::CreateCollection { tenant, collection, name: want },
            ) => assert_eq!((of, id, *name), (tenant, collection, &**want)),
            (ActionRef::Redact(id), Action::Redact(want)) => assert_eq!(id, want),
            (ActionRef::SetRetention(id, kept), Action::SetRetention(tenant, want)) => {
                assert_eq!((id, kept), (tenant, want));
            }
            (ActionRef::BeginAt(id, beginning), Action::BeginAt(tenant, want)) => {
                assert_eq!((id, beginning), (tenant, want));
            }
            (ActionRef::SetQuota(id, quota), Action::SetQuota(tenant, want)) => {
                assert_eq!((id, quota), (tenant, want));
            }
            (ActionRef::CreateToken(token), Action::CreateToken(want)) => assert_eq!(token, want),
            (ActionRef::RevokeToken(id), Action::RevokeToken(want)) => assert_eq!(id, want),
            (ActionRef::SetAnonymous(rights, by), Action::SetAnonymous(want, grantor)) => {
                assert_eq!((rights, by), (want, grantor));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_batch_about_tokens_or_quotas_has_a_version_of_its_own() {
    let version = |commands: &[Command]| encode(commands, Timestamp(1))[0];
    for command in every_kind() {
        let want = match command.action {
            Action::CreateToken(ref token) if token.creator == Grantor::Anonymous => 9,
            Action::SetAnonymous(_, Some(_)) | Action::SetQuota(..) => 9,
            Action::CreateToken(_) | Action::RevokeToken(_) | Action::SetAnonymous(..) => 7,
            _ => 5,
        };
        assert_eq!(version(std::slice::from_ref(&command)), want, "{command:?}");
    }
    let all = encode(&every_kind(), Timestamp(1));
    assert_eq!(all[0], 9);
    assert!(Batch::parse(all.clone()).unwrap().tells_previous());
    // Earlier versions do not know these commands.
    for version in 2..=5 {
        let mut earlier = encode(&about_tokens(None), Timestamp(1)).to_vec();
        earlier[0] = version;
        assert!(matches!(Batch::parse(earlier), Err(BatchError::Damaged(_))), "{version}");
    }
    for version in [2, 3, 4, 5, 7] {
        let mut earlier = encode(&[Action::SetQuota(TENANT, QUOTA).into()], Timestamp(1)).to_vec();
        earlier[0] = version;
        assert!(matches!(Batch::parse(earlier), Err(BatchError::Damaged(_))), "{version}");
    }
}

/// Bytes of version 7, as a program wrote them: a token is revoked.
const VERSION_7: &[u8] = &[
    7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, // command
    3, 0, 0, 0, 0, 0, 0, 0, // arguments
];

#[test]
fn version_7_is_still_read() {
    let revocation = Action::RevokeToken(TokenId(3)).into();
    assert_eq!(encode(&[revocation], Timestamp(9)), VERSION_7);
    let batch = Batch::parse(VERSION_7).unwrap();
    assert!(batch.tells_previous());
    let action = batch.commands().next().unwrap().action;
    assert_eq!(action, ActionRef::RevokeToken(TokenId(3)));
}

/// Bytes of version 9: a tenant gets a quota.
const VERSION_9: &[u8] = &[
    9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    10, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, // command
    0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, // tenant
    100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // writes, reads
    3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, // waits, bytes
];

#[test]
fn a_quota_is_written_as_the_format_says() {
    let set = Action::SetQuota(TENANT, QUOTA).into();
    assert_eq!(encode(&[set], Timestamp(9)), VERSION_9);
    for cut in 24..VERSION_9.len() {
        assert!(Batch::parse(&VERSION_9[..cut]).is_err(), "{cut}");
    }
}

/// Bytes of version 9: the token 7 says that requests without one may read everything.
const GRANT: &[u8] = &[
    9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    11, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, // command
    7, 0, 0, 0, 0, 0, 0, 0, // who
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // role, scope, tenant
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // collection
];

#[test]
fn who_gives_rights_is_written_as_the_format_says() {
    let rights = Rights { role: Role::Read, scope: Scope::All };
    let grant = Action::SetAnonymous(Some(rights), Some(Grantor::Token(TokenId(7)))).into();
    assert_eq!(encode(&[grant], Timestamp(9)), GRANT);
    let mut earlier = GRANT.to_vec();
    earlier[0] = 7;
    assert!(Batch::parse(earlier).is_err(), "no earlier version has it");
}

#[test]
fn damaged_commands_about_tokens_are_refused() {
    for command in about_tokens(None) {
        let whole = encode(std::slice::from_ref(&command), Timestamp(1)).to_vec();
        let arguments = HEADER_BYTES + COMMAND_BYTES;
        for length in 0..whole.len() - arguments {
            let mut cut = whole[..arguments + length].to_vec();
            for at in [12, HEADER_BYTES + 8] {
                cut[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
            }
            let named = matches!(command.action, Action::CreateToken(_)) && length >= 90;
            assert_eq!(Batch::parse(cut).is_ok(), named && length != 98, "{command:?} {length}");
        }
    }
}

#[test]
fn what_is_encoded_is_read_back() {
    let commands = every_kind();
    let bytes = encode(&commands, Timestamp(u64::MAX - 5));
    let sum: usize = commands.iter().map(Command::encoded_bytes).sum();
    assert_eq!(bytes.len(), HEADER_BYTES + sum);
    let batch = Batch::parse(bytes).unwrap();
    assert_eq!((batch.at(), batch.changes()), (Timestamp(u64::MAX - 5), 3));
    assert!(!batch.is_plain());
    check_reads_back(&batch, &commands);
    let first = batch.change(0);
    assert_eq!((first.suffix, first.tags), (&br#","data":{}}"#[..], &b""[..]));
    assert!(first.is_plain() && first.key().is_none() && first.tenant().is_none());
    let second = batch.change(1);
    assert_eq!(second.tenant(), Some(TENANT));
    assert_eq!(second.collection(), Some(COLLECTION));
    assert_eq!(second.key().as_deref(), Some("k\n\"é"));
    assert_eq!((second.tags, second.is_deletion()), (&br#""a""#[..], false));
    let suffix = format!(
        r#","tenant":"{TENANT}","collection":"{COLLECTION}","key":"k\n\"é","tags":["a"],"data":1}}"#
    );
    assert_eq!(second.suffix, suffix.as_bytes());
    let third = batch.change(2);
    assert!(third.is_deletion() && third.tenant() == Some(TENANT) && third.key().is_none());
    assert_eq!(third.suffix, format!(r#","tenant":"{TENANT}","deleted":true}}"#).as_bytes());
    let again = Batch::parsed_before(batch.bytes().clone()).unwrap();
    assert_eq!((again.at(), again.changes()), (batch.at(), 3));
    assert!((0..3).all(|n| again.change(n) == batch.change(n)));
    assert!(Batch::parsed_before(&[1; HEADER_BYTES - 1]).is_none());
}

#[test]
fn a_batch_says_whether_it_is_plain() {
    let is_plain =
        |commands: &[Command]| Batch::parse(encode(commands, Timestamp(1))).unwrap().is_plain();
    assert!(is_plain(&[plain("1").into(), plain("2").into()]));
    for command in every_kind().split_off(1) {
        assert!(!is_plain(&[plain("1").into(), command]));
    }
    let tagged = SuffixMembers { tags: br#""a""#, ..SuffixMembers::default() };
    assert!(!is_plain(&[append(&[(tagged, "1")]).into()]));
}

/// Bytes of version 1, as a program wrote them: two commands, three changes.
const VERSION_1: &[u8] = &[
    1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // commands
    10, 0, 0, 0, 0, 0, 0, 0, 33, 0, 0, 0, 9, 0, 3, 0, 43, 0, 0, 0, 0, 0, 0, 0, // changes
];

#[test]
fn version_1_is_still_read() {
    let suffixes = br#","data":1},"tags":["a"],"data":2},"data":3}"#;
    let batch = Batch::parse([VERSION_1, suffixes].concat()).unwrap();
    assert_eq!((batch.at(), batch.changes(), batch.is_plain()), (Timestamp(9), 3, false));
    let commands: Vec<_> = batch.commands().collect();
    assert_eq!(commands.iter().map(|command| command.changes).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(batch.change(0).suffix, br#","data":1}"#);
    assert_eq!(batch.change(1).suffix, br#","tags":["a"],"data":2}"#);
    assert_eq!(batch.change(1).tags, br#""a""#);
    assert_eq!(batch.change(2).suffix, br#","data":3}"#);
    assert!(batch.change(2).is_plain());
}

/// Bytes of version 2, as a program wrote them: one plain change.
const VERSION_2: &[u8] = &[
    2, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // command
    10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // change
];

#[test]
fn version_2_is_still_read_and_remembers_what_it_did() {
    let batch = Batch::parse([VERSION_2, br#","data":1}"#].concat()).unwrap();
    assert_eq!((batch.at(), batch.changes(), batch.is_plain()), (Timestamp(9), 1, true));
    assert_eq!(batch.change(0).suffix, br#","data":1}"#);
    assert!(batch.remembers_missing());
    let now = Batch::parse(encode(&[plain("1").into()], Timestamp(9))).unwrap();
    assert!(!now.remembers_missing());
}

/// Bytes of version 3, as a program wrote them: one plain change.
const VERSION_3: &[u8] = &[
    3, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // command
    10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // change
];

/// Bytes of version 4, as a program wrote them: one plain change.
const VERSION_4: &[u8] = &[
    4, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
    1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // command
    10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // change
];

#[test]
fn version_4_is_still_read_and_does_not_tell_what_was_replaced() {
    let batch = Batch::parse([VERSION_4, br#","data":1}"#].concat()).unwrap();
    assert_eq!((batch.at(), batch.changes(), batch.is_plain()), (Timestamp(9), 1, true));
    assert_eq!(batch.change(0).suffix, br#","data":1}"#);
    let mut of_4 = encode(&expiring(), Timestamp(9)).to_vec();
    assert!(Batch::parse(of_4.clone()).unwrap().tells_previous());
    of_4[0] = 4;
    let of_4 = Batch::parse(of_4.into()).unwrap();
    assert!(!of_4.tells_previous());
    check_reads_back(&of_4, &expiring());
}

#[test]
fn what_a_change_replaced_is_shown_behind_its_time_and_read_past() {
    let mut suffixes = Vec::new();
    let members = SuffixMembers { tags: b"", ..of_key("k\n") };
    members.write(&mut suffixes, |out| out.push(b'1'));
    let text = Text { previous: ChangeId(7), stored: &suffixes, rest: b"" };
    let mut sent = Vec::new();
    put_change(&mut sent, ChangeId(12), Timestamp(3), text);
    assert!(sent.starts_with(br#"{"_id":12,"_ts":3,"prev":7,"tenant":""#), "{sent:?}");
    assert!(sent.len() <= HEAD_BYTES_MAX + text.len());
    let parts = suffix_parts(&sent).unwrap();
    assert_eq!((parts.collection, &*parts.key, parts.ttl), (COLLECTION, "k\n", None));
    assert_eq!(tenant_of(&sent), Some(TENANT));
    let of_nobody = format!(r#"{{"_id":12,"_ts":3,"data":{{"a":1,"tenant":"{TENANT}"}}}}"#);
    assert_eq!((tenant_of(of_nobody.as_bytes()), tenant_of(b"{}")), (None, None));
    let redacted = redacted_change(&sent).unwrap();
    assert!(redacted.ends_with(br#""key":"k\n","redacted":true}"#));
    assert!(redacted.starts_with(br#"{"_id":12,"_ts":3,"prev":7,"tenant":""#));
}

#[test]
fn version_3_is_still_read_and_knows_no_time_to_live() {
    let batch = Batch::parse([VERSION_3, br#","data":1}"#].concat()).unwrap();
    assert_eq!((batch.at(), batch.changes(), batch.is_plain()), (Timestamp(9), 1, true));
    assert!(!batch.remembers_missing());
    assert_eq!(batch.change(0).suffix, br#","data":1}"#);
    let mut of_4 = encode(&expiring(), Timestamp(9)).to_vec();
    assert!(Batch::parse(of_4.clone()).is_ok());
    of_4[0] = 3;
    assert!(matches!(Batch::parse(of_4), Err(BatchError::Damaged(_))));
}

/// A write of a key with a time to live, and the expiry of that.
fn expiring() -> Vec<Command> {
    let ttl = Ttl::new(86_400);
    let written = append(&[(SuffixMembers { ttl, ..of_key("k\n") }, "1")]);
    let mut suffixes = Vec::new();
    let members = SuffixMembers { tags: b"", ..of_key("k\n") };
    let span = members.write_expiry(&mut suffixes);
    let conditions = Conditions {
        if_match: Some(Versions::Of(smallvec![ChangeId(7)])),
        ..Conditions::default()
    };
    let expired = Append { spans: smallvec![span], suffixes: suffixes.into(), conditions };
    vec![written.into(), expired.into()]
}

#[test]
fn a_time_to_live_and_its_end_are_read_back() {
    let commands = expiring();
    let batch = Batch::parse(encode(&commands, Timestamp(9))).unwrap();
    check_reads_back(&batch, &commands);
    let (written, expired) = (batch.change(0), batch.change(1));
    assert_eq!((written.ttl(), written.is_deletion()), (Ttl::new(86_400), false));
    assert_eq!((written.key().as_deref(), written.tags), (Some("k\n"), &br#""a""#[..]));
    let head = format!(r#","tenant":"{TENANT}","collection":"{COLLECTION}","key":"k\n""#);
    let text = format!(r#"{head},"ttl":86400,"tags":["a"],"data":1}}"#);
    assert_eq!(written.suffix, text.as_bytes());
    assert!(expired.is_deletion() && expired.is_expiry() && expired.ttl().is_none());
    let text = format!(r#"{head},"deleted":true,"expired":true}}"#);
    assert_eq!(expired.suffix, text.as_bytes());
    let mut sent = Vec::new();
    put_change(&mut sent, ChangeId(1), batch.at(), written.suffix);
    let parts = suffix_parts(&sent).unwrap();
    assert_eq!((parts.collection, &*parts.key, parts.ttl), (COLLECTION, "k\n", Ttl::new(86_400)));
}

#[test]
fn a_time_to_live_of_no_key_or_out_of_bounds_is_damage() {
    for (from, to) in [("86400", "00000"), ("\"ttl\"", "\"tTl\""), ("86400", "8x400")] {
        let bytes = encode(&expiring(), Timestamp(9)).to_vec();
        let at = bytes.windows(from.len()).position(|text| text == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        assert!(matches!(Batch::parse(changed), Err(BatchError::Damaged(_))), "{to}");
    }
    for flags in [flag::TTL, flag::EXPIRED, flag::DELETED | flag::EXPIRED | flag::TENANT] {
        let mut append = plain("1");
        append.spans[0].flags = flags;
        assert!(Batch::parse(encode(&[append.into()], Timestamp(9))).is_err(), "{flags}");
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let good = encode(&every_kind(), Timestamp(7));
    for cut in 0..good.len() {
        assert!(Batch::parse(good.slice(..cut)).is_err(), "cut at {cut}");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(batch) = Batch::parse(bad) {
            for n in 0..batch.changes() {
                let change = batch.change(n);
                let _ = (change.tenant(), change.collection(), change.key());
                assert!(change.suffix.len() < good.len());
            }
            assert!(batch.commands().count() > 0);
        }
    }
    let mut later = good.to_vec();
    later[0] = NEWEST_VERSION + 1;
    assert_eq!(Batch::parse(later).unwrap_err(), BatchError::Version(NEWEST_VERSION + 1));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..12) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Ok(batch) = Batch::parse(bytes) {
            (0..batch.changes()).for_each(|n| drop((batch.change(n).key(), batch.change(n).ttl())));
        }
    }

    #[test]
    fn conditions_are_read_back(ids in proptest::collection::vec(any::<u64>(), 0..5), kind in 0..4u8) {
        let of = Some(Versions::Of(ids.into_iter().map(ChangeId).collect()));
        let (if_match, if_none_match) = match kind {
            0 => (of, None),
            1 => (None, of),
            2 => (Some(Versions::Any), of),
            _ => (of.clone(), of),
        };
        let conditions = Conditions { if_match, if_none_match };
        let mut bytes = Vec::new();
        conditions.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), conditions.encoded_bytes());
        prop_assert_eq!(Conditions::decode(&mut &bytes[..]), Some(conditions));
    }
}

#[test]
fn conditions_hold_or_not() {
    let id = ChangeId;
    let of = |ids: &[u64]| Some(Versions::Of(ids.iter().copied().map(id).collect()));
    for (if_match, if_none_match, current, holds) in [
        (None, None, None, true),
        (Some(Versions::Any), None, None, false),
        (Some(Versions::Any), None, Some(id(3)), true),
        (of(&[3, 4]), None, Some(id(4)), true),
        (of(&[3, 4]), None, Some(id(5)), false),
        (of(&[3]), None, None, false),
        (of(&[]), None, Some(id(5)), false),
        (None, Some(Versions::Any), None, true),
        (None, Some(Versions::Any), Some(id(1)), false),
        (None, of(&[3]), Some(id(3)), false),
        (None, of(&[3]), Some(id(4)), true),
        (None, of(&[3]), None, true),
        (of(&[3]), of(&[3]), Some(id(3)), false),
    ] {
        let conditions = Conditions { if_match, if_none_match };
        assert_eq!(conditions.hold(current), holds, "{conditions:?} {current:?}");
    }
}

#[test]
fn a_batch_of_commands_is_what_their_bytes_are_read_as() {
    let commands = every_kind();
    let (made, read) = (Batch::of(&commands, Timestamp(7)), encode(&commands, Timestamp(7)));
    let read = Batch::parse(read).unwrap();
    assert_eq!(format!("{made:?}"), format!("{read:?}"));
    assert_eq!(made.to_commands(), commands);
}
