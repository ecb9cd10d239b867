//! From a request to the question that is asked of an origin, and from its answer to that which is
//! given here.

use std::time::Duration;

use crate::{
    api::{
        access::own_cookie,
        coding::Coding,
        context::Context,
        error::{ApiError, Code},
        request::target::{origin_form, without_ticket},
    },
    base::planted::planted,
    http::{Request, Response},
    node::copy::CopyAge,
    upstream::{Answer, Question},
};

/// Headers that are about the connection on which a request came or the page that sent it, and of no
/// use elsewhere.
const OWN_HEADERS: [&str; 17] = [
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
    "changeagent-cluster",
];
/// Headers of an answer that are passed on, besides `Vary`: others are of the connection, or this
/// node's own.
const PASSED_ON: [&str; 6] =
    ["Location", "ETag", "Retry-After", "Allow", "Cache-Control", "WWW-Authenticate"];
/// Media types of answers.
const MEDIA_TYPES: [&str; 6] = [
    "application/json",
    "application/problem+json",
    "text/event-stream",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// What an origin is asked for `request`, without the time that it may take and how long its answer may
/// be: nothing where the origins lead back to here.
pub(super) fn question(api: &Context, request: &Request) -> Option<Question> {
    let question = question_with_ticket(api, request)?;
    Some(Question { target: without_ticket(&question.target).into_owned(), ..question })
}

/// The same of a stream: the ticket that opens it here opens it once at each node.
pub(super) fn question_with_ticket(api: &Context, request: &Request) -> Option<Question> {
    let own = api.node.status().copy().map(CopyAge::id).unwrap_or_default();
    let via = format!("changeagent-{own}");
    let before = request.header("via").map(String::from_utf8_lossy).unwrap_or_default();
    if before.contains(&via) {
        return None;
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
    // A browser sends what any service of this host gave it.
    let passed_on = |(name, value): (&str, &[u8])| match name.eq_ignore_ascii_case("cookie") {
        true => own_cookie(value).map(|value| (name.to_owned(), value)),
        false => Some((name.to_owned(), value.to_vec())),
    };
    let headers = headers.filter_map(passed_on);
    // Of an answer without a body it would not be known here how long that is.
    let method = match request.method_name() {
        "HEAD" => "GET",
        name => name,
    };
    Some(Question {
        method: method.to_owned(),
        target: origin_form(request.target()).to_owned(),
        headers: headers.chain([("Via".to_owned(), via.into_bytes())]).collect(),
        body: request.body().clone(),
        answer_bytes_max: 0,
        limit: Duration::ZERO,
    })
}

/// Whether an answer of an origin is of the history that is here, and shows no less than what this copy has.
///
/// # Errors
/// Why not.
pub(super) fn is_good(api: &Context, answer: &Answer) -> Result<(), String> {
    if answer.header("ChangeAgent-Cluster") != Some(&api.node.cluster().to_string()) {
        return Err("it has another history".to_owned());
    }
    if answer.status == 503 {
        return Err("it answers 503".to_owned());
    }
    match answer.number("ChangeAgent-Last") {
        Some(other) if other >= api.node.last().0 || planted!(BelieveOlderOrigin) => Ok(()),
        _ => Err("it lies behind this cache".to_owned()),
    }
}

/// Whether an origin has what it was asked for no more.
pub(super) fn is_purged(answer: &Answer) -> bool {
    answer.status == Code::Purged.status()
}

/// The answer of an origin, as it is given here.
pub(in crate::api) fn passed_on(answer: Answer) -> Response {
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
    with_passed_headers(response, &answer)
}

/// The same with the headers of the answer of an origin that are passed on.
pub(super) fn with_passed_headers(response: Response, answer: &Answer) -> Response {
    let response =
        PASSED_ON.into_iter().fold(response, |response, name| match answer.header(name) {
            Some(value) => response.with_header(name, value.to_owned()),
            None => response,
        });
    // There may be several of it. Whoever keeps the answer must know all.
    let vary = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Vary"));
    vary.fold(response, |response, (_, value)| response.with_header("Vary", value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_headers_and_body_are_passed_on() {
        let headers = [
            ("Location", "/changes/7"),
            ("Content-Type", "application/json"),
            ("vary", "Accept, Accept-Encoding"),
            ("Vary", "Origin"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let answer = Answer { status: 201, headers, body: "{}".into() };
        let want = Response::json(201, "{}")
            .with_header("Location", "/changes/7")
            .with_header("Vary", "Accept, Accept-Encoding")
            .with_header("Vary", "Origin");
        assert_eq!(passed_on(answer), want);
        assert_eq!(passed_on(Answer { status: 301, ..Answer::default() }), Response::new(301));
    }
}
