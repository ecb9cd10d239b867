//! The answer to a write, from how it was decided.

use std::num::NonZeroU64;

use uuid::Uuid;

use crate::{
    api::error::{ApiError, Code, purged},
    base::{
        ids::ChangeId,
        json_string::json_string,
        outcome::{Decision, Effect, Missing, Refusal},
        quota::TenantQuota,
        retention::TenantRetention,
        secret::Hidden,
        tokens::{TOKENS_MAX, TokenId},
    },
    http::Response,
};

/// What kind of answer a write asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum AnswerKind {
    /// A change of a list: `201` and its id.
    Change,
    /// Several: `201` and the range of their ids.
    Changes,
    /// A version of a key: `201`, or `200` where it takes the place of another.
    Key,
    /// A deletion: `200` and the id of the change that records it.
    Deletion,
    /// A redaction; with the oldest change held where the change itself is held no more.
    Redaction { purged: Option<ChangeId> },
    /// How much of its history a tenant keeps: `200` and that.
    Retention(TenantRetention),
    /// How much a tenant may use: `200` and that.
    Quota(TenantQuota),
    /// A token of that id: `201` and this, which has its secret.
    Token(TokenId, Hidden<Box<str>>),
    /// The revocation of a token.
    Revocation,
    /// What requests without a token may do: `200` and this.
    Anonymous(Box<str>),
    /// A tenant or a collection of this name: `201` and its UUID.
    Name(Box<str>),
}

/// The answer to a write that was decided; `weak` when its `If-Match` had a weak
/// tag.
pub(in crate::api) fn written(kind: &AnswerKind, decision: Decision, weak: bool) -> Response {
    let response = match decision.result {
        Ok(effect) => done(kind, effect),
        Err(refusal) => {
            let mut error = refused(kind, refusal);
            if weak && error.code == Code::PreconditionFailed {
                error.detail += "; a weak tag (W/) in If-Match never matches";
            }
            error.into()
        }
    };
    match decision.replayed {
        true => response.with_header("Idempotency-Replayed", "true"),
        false => response,
    }
}

fn done(kind: &AnswerKind, effect: Effect) -> Response {
    match (effect, kind) {
        (Effect::Changes { first, count, .. }, AnswerKind::Changes) => {
            let last = first.0 + u64::from(count) - 1;
            let body = format!("{{\"first\":{first},\"last\":{last},\"count\":{count}}}");
            Response::json(201, body)
        }
        (Effect::Changes { first: id, replaced, .. }, kind) => {
            let status = match kind {
                AnswerKind::Deletion => 200,
                AnswerKind::Key if replaced => 200,
                _ => 201,
            };
            let response = Response::json(status, format!("{{\"_id\":{id}}}"))
                .with_header("Location", format!("/changes/{id}"));
            match kind {
                AnswerKind::Key => response.with_header("ETag", format!("\"{id}\"")),
                _ => response,
            }
        }
        (Effect::Retention, kind) => match kind {
            AnswerKind::Retention(retention) => Response::json(200, retention_json(*retention)),
            _ => Response::json(200, "{}"),
        },
        (Effect::Quota, kind) => match kind {
            AnswerKind::Quota(quota) => Response::json(200, quota_json(*quota)),
            _ => Response::json(200, "{}"),
        },
        (Effect::Redacted(id), kind) => match kind {
            AnswerKind::Redaction { purged: Some(first) } => purged(*first).into(),
            _ => Response::json(200, format!("{{\"_id\":{id},\"redacted\":true}}")),
        },
        (Effect::Token(id), kind) => {
            let body = match kind {
                AnswerKind::Token(own, Hidden(body)) if *own == id => body.to_string(),
                // It was created by the first request: its secret is shown once.
                _ => format!("{{\"id\":\"{id}\"}}"),
            };
            Response::json(201, body).with_header("Location", format!("/tokens/{id}"))
        }
        (Effect::Revoked(id), _) => {
            Response::json(200, format!("{{\"id\":\"{id}\",\"revoked\":true}}"))
        }
        (Effect::Anonymous, kind) => match kind {
            AnswerKind::Anonymous(body) => Response::json(200, body.to_string()),
            _ => Response::json(200, "null"),
        },
        (Effect::Tenant(tenant), kind) => {
            let name = name(kind);
            Response::json(201, format!("{{\"tenant\":\"{tenant}\",\"name\":{name}}}"))
                .with_header("Location", format!("/tenants/{tenant}"))
        }
        (Effect::Collection { collection, tenant }, kind) => {
            Response::json(201, collection_json(collection, &name(kind), tenant))
                .with_header("Location", format!("/collections/{collection}"))
        }
    }
}

