//! What the API makes of a request: an answer, or something to wait for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    change_body::Shape,
    changes::Question,
    error::{ApiError, Code, Member},
};
use crate::{
    base::{
        ids::ChangeId,
        outcome::{Outcome, WriteError},
    },
    feed::Wait,
    http::Response,
    node::writes::PendingWrite,
};

/// See the module.
pub enum Reply {
    /// The answer.
    Now(Response),
    /// A write is under way.
    Write(Write),
    /// There is nothing to answer with yet.
    Park(Parked),
}

/// A proposed write; resolves to its answer.
pub struct Write {
    pub(super) pending: PendingWrite,
    pub(super) shape: Shape,
}

impl Write {
    /// The answer when nobody waits any longer.
    #[must_use]
    pub fn timed_out() -> Response {
        refused(WriteError::Unknown).into()
    }
}

impl Future for Write {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let shape = self.shape;
        Pin::new(&mut self.pending).poll(cx).map(|outcome| accepted(outcome, shape))
    }
}

fn accepted(outcome: Outcome, shape: Shape) -> Response {
    match (outcome, shape) {
        (Ok(accepted), Shape::One) => {
            let id = accepted.first;
            Response::json(201, format!("{{\"_id\":{id}}}"))
                .with_header("Location", format!("/changes/{id}"))
        }
        (Ok(accepted), Shape::Many) => {
            let (first, last, count) = (accepted.first, accepted.last(), accepted.count);
            let body = format!("{{\"first\":{first},\"last\":{last},\"count\":{count}}}");
            Response::json(201, body)
        }
        (Err(error), _) => refused(error).into(),
    }
}

/// The answer to a write that was not acknowledged.
pub(super) fn refused(error: WriteError) -> ApiError {
    let code = match error {
        WriteError::NoLeader => Code::NoLeader,
        WriteError::Storage(_) => Code::Storage,
        WriteError::Overloaded => Code::Overloaded,
        WriteError::Unknown => Code::UnknownOutcome,
    };
    ApiError::new(code, error.to_string())
}

/// A read that waits for a change, at most until its deadline.
pub struct Parked {
    pub(super) question: Question,
    pub(super) wait: Wait,
    /// When to answer with what there is.
    pub deadline: Instant,
}

impl Parked {
    /// Ready once it is worth asking again.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.wait).poll(cx)
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let members: Vec<(&str, String)> = error
            .members
            .iter()
            .map(|(name, member)| match member {
                Member::Number(number) => (*name, number.to_string()),
                Member::Text(text) => (*name, json_string(text)),
            })
            .collect();
        let members: Vec<(&str, &str)> =
            members.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (code, detail) = (error.code, &error.detail);
        let response = Self::problem(code.status(), code.as_str(), code.title(), detail, &members);
        match error.retry_after_s {
            Some(seconds) => response.with_number("Retry-After", u64::from(seconds)),
            None => response,
        }
    }
}

fn json_string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    crate::base::batch::write_json_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// The place of a change that is not held.
pub(super) fn purged(first: ChangeId) -> ApiError {
    let detail = format!("changes before {first} are no longer held");
    ApiError::new(Code::Purged, detail).with_number("first", first.0)
}
