//! Proposing a write, unless it repeats one that was decided.

use uuid::Uuid;

use super::{
    pending::Write,
    written::{AnswerKind, written},
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, claimed},
        metrics::Limit,
        reply::Reply,
        request::{
            content_type::{Form, body_form},
            idempotency::{self, KeyedRequest},
            small_body::SMALL_BODY_BYTES,
        },
    },
    base::{
        batch::{Action, Append, Command, Conditions, SuffixMembers},
        outcome::WriteError,
    },
    http::Request,
};

/// Has `action` done, unless it was before. Its idempotency key is one of `room`: that of the tenant which it concerns,
/// if it is of one.
pub(in crate::api) fn propose(
    api: &Context,
    action: Action,
    room: Option<Uuid>,
    asked: Option<KeyedRequest>,
    kind: AnswerKind,
) -> Result<Reply, ApiError> {
    if api.node.status().is_claimed() {
        return Err(claimed());
    }
    // Its name may be another tenant's by now than when it was asked first.
    if let Some(reply) = repeated(api, asked.as_ref(), &kind) {
        return Ok(reply);
    }
    let idempotency = asked.map(|asked| asked.of(room));
    let pending = api.node.propose(Command { action, idempotency }).inspect_err(|error| {
        if *error == WriteError::Overloaded {
            api.metrics.limited(Limit::Writes);
        }
    })?;
    Ok(Reply::Write(Write { pending, written: kind, by_name: false, weak: false, request: None }))
}

/// Appends the change that records the deletion of what `members` name.
pub(in crate::api) fn delete(
    api: &Context,
    members: SuffixMembers<'_>,
    conditions: Conditions,
    asked: Option<KeyedRequest>,
) -> Result<Reply, ApiError> {
    api.bill_changes(1, &[])?;
    let tenant = members.tenant;
    let mut suffixes = Vec::with_capacity(members.bytes_max());
    let span = members.write_deletion(&mut suffixes);
    let spans = [span].into_iter().collect();
    let append = Append { spans, suffixes: suffixes.into(), conditions };
    propose(api, Action::Append(append), tenant, asked, AnswerKind::Deletion)
}

/// The answer to a request that repeats one that was decided, also where what it
/// names is not there any more: it may itself have taken that away.
pub(in crate::api) fn repeated(
    api: &Context,
    asked: Option<&KeyedRequest>,
    kind: &AnswerKind,
) -> Option<Reply> {
    let asked = asked?;
    let known = api.node.index().idempotency();
    // Who has no rights repeats nothing.
    api.principal.scope()?;
    let decision = match api.principal.key_room() {
        None => known.repeated(&asked.of(None)),
        // What does not concern who asks is not told.
        Some(room) => known.decision(&asked.of(Some(room))).filter(|decision| decision.replayed),
    };
    Some(Reply::Now(written(kind, decision?, asked.weak)))
}

/// The answer to an append whose path names what is not there: that to the one it
/// repeats, if it does, else `error`.
pub(in crate::api) fn repeated_or(
    api: &Context,
    request: &Request,
    single: AnswerKind,
    error: ApiError,
) -> Result<Reply, ApiError> {
    // A batch that is too large to be digested here is not looked for.
    let is_small = request.body().len() <= SMALL_BODY_BYTES;
    if request.header("idempotency-key").is_none() || !is_small {
        return Err(error);
    }
    let asked = idempotency::of_small(request)?;
    repeated(api, asked.as_ref(), &shape_of(request, single)).ok_or(error)
}

/// The answer that a body asks for, as far as its first character tells.
fn shape_of(request: &Request, single: AnswerKind) -> AnswerKind {
    let many = body_form(request) == Ok(Form::Ndjson)
        || request.body().trim_ascii_start().first() == Some(&b'[');
    if many { AnswerKind::Changes } else { single }
}
