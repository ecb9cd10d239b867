use std::num::NonZeroU64;

use super::*;
use crate::checkpoint::{alter::given_to, text::Sum};
use crate::{
    base::{
        batch::{Action, Append, Batch, Command, Idempotency, encode, put_change},
        secret::SecretHash,
        tokens::{Grantor, Role, Scope, TokenId},
    },
    state::testing::ChangeText,
};

const TENANT: Uuid = Uuid::from_u128(1);
const SHELF: Uuid = Uuid::from_u128(2);

fn token(id: u64, scope: Scope) -> Token {
    Token {
        id: TokenId(id),
        name: "sensor".into(),
        rights: Rights { role: Role::Admin, scope },
        hash: SecretHash([id as u8; 32]),
        creator: if id > 1 { Grantor::Token(TokenId(1)) } else { Grantor::Root },
        created: Timestamp(77),
        expires: (id > 1).then_some(Timestamp(1 << 50)),
    }
}

#[test]
fn tokens_and_what_needs_none_are_read_back_without_their_secrets() {
    let bytes = written();
    let tokens = &read(&bytes).unwrap().state.index().clone().tokens;
    let all: Vec<Token> = tokens.all().iter().map(|token| (**token).clone()).collect();
    assert_eq!(all, [token(1, Scope::All), token(2, Scope::Tenant(TENANT))]);
    assert_eq!(tokens.anonymous(), Some(token(1, Scope::All).rights));
}

const QUOTA: TenantQuota = TenantQuota {
    writes_per_second: NonZeroU64::new(100),
    reads_per_second: None,
    waits: NonZeroU64::new(3),
    bytes_per_second: None,
};

/// A state with something of every kind, and the changes it came from.
fn state() -> (State, Vec<Vec<u8>>) {
    let key = |key, data| ChangeText {
        data: Some(data),
        tags: &["t\"ag"],
        ..ChangeText::of(TENANT, Some(SHELF), Some(key))
    };
    let idempotency = Some(Idempotency { key: [7; 16], request: [9; 16] });
    let commands: Vec<Command> = vec![
        Action::CreateTenant { tenant: TENANT, name: "foo".into() }.into(),
        Action::CreateCollection { tenant: TENANT, collection: SHELF, name: "bar".into() }.into(),
        Append::from(key("a\n\"b\\", "{\"x\":[1.50]}")).into(),
        Command { action: Action::Append(key("z", "1").into()), idempotency },
        Append::from(ChangeText::plain("\"of nobody\"")).into(),
        Append::from(ChangeText { ttl: 60, ..key("z", "\"\\ud800\"") }).into(),
        Action::CreateToken(Box::new(token(1, Scope::All))).into(),
        Action::CreateToken(Box::new(token(2, Scope::Tenant(TENANT)))).into(),
        Action::SetAnonymous(Some(token(1, Scope::All).rights), Some(Grantor::Root)).into(),
        Action::SetQuota(TENANT, QUOTA).into(),
    ];
    let mut state = State::default();
    let applied = state.apply(Batch::parse(encode(&commands, Timestamp(77))).unwrap());
    let sent = |(id, change): (ChangeId, crate::base::batch::ChangeRef<'_>)| {
        let mut out = Vec::new();
        put_change(&mut out, id, Timestamp(77), change.suffix);
        out
    };
    let changes = applied.batch.iter().map(sent).collect();
    (state, changes)
}

fn written() -> Vec<u8> {
    written_at(5)
}

/// A checkpoint for entries up to `index`.
pub(in crate::checkpoint) fn written_at(index: u64) -> Vec<u8> {
    let (state, changes) = state();
    let mut out = Vec::new();
    let raft = serde_json::value::to_raw_value(&[1, 2]).unwrap();
    let (cluster, log_id) = (ClusterId(Uuid::from_u128(3)), LogId { term: 4, index });
    let change = |id: ChangeId| Ok(changes[id.0 as usize - 1].clone());
    let lines = write(&mut out, &state, cluster, log_id, raft, change).unwrap();
    for line in lines {
        let text = &out[line.offset as usize..][..line.bytes as usize];
        assert_eq!(text, changes[line.id.0 as usize - 1]);
    }
    out
}

#[test]
fn a_checkpoint_that_is_given_to_another_cluster_is_the_same_otherwise() {
    let before = written();
    let other = ClusterId(Uuid::from_u128(33));
    let given = given_to(&before, other).unwrap();
    assert_eq!(ClusterId(read(&given).unwrap().head.cluster), other);
    assert_eq!(given_to(&given, ClusterId(Uuid::from_u128(3))).unwrap(), before);
    for at in (0..before.len()).step_by(7) {
        let mut damaged = before.clone();
        damaged[at] ^= 1;
        assert!(given_to(&damaged, other).is_err(), "byte {at}");
    }
}

