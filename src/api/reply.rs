//! What the API makes of a request: an answer, or something to wait for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    error::{ApiError, Code, Member},
    keys::KeyQuestion,
    list::Question,
    stream::Stream,
    written::{Written, written},
};
use crate::{
    base::{
        ids::ChangeId,
        json_string::write_json_string,
        outcome::{Decision, Missing, Refusal, WriteError},
    },
    feed::Wait,
    http::{Request, Response},
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
    /// An answer in parts.
    Stream(Box<Stream>),
}

/// A proposed write; resolves to what is to be told of it.
pub struct Write {
    pub(super) pending: PendingWrite,
    pub(super) written: Written,
    /// Whether its body names a tenant by name.
    pub(super) by_name: bool,
    /// Whether its `If-Match` has a weak tag, which matches nothing.
    pub(super) weak: bool,
    /// The request, where it names something that may be another by now.
    pub(super) request: Option<Box<Request>>,
}

/// What a write came to.
pub enum Told {
    /// The answer.
    Answer(Response),
    /// What a name stood for is gone. Nothing was written, and it may stand for
    /// something else by now: [`Api::again`](super::Api::again) finds out.
    Again(Box<Request>),
}

impl Write {
    /// The answer when nobody waits any longer.
    #[must_use]
    pub fn timed_out() -> Told {
        Told::Answer(refused(WriteError::Unknown).into())
    }
}

impl Future for Write {
    type Output = Told;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Told> {
        let this = &mut *self;
        Pin::new(&mut this.pending).poll(cx).map(|outcome| match outcome {
            Ok(decision) => match this.request.take().filter(|_| names_nothing(&decision)) {
                Some(request) => Told::Again(request),
                None => Told::Answer(written(&this.written, decision, this.weak)),
            },
            Err(error) => Told::Answer(refused(error).into()),
        })
    }
}

/// Whether a write was refused because what it names was not there.
fn names_nothing(decision: &Decision) -> bool {
    matches!(decision.result, Err(Refusal::NotFound(Missing::Tenant | Missing::Collection)))
}

/// The answer to a write that was not decided.
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
    pub(super) asked: Asked,
    pub(super) wait: Wait,
    /// When to answer with what there is.
    pub deadline: Instant,
}

/// What is to be asked again after a wait.
pub(super) enum Asked {
    /// A list of changes, once this node holds the change that it must.
    List(Question),
    /// A list of changes of which everything was examined that there was.
    Rest(Question),
    /// A key.
    Key(Box<KeyQuestion>),
    /// A stream that has not begun.
    Stream(Box<Stream>),
    /// Anything else, from the start.
    Request(Box<Request>),
}

impl Parked {
    /// Bytes that it keeps of its request.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.asked {
            Asked::Request(request) => request.held_bytes(),
            _ => 0,
        }
    }

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
                Member::Null => (*name, "null".to_owned()),
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

/// `text` as a JSON string.
pub(super) fn json_string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// The place of a change that is not held.
pub(super) fn purged(first: ChangeId) -> ApiError {
    let detail = format!("changes before {first} are no longer held");
    ApiError::new(Code::Purged, detail).with_number("first", first.0)
}
