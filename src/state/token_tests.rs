//! Commands about tokens, against a model; and one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    base::{
        batch::{Action, Append, Batch, Command, encode},
        outcome::Decision,
        secret::SecretHash,
        tokens::{Rights, Role},
    },
    state::{
        State,
        testing::{ChangeText, create_collection, create_tenant},
    },
};

const ACME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const USERS: Uuid = Uuid::from_u128(3);
const OF_USERS: Scope = Scope::Collection { tenant: ACME, collection: USERS };

fn token(id: u64, role: Role, scope: Scope, creator: Option<u64>, expires: Option<u64>) -> Token {
    Token {
        id: TokenId(id),
        name: format!("n{id}").into(),
        rights: Rights { role, scope },
        hash: SecretHash([id as u8; 32]),
        creator: creator.map_or(Grantor::Root, |id| Grantor::Token(TokenId(id))),
        created: Timestamp::default(),
        expires: expires.map(Timestamp),
    }
}

fn create(token: &Token) -> Command {
    Action::CreateToken(Box::new(token.clone())).into()
}

fn anonymous(rights: Option<Rights>, by: Grantor) -> Command {
    Action::SetAnonymous(rights, Some(by)).into()
}

fn revoke(id: u64) -> Command {
    Action::RevokeToken(TokenId(id)).into()
}

fn decide(state: &mut State, at: u64, commands: &[Command]) -> Vec<Decision> {
    let batch = Batch::parse(encode(commands, Timestamp(at))).unwrap();
    state.apply(batch).decisions.unwrap()
}

/// A state with two tenants, and a collection of the first.
fn state() -> State {
    let mut state = State::default();
    let commands = [
        create_tenant(ACME, "acme"),
        create_tenant(OTHER, "other"),
        create_collection(ACME, USERS, "users"),
    ];
    decide(&mut state, 1, &commands);
    state
}

fn ids(state: &State) -> Vec<u64> {
    state.index().tokens.all().iter().map(|token| token.id.0).collect()
}

#[test]
fn a_token_is_there_until_it_is_revoked() {
    let mut state = state();
    let one = token(7, Role::Append, OF_USERS, None, None);
    let decisions = decide(&mut state, 5, &[create(&one), create(&one), revoke(8)]);
    assert_eq!(decisions[0], Ok(Effect::Token(TokenId(7))).into());
    assert_eq!(decisions[1], Err(Refusal::TooManyTokens).into(), "the id is another's");
    assert_eq!(decisions[2], Err(Refusal::NotFound(Missing::Token)).into());
    let tokens = &state.index().tokens;
    assert_eq!(*tokens.get(TokenId(7)).unwrap(), Token { created: Timestamp(5), ..one });
    let generation = tokens.generation();
    assert_eq!(decide(&mut state, 6, &[revoke(7)]), [Ok(Effect::Revoked(TokenId(7))).into()]);
    let tokens = &state.index().tokens;
    assert!(tokens.get(TokenId(7)).is_none());
    assert!(tokens.generation() > generation, "whoever remembers it looks again");
    assert_eq!(state.last().0, 0, "no change records it");
}

#[test]
fn no_token_gives_more_than_its_creator_may_nor_after_that_is_gone() {
    let mut state = state();
    let admin = token(1, Role::Admin, Scope::Tenant(ACME), None, Some(100));
    let writer = token(2, Role::Write, Scope::All, None, None);
    decide(&mut state, 5, &[create(&admin), create(&writer)]);
    let by = |creator, role, scope| create(&token(9, role, scope, Some(creator), None));
    let no_right: Decision = Err(Refusal::NoRight).into();
    for (creator, role, scope, at) in [
        (1, Role::Admin, Scope::All, 6),
        (1, Role::Read, Scope::Tenant(OTHER), 6),
        (2, Role::Read, Scope::All, 6),
        (3, Role::Read, Scope::Tenant(ACME), 6),
        (1, Role::Read, Scope::Tenant(ACME), 100),
    ] {
        assert_eq!(decide(&mut state, at.max(6), &[by(creator, role, scope)]), [no_right]);
    }
    let mut state = self::state();
    decide(&mut state, 5, &[create(&admin)]);
    // In one batch with what takes its right away.
    let commands =
        [by(1, Role::Admin, OF_USERS), revoke(1), revoke(9), by(1, Role::Read, OF_USERS)];
    let decisions = decide(&mut state, 6, &commands);
    assert!(decisions[..3].iter().all(|decision| decision.result.is_ok()), "{decisions:?}");
    assert_eq!(decisions[3], no_right);
}

