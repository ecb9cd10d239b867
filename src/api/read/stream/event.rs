//! The heads of streams, and the events that bear a problem.

use bytes::{Bytes, BytesMut};

use crate::{
    api::{
        error::ApiError,
        request::accept::{Media, negotiated},
    },
    http::Response,
};

/// What a stream of events begins with: how soon a browser comes back.
pub(super) const RETRY: &[u8] = b"retry: 1000\n";
/// The same where the node cannot serve it now.
pub(super) const RETRY_UNAVAILABLE: &[u8] = b"retry: 3000\n";

/// The head of a stream, of which no proxy is to hold anything back.
pub(super) fn streamed(media: Media) -> Response {
    negotiated(Response::new(200))
        .with_content_type(media.name())
        .with_header("X-Accel-Buffering", "no")
}

/// A problem as an event, which the stream ends with.
pub(in crate::api) fn problem_event(name: &str, retry: &[u8], error: ApiError) -> Bytes {
    let problem = Response::from(error);
    let mut out = BytesMut::from(retry);
    for piece in [b"event: ", name.as_bytes(), b"\ndata: ", problem.body(), b"\n\n"] {
        out.extend_from_slice(piece);
    }
    out.freeze()
}

/// The answer to a client that takes nothing but events, at a refusal that will
/// pass: a browser would give up for good at any status but 200.
pub(in crate::api) fn unavailable(error: ApiError) -> Response {
    problem_stream("unavailable", RETRY_UNAVAILABLE, error)
}

/// The answer to a client of events whose position means nothing here.
pub(in crate::api) fn reset(error: ApiError) -> Response {
    problem_stream("reset", RETRY, error)
}

fn problem_stream(name: &str, retry: &[u8], error: ApiError) -> Response {
    let body = problem_event(name, retry, error);
    let media = Media::Events;
    streamed(media).with_body(media.name(), body)
}