/// The third format, which knew no tokens.
const FIXTURE_3: &str = concat!(
    r#"{"changeagent-checkpoint":3,"cluster":"00000000-0000-0000-0000-000000000003","term":4,"#,
    r#""index":5,"raft":[1,2],"last":4,"last_at":77,"tenants":1,"collections":1,"#,
    r#""requests":1,"keys":2}"#,
    "\n",
    r#"{"tenant":"00000000-0000-0000-0000-000000000001","name":"foo"}"#,
    "\n",
    r#"{"collection":"00000000-0000-0000-0000-000000000002","name":"bar","#,
    r#""tenant":"00000000-0000-0000-0000-000000000001"}"#,
    "\n",
    r#"{"key":"07070707070707070707070707070707","request":"09090909090909090909090909090909","#,
    r#""at":77,"result":{"Ok":{"Changes":{"first":2,"count":1,"replaced":false}}}}"#,
    "\n",
    r#"{"_id":1,"_ts":77,"tenant":"00000000-0000-0000-0000-000000000001","#,
    r#""collection":"00000000-0000-0000-0000-000000000002","key":"a\n\"b\\","#,
    r#""tags":["t\"ag"],"data":{"x":[1.50]}}"#,
    "\n",
    r#"{"_id":4,"_ts":77,"tenant":"00000000-0000-0000-0000-000000000001","#,
    r#""collection":"00000000-0000-0000-0000-000000000002","key":"z","ttl":60,"#,
    r#""tags":["t\"ag"],"data":"\ud800"}"#,
    "\n",
);

/// What the format has had since.
const COUNTS: &str = r#""collections":1,"tokens":2,"anonymous":{"role":"admin","scope":"all"},"#;
const TOKENS: &str = concat!(
    r#"{"id":"0000000000000001","name":"sensor","rights":{"role":"admin","scope":"all"},"#,
    r#""hash":"0101010101010101010101010101010101010101010101010101010101010101","#,
    r#""creator":null,"created":77,"expires":null}"#,
    "\n",
    r#"{"id":"0000000000000002","name":"sensor","rights":{"role":"admin","#,
    r#""scope":{"tenant":"00000000-0000-0000-0000-000000000001"}},"#,
    r#""hash":"0202020202020202020202020202020202020202020202020202020202020202","#,
    r#""creator":"0000000000000001","created":77,"expires":1125899906842624}"#,
    "\n",
);

#[test]
fn what_is_written_is_what_the_format_says_and_is_read_back() {
    let bytes = written();
    // What the format must go on being.
    let text = fixture_4().replace("checkpoint\":4", "checkpoint\":5");
    let text = text.replace(
        r#""name":"foo"}"#,
        r#""name":"foo","quota":{"writes_per_second":100,"waits":3}}"#,
    );
    let end = format!("{{\"crc32c\":{}}}\n", crc32c::crc32c(text.as_bytes()));
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!("{text}{end}"));
    let Checkpoint { head, state, lines } = read(&bytes).unwrap();
    assert_eq!(head.log_id(), LogId { term: 4, index: 5 });
    let position = Position { last: ChangeId(4), last_at: Timestamp(77) };
    assert_eq!((head.position(), state.position()), (position, position));
    let catalog = &state.index().catalog;
    let tenant = catalog.tenant_named("foo").unwrap();
    assert_eq!((tenant.id, tenant.quota()), (TENANT, QUOTA));
    let shelf = catalog.tenant(TENANT).unwrap().collection("bar").unwrap();
    assert_eq!(shelf.current("a\n\"b\\"), Some(ChangeId(1)));
    assert_eq!((shelf.current("z"), shelf.keys()), (Some(ChangeId(4)), 2));
    assert_eq!(catalog.expires_at(&shelf, ChangeId(4)), Some(Timestamp(60_000_077)));
    assert_eq!((catalog.expiring(), catalog.next_due()), (1, Some(Timestamp(60_000_077))));
    assert_eq!(lines.iter().map(|line| line.id.0).collect::<Vec<_>>(), [1, 4]);
    let asked = Idempotency { key: [7; 16], request: [9; 16] };
    assert!(state.index().idempotency().decision(&asked).unwrap().replayed);
    assert_eq!(state.index().applying_up_to(), ChangeId(4));
}