#[test]
fn a_scope_must_be_there_and_takes_its_tokens_along() {
    let mut state = state();
    let nobody = Uuid::from_u128(99);
    let missing = [
        create(&token(1, Role::Read, Scope::Tenant(nobody), None, None)),
        create(&token(
            1,
            Role::Read,
            Scope::Collection { tenant: OTHER, collection: USERS },
            None,
            None,
        )),
    ];
    let decisions = decide(&mut state, 5, &missing);
    assert_eq!(decisions[0], Err(Refusal::NotFound(Missing::Tenant)).into());
    assert_eq!(decisions[1], Err(Refusal::NotFound(Missing::Collection)).into());
    let all = [
        create(&token(1, Role::Read, Scope::All, None, None)),
        create(&token(2, Role::Read, Scope::Tenant(ACME), None, None)),
        create(&token(3, Role::Read, OF_USERS, None, None)),
        create(&token(4, Role::Read, Scope::Tenant(OTHER), None, None)),
    ];
    decide(&mut state, 6, &all);
    let gone = |collection| Append::from(ChangeText::deletion(ACME, collection)).into();
    decide(&mut state, 7, &[gone(Some(USERS))]);
    assert_eq!(ids(&state), [1, 2, 4]);
    decide(&mut state, 8, &[gone(None)]);
    assert_eq!(ids(&state), [1, 4]);
}

#[test]
fn there_are_so_many_tokens_and_no_more_but_expired_ones_make_room() {
    let mut state = state();
    let many: Vec<Command> = (1..=TOKENS_MAX as u64)
        .map(|id| create(&token(id, Role::Read, Scope::All, None, (id == 5).then_some(100))))
        .collect();
    let decisions = decide(&mut state, 5, &many);
    assert!(decisions.iter().all(|decision| decision.result.is_ok()));
    let more = create(&token(1 << 40, Role::Read, Scope::All, None, None));
    let refused = Err(Refusal::TooManyTokens).into();
    assert_eq!(decide(&mut state, 99, std::slice::from_ref(&more)), [refused]);
    assert!(decide(&mut state, 100, &[more])[0].result.is_ok());
    assert!(state.index().tokens.get(TokenId(5)).is_none());
    assert_eq!(state.index().tokens.all().len(), TOKENS_MAX);
}

#[test]
fn what_requests_without_a_token_may_do_is_what_was_said_last() {
    let mut state = state();
    assert_eq!(state.index().tokens.anonymous(), None);
    let rights = Some(Rights { role: Role::Read, scope: Scope::Tenant(ACME) });
    let generation = state.index().tokens.generation();
    let commands = [anonymous(Some(Rights::ALL), Grantor::Root), anonymous(rights, Grantor::Root)];
    let done: Decision = Ok(Effect::Anonymous).into();
    assert_eq!(decide(&mut state, 5, &commands), [done, done]);
    assert_eq!(state.index().tokens.anonymous(), rights);
    assert!(state.index().tokens.generation() > generation);
    decide(&mut state, 6, &[anonymous(None, Grantor::Root)]);
    assert_eq!(state.index().tokens.anonymous(), None);
}

#[test]
fn what_requests_without_a_token_may_do_is_said_by_who_has_every_right_when_it_is_ordered() {
    let mut state = state();
    let all = token(1, Role::Admin, Scope::All, None, Some(100));
    let tenant = token(2, Role::Admin, Scope::Tenant(ACME), None, None);
    let writer = token(3, Role::Write, Scope::All, None, None);
    decide(&mut state, 5, &[create(&all), create(&tenant), create(&writer)]);
    let by = |id| Grantor::Token(TokenId(id));
    let read = Some(Rights { role: Role::Read, scope: Scope::Tenant(ACME) });
    let (done, no_right): (Decision, Decision) =
        (Ok(Effect::Anonymous).into(), Err(Refusal::NoRight).into());
    assert_eq!(decide(&mut state, 6, &[anonymous(read, by(1))]), [done]);
    for grantor in [by(2), by(3), by(4), Grantor::Anonymous] {
        for rights in [read, None] {
            assert_eq!(decide(&mut state, 7, &[anonymous(rights, grantor)]), [no_right]);
        }
    }
    // It expires, or is revoked in the same batch.
    assert_eq!(decide(&mut state, 100, &[anonymous(None, by(1))]), [no_right]);
    let mut state = self::state();
    decide(&mut state, 5, &[create(&token(1, Role::Admin, Scope::All, None, None))]);
    let commands = [revoke(1), anonymous(Some(Rights::ALL), by(1))];
    assert_eq!(decide(&mut state, 6, &commands)[1], no_right);
    assert_eq!(state.index().tokens.anonymous(), None);
    // What it is for must be there.
    let nobody = Some(Rights { role: Role::Read, scope: Scope::Tenant(Uuid::from_u128(99)) });
    let missing = Err(Refusal::NotFound(Missing::Tenant)).into();
    assert_eq!(decide(&mut state, 7, &[anonymous(nobody, Grantor::Root)]), [missing]);
    // What an earlier build wrote was accepted.
    assert_eq!(decide(&mut state, 8, &[Action::SetAnonymous(nobody, None).into()]), [done]);
}

