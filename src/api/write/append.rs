//! Appending the changes of a body.

use std::sync::Arc;

use super::{
    propose::{propose, repeated},
    written::AnswerKind,
};
use crate::{
    api::{
        access::Visible,
        body::{self, BodyError, ChangeBody, Members, Scope, Shape},
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
        request::{
            conditions,
            content_type::{Form, body_form, plain_body_form},
            idempotency::{KeyedHead, KeyedRequest},
        },
    },
    base::batch::{Action, Conditions, Versions},
    http::Request,
    io::cores,
};

/// Bodies above this size are parsed off the core: about a millisecond's work.
const INLINE_PARSE_BYTES: usize = 256 << 10;

/// Appends the changes of a body that was sent to a path that says `scope`.
/// `single` is the answer to one object, whose write may be conditional when it
/// is to a key.
pub(in crate::api) async fn append(
    api: &Context,
    request: &Request,
    scope: Scope,
    single: AnswerKind,
) -> Result<Reply, ApiError> {
    let headers = WriteHeaders::of(request);
    let form = if headers.encoding { body_form(request)? } else { plain_body_form(request)? };
    if form == Form::Ndjson && scope.members == Members::Value {
        let detail = "a body of lines cannot be the value of one key";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let keyed = if headers.idempotency { KeyedHead::of(request, form)? } else { None };
    let conditions = match single {
        _ if !headers.conditions => Conditions::default(),
        AnswerKind::Key => conditions::of_write(request)?,
        _ => {
            conditions::refuse(request)?;
            Conditions::default()
        }
    };
    let (parsed, asked) = read_body(api, request, form, scope, keyed).await;
    let ChangeBody { shape, by_name, mut append, payers } = match parsed {
        Ok(body) => body,
        Err(error) => return refused(api, error, asked.as_ref(), single),
    };
    let kind = match shape {
        Shape::One => single,
        Shape::Many => {
            if !conditions.is_empty() {
                conditions::refuse(request)?;
            }
            AnswerKind::Changes
        }
    };
    let creates = conditions.if_none_match == Some(Versions::Any);
    api.principal.check_changes(&append.spans, creates)?;
    api.bill_changes(append.spans.len(), &payers)?;
    append.conditions = conditions;
    let tenant = append.tenant();
    let mut reply = propose(api, Action::Append(append), tenant, asked, kind)?;
    if let Reply::Write(write) = &mut reply {
        write.by_name = by_name;
        write.weak = headers.conditions && conditions::has_weak_match(request);
    }
    Ok(reply)
}

/// Parses the body of `request`, and digests it where it bears a key.
async fn read_body(
    api: &Context,
    request: &Request,
    form: Form,
    scope: Scope,
    keyed: Option<KeyedHead>,
) -> (Result<ChangeBody, BodyError>, Option<KeyedRequest>) {
    let body = request.body().clone();
    if body.len() <= INLINE_PARSE_BYTES {
        let asked = keyed.map(|keyed| keyed.with_body(&body));
        return (body::parse(&body, form, &api.limits, &scope, api.visible()), asked);
    }
    let (limits, index) = (Arc::clone(&api.limits), api.node.shared_index());
    let within = api.principal.scope();
    // Apart from the connection, which would have room for it for ever.
    Box::pin(cores::off_core(move || {
        let asked = keyed.map(|keyed| keyed.with_body(&body));
        let visible = Visible::new(&index.catalog, within);
        (body::parse(&body, form, &limits, &scope, visible), asked)
    }))
    .await
}

/// The answer to a body that was refused.
fn refused(
    api: &Context,
    error: BodyError,
    asked: Option<&KeyedRequest>,
    single: AnswerKind,
) -> Result<Reply, ApiError> {
    let kind = if error.index.is_some() { AnswerKind::Changes } else { single };
    if let Some(limit) = error.fault.limit() {
        api.metrics.limited(limit);
    }
    let unresolved = error.is_unresolved();
    let error = ApiError::from(error);
    match unresolved {
        true => repeated(api, asked, &kind).ok_or(error),
        false => Err(error),
    }
}

/// Which of the headers that concern a write there are, found in one pass: most
/// writes have none of them.
#[derive(Default)]
struct WriteHeaders {
    encoding: bool,
    conditions: bool,
    idempotency: bool,
}

impl WriteHeaders {
    fn of(request: &Request) -> Self {
        let mut found = Self::default();
        for (name, _) in request.headers() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                8 => found.conditions |= is("if-match"),
                13 => found.conditions |= is("if-none-match"),
                15 => found.idempotency |= is("idempotency-key"),
                16 => found.encoding |= is("content-encoding"),
                _ => {}
            }
        }
        found
    }
}