/// The fourth format, which knew no quotas.
fn fixture_4() -> String {
    let text = FIXTURE_3.replace("checkpoint\":3", "checkpoint\":4");
    let text = text.replace(r#""collections":1,"#, COUNTS);
    text.replace(r#"{"key":"07"#, &format!("{TOKENS}{}", r#"{"key":"07"#))
}

#[test]
fn the_fourth_format_is_still_read() {
    let text = fixture_4();
    let bytes = format!("{text}{{\"crc32c\":{}}}\n", crc32c::crc32c(text.as_bytes()));
    let state = read(bytes.as_bytes()).unwrap().state;
    assert!(state.index().catalog.tenant(TENANT).unwrap().quota().is_unlimited());
    assert_eq!(state.index().tokens.all().len(), 2);
}

/// The first format, which knew no time to live.
const FIXTURE_1: &str = concat!(
    r#"{"changeagent-checkpoint":1,"cluster":"00000000-0000-0000-0000-000000000003","term":4,"#,
    r#""index":5,"raft":[1,2],"last":4,"last_at":77,"tenants":1,"collections":1,"#,
    r#""requests":0,"keys":1}"#,
    "\n",
    r#"{"tenant":"00000000-0000-0000-0000-000000000001","name":"foo"}"#,
    "\n",
    r#"{"collection":"00000000-0000-0000-0000-000000000002","name":"bar","#,
    r#""tenant":"00000000-0000-0000-0000-000000000001"}"#,
    "\n",
    r#"{"_id":4,"_ts":77,"tenant":"00000000-0000-0000-0000-000000000001","#,
    r#""collection":"00000000-0000-0000-0000-000000000002","key":"z","#,
    r#""data":"\ud800"}"#,
    "\n",
);

/// The second format, in which no change says what it replaced; and the third, in which one may.
#[test]
fn changes_are_read_with_what_they_replaced_and_without() {
    for (format, prev) in [(2, ""), (3, r#""prev":3,"#)] {
        let text = FIXTURE_3.replace("checkpoint\":3", &format!("checkpoint\":{format}"));
        let text = text.replace(r#""_id":4,"_ts":77,"#, &format!(r#""_id":4,"_ts":77,{prev}"#));
        let bytes = format!("{text}{{\"crc32c\":{}}}\n", crc32c::crc32c(text.as_bytes()));
        let Checkpoint { state, lines, .. } = read(bytes.as_bytes()).unwrap();
        let shelf = state.index().catalog.collection(SHELF).unwrap();
        assert_eq!((shelf.current("z"), shelf.keys()), (Some(ChangeId(4)), 2));
        let line = &bytes.as_bytes()[lines[1].offset as usize..][..lines[1].bytes as usize];
        assert!(line.starts_with(format!(r#"{{"_id":4,"_ts":77,{prev}"tenant""#).as_bytes()));
    }
}

#[test]
fn the_first_format_is_still_read() {
    let bytes = format!("{FIXTURE_1}{{\"crc32c\":{}}}\n", crc32c::crc32c(FIXTURE_1.as_bytes()));
    let Checkpoint { state, lines, .. } = read(bytes.as_bytes()).unwrap();
    let catalog = &state.index().catalog;
    let shelf = catalog.collection(SHELF).unwrap();
    assert_eq!((shelf.current("z"), shelf.keys(), lines.len()), (Some(ChangeId(4)), 1, 1));
    assert_eq!((catalog.expiring(), state.last()), (0, ChangeId(4)));
}

#[test]
fn what_no_state_amounts_to_is_an_error() {
    let text = String::from_utf8(written()).unwrap();
    let refused = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        let content = &changed[..changed.rfind("{\"crc32c").unwrap()];
        let sum = crc32c::crc32c(content.as_bytes());
        read(format!("{content}{{\"crc32c\":{sum}}}\n").as_bytes()).err().unwrap()
    };
    assert!(refused("{\"_id\":4", "{\"_id\":1").contains("of two keys"));
    assert!(refused("{\"_id\":4", "{\"_id\":5").contains("beyond the last"));
    assert!(refused("\"key\":\"z\"", r#""key":"a\n\"b\\""#).contains("of the same key"));
    assert!(refused("\"keys\":2", "\"keys\":99999999999999").contains("cannot be read"));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let good = written();
    for cut in 0..good.len() {
        assert!(read(&good[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(read(&bad).is_err(), "changed at {at}");
    }
    let more = FIXTURE_3.replace("\"keys\":2", "\"keys\":1000000000000000000");
    let more = format!("{more}{{\"crc32c\":{}}}\n", crc32c::crc32c(more.as_bytes()));
    assert!(read(more.as_bytes()).is_err(), "fewer keys than its head says");
    let later = String::from_utf8(good).unwrap().replace("checkpoint\":5", "checkpoint\":6");
    let error = read(later.as_bytes()).err().unwrap();
    assert!(error.contains("format 6"), "{error}");
}

#[test]
fn the_checksum_of_pieces_is_that_of_the_whole() {
    let whole = written();
    let in_pieces =
        |bytes: &[u8], length: usize| bytes.chunks(length).fold(Sum::default(), Sum::with).end();
    for length in [1, 7, 64, 100, whole.len()] {
        assert_eq!(in_pieces(&whole, length), Ok(()));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            // Some digits are written in two ways.
            let is_found = in_pieces(&damaged, length).is_err();
            assert_eq!(is_found, read(&damaged).is_err(), "byte {at} in pieces of {length}");
        }
        assert!(in_pieces(&whole[..whole.len() - 1], length).is_err());
    }
    assert!(Sum::default().end().is_err());
}