#[test]
fn who_bears_no_token_gives_what_it_may_when_that_is_ordered() {
    let mut state = state();
    let admin = Some(Rights { role: Role::Admin, scope: Scope::Tenant(ACME) });
    let token = |scope| {
        let token = token(9, Role::Read, scope, None, None);
        create(&Token { creator: Grantor::Anonymous, ..token })
    };
    let no_right: Decision = Err(Refusal::NoRight).into();
    assert_eq!(decide(&mut state, 5, &[token(OF_USERS)]), [no_right]);
    decide(&mut state, 6, &[anonymous(admin, Grantor::Root)]);
    assert_eq!(decide(&mut state, 7, &[token(Scope::Tenant(OTHER))]), [no_right]);
    let commands = [anonymous(None, Grantor::Root), token(OF_USERS)];
    assert_eq!(decide(&mut state, 8, &commands)[1], no_right);
    let commands = [anonymous(admin, Grantor::Root), token(OF_USERS)];
    assert!(decide(&mut state, 9, &commands)[1].result.is_ok());
    assert_eq!(state.index().tokens.get(TokenId(9)).unwrap().creator, Grantor::Anonymous);
}

#[derive(Clone, Debug)]
enum Step {
    Create { id: u64, role: usize, scope: usize, creator: Option<u64>, lives: Option<u64> },
    Revoke(u64),
    Delete(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..9, 0usize..4, 0usize..4, proptest::option::of(1u64..9), proptest::option::of(0u64..9))
            .prop_map(|(id, role, scope, creator, lives)| Step::Create { id, role, scope, creator, lives }),
        3 => (1u64..9).prop_map(Step::Revoke),
        1 => any::<bool>().prop_map(Step::Delete),
    ]
}

proptest! {
    /// What is there is what a model of maps has, whatever comes in which order.
    #[test]
    fn tokens_are_those_of_the_model(steps in proptest::collection::vec(step(), 0..60)) {
        let mut state = state();
        let mut model: BTreeMap<u64, Token> = BTreeMap::new();
        let (mut acme, mut users) = (true, true);
        for (at, step) in (10u64..).zip(steps) {
            match step {
                Step::Create { id, role, scope, creator, lives } => {
                    let scope = [Scope::All, Scope::Tenant(ACME), OF_USERS, Scope::Tenant(OTHER)][scope];
                    let token = token(id, Role::ALL[role].0, scope, creator, lives.map(|lives| at + lives));
                    let there = match scope {
                        Scope::Tenant(ACME) => acme,
                        Scope::Collection { .. } => users,
                        _ => true,
                    };
                    let may = creator.is_none_or(|creator| model.get(&creator).is_some_and(|creator| {
                        let Rights { role, scope } = creator.rights;
                        let is_good = creator.expires.is_none_or(|end| end.0 > at);
                        is_good && role == Role::Admin && scope.covers(token.rights.scope)
                    }));
                    let accepted = there && may && !model.contains_key(&id);
                    let decision = decide(&mut state, at, &[create(&token)])[0];
                    prop_assert_eq!(decision.result.is_ok(), accepted);
                    if accepted {
                        model.retain(|_, token| token.expires.is_none_or(|end| end.0 > at));
                        model.insert(id, Token { created: Timestamp(at), ..token });
                    }
                }
                Step::Revoke(id) => {
                    let decision = decide(&mut state, at, &[revoke(id)])[0];
                    prop_assert_eq!(decision.result.is_ok(), model.remove(&id).is_some());
                }
                Step::Delete(tenant) => {
                    let (there, scope) = if tenant { (acme, Scope::Tenant(ACME)) } else { (users, OF_USERS) };
                    if there {
                        let collection = (!tenant).then_some(USERS);
                        decide(&mut state, at, &[Append::from(ChangeText::deletion(ACME, collection)).into()]);
                        model.retain(|_, token| !scope.covers(token.rights.scope));
                        (acme, users) = (acme && !tenant, false);
                    }
                }
            }
            let all: Vec<Token> = state.index().tokens.all().iter().map(|token| (**token).clone()).collect();
            prop_assert_eq!(all, model.values().cloned().collect::<Vec<_>>());
        }
    }
}
