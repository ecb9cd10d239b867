//! A proposed write, and what is told of it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::written::{AnswerKind, written};
use crate::{
    api::error::ApiError,
    base::outcome::{Decision, Missing, Refusal, WriteError},
    http::{Request, Response},
    node::writes::PendingWrite,
};

/// A proposed write; resolves to what is to be told of it.
pub struct Write {
    pub(in crate::api) pending: PendingWrite,
    pub(in crate::api) written: AnswerKind,
    /// Whether its body names a tenant by name.
    pub(in crate::api) by_name: bool,
    /// Whether its `If-Match` has a weak tag, which matches nothing.
    pub(in crate::api) weak: bool,
    /// The request, where it names something that may be another by now.
    pub(in crate::api) request: Option<Box<Request>>,
}

/// What a write came to.
pub enum Told {
    /// The answer.
    Answer(Response),
    /// What a name stood for is gone. Nothing was written, and it may stand for
    /// something else by now: `Api::again` finds out.
    Again(Box<Request>),
}

impl Write {
    /// The answer when nobody waits any longer.
    #[must_use]
    pub fn timed_out() -> Told {
        Told::Answer(ApiError::from(WriteError::Unknown).into())
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
            Err(error) => Told::Answer(ApiError::from(error).into()),
        })
    }
}

/// Whether a write was refused because what it names was not there.
fn names_nothing(decision: &Decision) -> bool {
    matches!(decision.result, Err(Refusal::NotFound(Missing::Tenant | Missing::Collection)))
}
