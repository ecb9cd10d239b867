//! What all writes have in common: reading the body, telling repeats apart,
//! proposing.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Api, change_body,
    change_body::{ChangeBody, Members, Scope, Shape},
    conditions,
    content_type::{self, Form},
    error::{ApiError, Code},
    idempotency::{Asked, Keyed},
    metrics::Limit,
    node::claimed,
    reply::{Reply, Write, refused},
    written::{Written, written},
};
use crate::{
    base::{
        batch::{Action, Append, Command, Conditions, TailMembers},
        outcome::WriteError,
    },
    http::Request,
    io::cores,
};

/// Bodies above this size are parsed off the core: about a millisecond's work.
const INLINE_PARSE_BYTES: usize = 256 << 10;
/// The largest body of a request that only names something, or nothing.
pub(super) const SMALL_BODY_BYTES: usize = 64 << 10;

impl Api {
    /// Appends the changes of a body that was sent to a path that says `scope`.
    /// `single` is the answer to one object, whose write may be conditional when
    /// it is to a key.
    pub(super) async fn append(
        &self,
        request: &Request,
        scope: Scope,
        single: Written,
    ) -> Result<Reply, ApiError> {
        let headers = WriteHeaders::of(request);
        let form = if headers.encoding { body_form(request)? } else { media_form(request)? };
        if form == Form::Ndjson && scope.members == Members::Value {
            let detail = "a body of lines cannot be the value of one key";
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        let keyed = if headers.idempotency { Keyed::of(request, form)? } else { None };
        let conditions = match single {
            _ if !headers.conditions => Conditions::default(),
            Written::Key => conditions::of_write(request)?,
            _ => {
                conditions::refuse(request)?;
                Conditions::default()
            }
        };
        let body = request.body().clone();
        let (parsed, asked) = if body.len() <= INLINE_PARSE_BYTES {
            let catalog = &self.node.index().catalog;
            let asked = keyed.map(|keyed| keyed.with_body(&body));
            (change_body::parse(&body, form, &self.limits, &scope, catalog), asked)
        } else {
            let (limits, index) = (Arc::clone(&self.limits), self.node.shared_index());
            // Apart from the connection, which would have room for it for ever.
            Box::pin(cores::off_core(move || {
                let asked = keyed.map(|keyed| keyed.with_body(&body));
                (change_body::parse(&body, form, &limits, &scope, &index.catalog), asked)
            }))
            .await
        };
        let ChangeBody { shape, by_name, mut append } = match parsed {
            Ok(body) => body,
            Err(error) => {
                let kind = if error.index.is_some() { Written::Changes } else { single };
                if let Some(limit) = error.fault.limit() {
                    self.metrics.limited(limit);
                }
                let unresolved = error.is_unresolved();
                let error = ApiError::from(error);
                return match unresolved {
                    true => self.repeated(asked.as_ref(), &kind).ok_or(error),
                    false => Err(error),
                };
            }
        };
        let kind = match shape {
            Shape::One => single,
            Shape::Many => {
                if !conditions.is_empty() {
                    conditions::refuse(request)?;
                }
                Written::Changes
            }
        };
        append.conditions = conditions;
        let tenant = append.tenant();
        let mut reply = self.propose(Action::Append(append), tenant, asked, kind)?;
        if let Reply::Write(write) = &mut reply {
            write.by_name = by_name;
            write.weak = headers.conditions && conditions::has_weak_match(request);
        }
        Ok(reply)
    }

    /// Appends the change that records the deletion of what `members` name.
    pub(super) fn delete(
        &self,
        members: TailMembers<'_>,
        conditions: Conditions,
        asked: Option<Asked>,
    ) -> Result<Reply, ApiError> {
        let tenant = members.tenant;
        let mut tails = Vec::with_capacity(members.bytes_max());
        let span = members.write_deletion(&mut tails);
        let spans = [span].into_iter().collect();
        let append = Append { spans, tails: tails.into(), conditions };
        self.propose(Action::Append(append), tenant, asked, Written::Deletion)
    }

    /// Has `action` done, which concerns `tenant`, unless it was before.
    pub(super) fn propose(
        &self,
        action: Action,
        tenant: Option<Uuid>,
        asked: Option<Asked>,
        kind: Written,
    ) -> Result<Reply, ApiError> {
        if self.node.status().is_claimed() {
            return Err(claimed());
        }
        // Its name may be another tenant's by now than when it was asked first.
        if let Some(reply) = self.repeated(asked.as_ref(), &kind) {
            return Ok(reply);
        }
        let idempotency = asked.map(|asked| asked.of(tenant));
        let pending = self.node.propose(Command { action, idempotency }).map_err(|error| {
            if error == WriteError::Overloaded {
                self.metrics.limited(Limit::Writes);
            }
            refused(error)
        })?;
        Ok(Reply::Write(Write {
            pending,
            written: kind,
            by_name: false,
            weak: false,
            request: None,
        }))
    }

    /// How a request with a small body is told apart from others, if its client
    /// asks for that.
    ///
    /// # Errors
    /// As [`Keyed::of`], and [`Code::TooLarge`] for a body that no such request
    /// needs.
    pub(super) fn idempotency(&self, request: &Request) -> Result<Option<Asked>, ApiError> {
        let (bytes, bytes_max) = (request.body().len(), SMALL_BODY_BYTES);
        if bytes > bytes_max {
            let detail = format!(
                "the body is {bytes} bytes, above the limit of {bytes_max} for this request"
            );
            return Err(ApiError::new(Code::TooLarge, detail));
        }
        let keyed = Keyed::of(request, body_form(request).unwrap_or(Form::Json))?;
        Ok(keyed.map(|keyed| keyed.with_body(request.body())))
    }

    /// The answer to a request that repeats one that was decided, also where what
    /// it names is not there any more: it may itself have taken that away.
    pub(super) fn repeated(&self, asked: Option<&Asked>, kind: &Written) -> Option<Reply> {
        let asked = asked?;
        let decision = self.node.index().idempotency().repeated(&asked.of(None))?;
        Some(Reply::Now(written(kind, decision, asked.weak)))
    }
}

/// The form of the body of a write.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for a body of another type, or compressed.
pub(super) fn body_form(request: &Request) -> Result<Form, ApiError> {
    if request.header("content-encoding").is_some_and(|coding| coding != b"identity") {
        let detail = "a compressed body is not supported";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    media_form(request)
}

/// Whether the body of a request is declared as one JSON text.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for anything else, an absent type included.
pub(super) fn json_body(request: &Request) -> Result<(), ApiError> {
    body_form(request)?;
    let declared = request.content_type().unwrap_or_default();
    content_type::json(&String::from_utf8_lossy(declared))
}

fn media_form(request: &Request) -> Result<Form, ApiError> {
    match request.content_type() {
        None => content_type::form(None),
        Some(value) => content_type::form(Some(&String::from_utf8_lossy(value))),
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

/// The answer that a body asks for, as far as its first character tells.
pub(super) fn shape_of(request: &Request, single: Written) -> Written {
    let many = body_form(request) == Ok(Form::Ndjson)
        || request.body().trim_ascii_start().first() == Some(&b'[');
    if many { Written::Changes } else { single }
}
