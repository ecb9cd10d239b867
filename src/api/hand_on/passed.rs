//! A stream of an origin that is passed on as it comes. Nothing is read of it before the client has what was
//! read before, so a slow client holds up the origin.

use std::{
    task::{Context as Task, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

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

/// The longest first event that is looked at.
const OPENING_BYTES_MAX: usize = 64 << 10;

/// The beginning of a stream of events of a list that begins here behind what was asked for.
struct Opening {
    /// What came of the first event.
    held: BytesMut,
    /// What is told where the origin has it no more either.
    purged: ApiError,
}

/// What the beginning says.
enum Opened {
    /// It is not complete.
    Not,
    /// The stream goes on with this.
    On(Bytes),
    /// The origin has no more of it.
    Purged(ApiError),
}

impl Opening {
    fn new(purged: ApiError) -> Self {
        Self { held: BytesMut::new(), purged }
    }

    fn take(&mut self, part: &[u8]) -> Opened {
        self.held.extend_from_slice(part);
        let end = self.held.windows(EVENT_END.len()).position(|window| window == EVENT_END);
        if end.is_none() && self.held.len() < OPENING_BYTES_MAX {
            return Opened::Not;
        }
        let event = self.held.get(..end.unwrap_or_default()).unwrap_or_default();
        let has = |line: &[u8]| event.split(|&byte| byte == b'\n').any(|own| own == line);
        let code = format!("\"code\":\"{}\"", Code::Purged);
        if has(b"event: reset") && event.windows(code.len()).any(|own| own == code.as_bytes()) {
            return Opened::Purged(self.purged.clone());
        }
        Opened::On(self.held.split().freeze())
    }
}

/// A stream that an origin sends.
pub struct PassedOn {
    passing: Passing,
    form: Media,
    /// What it begins with, where that may be to be told otherwise.
    opening: Option<Opening>,
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
    /// `purged` is told in the place of an event that says the same of the origin.
    pub(super) fn new(
        passing: Passing,
        ended: bool,
        purged: Option<ApiError>,
        place: Place,
    ) -> Self {
        let form = form_of(passing.head()).unwrap_or(Media::Ndjson);
        let opening = purged.filter(|_| form == Media::Events).map(Opening::new);
        Self { passing, form, opening, ending: EVENT_END, silent_since: None, ended, _place: place }
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
        let mut passed = self.passing.take();
        if let Some(opening) = &mut self.opening {
            while let Ok(Passed::Part(part)) = passed {
                match opening.take(&part) {
                    Opened::Not => passed = self.passing.take(),
                    Opened::On(begin) => {
                        passed = Ok(Passed::Part(begin));
                        break;
                    }
                    Opened::Purged(own) => return self.refuse(own),
                }
            }
        }
        match passed {
            Ok(Passed::Part(part)) => {
                (self.silent_since, self.opening) = (None, None);
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
    fn that_an_origin_has_it_no_more_is_told_as_of_here() {
        let purged = || ApiError::new(Code::Purged, "here".to_owned());
        let says = |event: &[u8], most| {
            let (mut opening, mut pieces) = (Opening::new(purged()), event.chunks(most));
            loop {
                match opening.take(pieces.next().expect("it says something")) {
                    Opened::Not => {}
                    Opened::On(begin) => return Some(begin),
                    Opened::Purged(own) => {
                        assert_eq!(own.code, Code::Purged);
                        return None;
                    }
                }
            }
        };
        let told = b"retry: 1000\nevent: reset\ndata: {\"code\":\"purged\",\"first\":9}\n\n";
        let other = b"retry: 1000\nevent: reset\ndata: {\"code\":\"not-found\"}\n\n";
        let data = b"id: 1\ndata: {\"_id\":1,\"data\":{\"code\":\"purged\"}}\n\n";
        for most in [1, 7, 1_000] {
            assert_eq!(says(told, most), None);
            assert_eq!(says(other, most).as_deref(), Some(&other[..]));
            assert_eq!(says(data, most).as_deref(), Some(&data[..]));
        }
        // However long it is, it is not held for ever.
        let long = vec![b'x'; 2 * OPENING_BYTES_MAX];
        assert!(says(&long, 1_000).unwrap().len() < OPENING_BYTES_MAX + 1_000);
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
