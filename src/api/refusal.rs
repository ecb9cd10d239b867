//! What a request is told that is refused, in the form that it takes.

use super::{
    error::{ApiError, Code},
    read::stream,
    request::accept::{self, Media, negotiated},
    route::Resource,
};
use crate::http::{Method, Request, Response};

/// The answer to a request that is refused with `error`.
pub(super) fn refusal(request: &Request, error: ApiError) -> Response {
    let is_list = || Resource::of(&request.path_segments()).is_some_and(|of| of.is_list());
    let reads = matches!(request.method(), Method::Get | Method::Head);
    let passes = error.code.status() == 503;
    match reads && is_list() {
        true if passes && accept::takes_only(request, Media::Events) => stream::unavailable(error),
        true if error.code == Code::OtherHistory && is_for_events(request) => stream::reset(error),
        true => negotiated(error.into()),
        false => error.into(),
    }
}

fn is_for_events(request: &Request) -> bool {
    matches!(accept::choose(request, &accept::OF_CHANGES), Ok(Media::Events))
}
