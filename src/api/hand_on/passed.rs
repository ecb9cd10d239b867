//! A stream of an origin that is passed on as it comes. Nothing is read of it before the client has what was
//! read before, so a slow client holds up the origin.

use std::{
    task::{Context as Task, Poll},
    time::Instant,
};

use bytes::Bytes;

use super::{places::Place, request::with_passed_headers};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
        read::{
            freshness::{check_halted, check_not_replaced},
            stream::{Next, problem_event},
        },
        request::accept::Media,
    },
    base::timing::COPY_STREAM_SILENCE,
    http::Response,
    upstream::{Answer, Passed, Passing},
};

/// What streams are of.
const FORMS: [Media; 4] = [Media::Events, Media::Ndjson, Media::PlainNdjson, Media::Jsonl];
/// How an event ends.
const EVENT_END: [u8; 2] = *b"\n\n";
/// How the event begins that a node sends in the place of a stream that it cannot serve now.
const UNAVAILABLE: &[u8] = b"event: unavailable\n";

/// A stream that an origin sends.
pub struct PassedOn {
    passing: Passing,
    form: Media,
    /// What the bytes end with that were passed on. Of nothing it is what an event ends with.
    ending: [u8; 2],
    /// Since when nothing comes.
    silent_since: Option<Instant>,
    /// Nothing more is sent.
    ended: bool,
    _place: Place,
}

/// The form of a stream; nothing of what is none.
pub(super) fn form_of(answer: &Answer) -> Option<Media> {
    let said = answer.header("content-type").unwrap_or_default();
    let form = FORMS.into_iter().find(|form| said.eq_ignore_ascii_case(form.name()));
    form.filter(|_| answer.status == 200)
}

/// Whether it is what a client that takes events alone is told instead of 503.
pub(super) fn is_unavailable(answer: &Answer) -> bool {
    form_of(answer) == Some(Media::Events)
        && answer.body.split_inclusive(|&byte| byte == b'\n').any(|line| line == UNAVAILABLE)
}

impl PassedOn {
    /// What is passed on as it comes; of one that has `ended` nothing is.
    pub(super) fn new(passing: Passing, ended: bool, place: Place) -> Self {
        let form = form_of(passing.head()).unwrap_or(Media::Ndjson);
        Self { passing, form, ending: EVENT_END, silent_since: None, ended, _place: place }
    }

    /// Its head.
    pub(in crate::api) fn head(&self) -> Response {
        let head = Response::new(200).with_content_type(self.form.name());
        with_passed_headers(head, self.passing.head()).with_header("X-Accel-Buffering", "no")
    }

    /// Ready once there is something to look at.
    pub(in crate::api) fn poll_ready(&self, cx: &mut Task<'_>) -> Poll<()> {
        self.passing.poll_ready(cx)
    }

    /// Its next part.
    ///
    /// # Errors
    /// When it cannot go on: it must break off, as where its origin broke off.
    pub(in crate::api) fn advance(
        &mut self,
        api: &Context,
        now: Instant,
    ) -> Result<Next, ApiError> {
        if self.ended {
            return Ok(Next::End);
        }
        check_halted(api)?;
        if let Err(error) = check_not_replaced(api) {
            return self.refuse(error);
        }
        let breaks_off = |detail: String| Err(ApiError::new(Code::Internal, detail));
        if api.node.is_stopping() {
            return breaks_off("the node stops".to_owned());
        }
        match self.passing.take() {
            Ok(Passed::Part(part)) => {
                self.silent_since = None;
                self.ends_with(&part);
                Ok(Next::Part(part))
            }
            Ok(Passed::End) => {
                self.ended = true;
                Ok(Next::End)
            }
            Ok(Passed::Nothing) => {
                let until = *self.silent_since.get_or_insert(now) + COPY_STREAM_SILENCE;
                match now < until {
                    true => Ok(Next::Wait(until)),
                    false => breaks_off("the origin sends nothing any more".to_owned()),
                }
            }
            Err(error) => breaks_off(format!("the origin breaks off: {error}")),
        }
    }

    /// The last part of one that cannot go on for good.
    ///
    /// # Errors
    /// The same, where no event can tell of it, nor stand there.
    pub(in crate::api) fn refuse(&mut self, error: ApiError) -> Result<Next, ApiError> {
        if self.ended {
            return Ok(Next::End);
        }
        if self.form != Media::Events || self.ending != EVENT_END {
            return Err(error);
        }
        self.ended = true;
        Ok(Next::Part(problem_event("reset", b"", error)))
    }

    fn ends_with(&mut self, part: &Bytes) {
        self.ending = match **part {
            [.., first, second] => [first, second],
            [only] => [self.ending[1], only],
            [] => self.ending,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media: &str, body: &'static str) -> Answer {
        let headers = vec![("content-type".to_owned(), media.to_owned())];
        Answer { status, headers, body: body.into() }
    }

    #[test]
    fn streams_are_told_from_other_answers() {
        let form = |status, media| form_of(&answer(status, media, ""));
        assert_eq!(form(200, "text/event-stream"), Some(Media::Events));
        assert_eq!(form(200, "Application/X-NDJSON"), Some(Media::Ndjson));
        assert_eq!(form(200, "application/json"), None);
        assert_eq!(form(503, "text/event-stream"), None);
    }

    #[test]
    fn a_stream_that_an_origin_cannot_serve_now_is_no_good_answer() {
        let is = |media, body| is_unavailable(&answer(200, media, body));
        let told = "retry: 3000\nevent: unavailable\ndata: {}\n\n";
        assert!(is("text/event-stream", told));
        assert!(!is("text/event-stream", "retry: 1000\nevent: reset\ndata: {}\n\n"));
        assert!(!is("application/x-ndjson", told));
    }
}
