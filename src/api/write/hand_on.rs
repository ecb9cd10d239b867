//! Writes at a copy, which go on to its origin as they came.

use crate::{
    api::{
        coding::Coding,
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
    },
    base::timing::{COPY_ADMIN, COPY_WRITE, COPY_WRITTEN},
    http::{Request, Response},
    io::cores,
    node::copy::{CopyAge, Origins},
    upstream::{Answer, AskError, Question},
};

/// The longest answer to a write.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Headers that are about the connection on which a request came or the page that sent it, and of no
/// use elsewhere.
const OWN_HEADERS: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "content-length",
    "origin",
    "via",
    "accept-encoding",
    "referer",
];
/// Headers of an answer that are passed on: others are of the connection, or this node's own.
const PASSED_ON: [&str; 4] = ["Location", "ETag", "Retry-After", "Allow"];
/// Media types of answers.
const MEDIA_TYPES: [&str; 2] = ["application/json", "application/problem+json"];

/// Hands a write on to an origin, once, and gives its answer; what was written can be read here by
/// then, unless this copy lies far behind. `is_of_node` says that it is about the cluster.
pub(in crate::api) async fn hand_on(
    api: &Context,
    origins: &Origins,
    request: &Request,
    is_of_node: bool,
) -> Result<Reply, ApiError> {
    let own = api.node.status().copy().map(CopyAge::id).unwrap_or_default();
    let via = format!("changeagent-{own}");
    let before = request.header("via").map(String::from_utf8_lossy).unwrap_or_default();
    if before.contains(&via) {
        let detail = "the origins of this cache lead back to it: the write did not happen";
        return Err(ApiError::new(Code::NoLeader, detail));
    }
    let via = if before.is_empty() { format!("1.1 {via}") } else { format!("{before}, 1.1 {via}") };
    // Its body was unpacked where that was possible.
    let unpacked = request
        .header("content-encoding")
        .and_then(|name| Coding::named(std::str::from_utf8(name).ok()?));
    let is_own = |name: &str| {
        OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
            || (unpacked.is_some() && name.eq_ignore_ascii_case("content-encoding"))
            || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sec-"))
    };
    let headers = request.headers().filter(|(name, _)| !is_own(name));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_vec()));
    let question = Question {
        method: request.method_name().to_owned(),
        target: origin_form(request.target()).to_owned(),
        headers: headers.chain([("Via".to_owned(), via.into_bytes())]).collect(),
        body: request.body().clone(),
        answer_bytes_max: ANSWER_BYTES_MAX,
        limit: if is_of_node { COPY_ADMIN } else { COPY_WRITE },
    };
    let answer = origins.hand_on(&question).await.map_err(refusal)?;
    if (200..300).contains(&answer.status) {
        // Who wrote reads it here; whether or not it has come as far, it was written.
        let _ = cores::within(COPY_WRITTEN, api.node.barrier()).await;
    }
    Ok(Reply::Now(passed_on(answer)))
}

fn refusal(error: AskError) -> ApiError {
    match error {
        AskError::NotSent(error) => {
            let detail = format!("no origin of this cache can be reached: {error}");
            ApiError::new(Code::NoLeader, detail)
        }
        AskError::Lost(error) => {
            let detail = format!("the origin of this cache was handed the write: {error}");
            ApiError::new(Code::UnknownOutcome, detail)
        }
    }
}

/// A target without scheme and authority.
fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

fn passed_on(answer: Answer) -> Response {
    if !(200..600).contains(&answer.status) {
        let detail = format!("the origin of this cache answers {}", answer.status);
        return ApiError::new(Code::UnknownOutcome, detail).into();
    }
    let said = answer.header("content-type").unwrap_or_default();
    let media = MEDIA_TYPES.into_iter().find(|known| said.eq_ignore_ascii_case(known));
    let response = Response::new(answer.status);
    let response = match media {
        Some(media) => response.with_body(media, answer.body.clone()),
        None if answer.body.is_empty() => response,
        None => response.with_body("application/octet-stream", answer.body.clone()),
    };
    PASSED_ON.into_iter().fold(response, |response, name| match answer.header(name) {
        Some(value) => response.with_header(name, value.to_owned()),
        None => response,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_on_without_the_place_that_it_was_sent_to() {
        for (target, want) in [
            ("/changes?a=http://b", "/changes?a=http://b"),
            ("http://here:1/changes?x=1", "/changes?x=1"),
            ("http://here", "/"),
        ] {
            assert_eq!(origin_form(target), want);
        }
    }

    #[test]
    fn status_headers_and_body_are_passed_on() {
        let headers = [("Location", "/changes/7"), ("Content-Type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let answer = Answer { status: 201, headers, body: "{}".into() };
        let want = Response::json(201, "{}").with_header("Location", "/changes/7");
        assert_eq!(passed_on(answer), want);
        assert_eq!(passed_on(Answer { status: 301, ..Answer::default() }), Response::new(301));
    }
}