fn name(kind: &AnswerKind) -> String {
    match kind {
        AnswerKind::Name(name) => json_string(name),
        _ => "null".to_owned(),
    }
}

/// How much of its history a tenant keeps, as answers show it.
pub(in crate::api) fn retention_json(retention: TenantRetention) -> String {
    let member = |name: &str, number: Option<NonZeroU64>| {
        number.map(|number| format!("\"{name}\":{number}"))
    };
    let members = [member("changes", retention.changes), member("age", retention.age)];
    let members: Vec<String> = members.into_iter().flatten().collect();
    format!("{{{}}}", members.join(","))
}

/// How much a tenant may use, as answers show it.
pub(in crate::api) fn quota_json(quota: TenantQuota) -> String {
    let members = TenantQuota::MEMBERS.iter().zip(quota.members());
    let members: Vec<String> =
        members.filter_map(|((name, _), number)| Some(format!("\"{name}\":{}", number?))).collect();
    format!("{{{}}}", members.join(","))
}

/// A collection as answers show it; `name` is a JSON string.
pub(in crate::api) fn collection_json(collection: Uuid, name: &str, tenant: Uuid) -> String {
    format!("{{\"collection\":\"{collection}\",\"name\":{name},\"tenant\":\"{tenant}\"}}")
}

fn refused(kind: &AnswerKind, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound(missing) => {
            let what = match missing {
                Missing::Tenant => "the tenant does not exist",
                Missing::Collection => "the collection does not exist",
                Missing::Key => "the key has no current version",
                Missing::Change => "there is no such change",
                Missing::Token => "there is no such token",
            };
            ApiError::new(Code::NotFound, what)
        }
        Refusal::NoRight => ApiError::new(
            Code::Forbidden,
            "who asks may not give that much, or not any more: meanwhile the token was revoked, or what requests without \
             one may do was changed",
        ),
        Refusal::TooManyTokens => ApiError::new(
            Code::Forbidden,
            format!("there are {TOKENS_MAX} tokens, as many as there may be: revoke some"),
        ),
        Refusal::TenantTaken(holder) => taken("tenant", kind, holder),
        Refusal::CollectionTaken(holder) => taken("collection", kind, holder),
        Refusal::PreconditionFailed(current) => {
            let code = Code::PreconditionFailed;
            match current {
                Some(id) => ApiError::new(code, format!("the current version of the key is {id}"))
                    .with_number("current", id.0),
                None => ApiError::new(code, "the key has no current version").with_null("current"),
            }
        }
        Refusal::IdempotencyMismatch => ApiError::new(
            Code::IdempotencyMismatch,
            "the Idempotency-Key was used before for another request",
        ),
    }
}

fn taken(what: &'static str, kind: &AnswerKind, holder: Uuid) -> ApiError {
    let detail = format!("the name {} is that of the {what} {holder}", name(kind));
    ApiError::new(Code::NameTaken, detail).with_text(what, holder.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_a_token_is_not_shown_by_debug() {
        let kind = AnswerKind::Token(TokenId(7), Hidden("{\"token\":\"ca_7_secret\"}".into()));
        let shown = format!("{kind:?}");
        assert!(shown.contains("Token") && !shown.contains("secret"), "{shown}");
        let answer = written(&kind, Ok(Effect::Token(TokenId(7))).into(), false);
        assert_eq!(answer.status(), 201);
    }
}
