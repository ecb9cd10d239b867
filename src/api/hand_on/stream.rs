//! Streams and states of what a copy does not hold: what an origin sends is passed on as it comes.

use super::{
    passed::{PassedOn, form_of, is_unavailable},
    request::{is_good, is_purged, passed_on, question_with_ticket},
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
        streamed::Streamed,
    },
    base::timing::COPY_READ,
    http::{Method, Request},
    node::copy::Origins,
    upstream::{Answer, Opened, Question},
};

/// The longest answer that is no stream: a refusal, or an event that tells of one.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Hands a request for a stream or a state on to an origin, and gives what that sends as it comes, unless that
/// shows less than what this copy has. `purged` is told in the place of the same from the origin.
pub(super) async fn hand_on_stream(
    api: &Context,
    origins: &Origins,
    request: &Request,
    purged: Option<ApiError>,
) -> Result<Reply, ApiError> {
    let behind = |detail: String| ApiError::new(Code::Behind, detail);
    let Some(question) = question_with_ticket(api, request) else {
        return Err(behind("the origins of this cache lead back to it".to_owned()));
    };
    let place = api.handed_on.stream()?;
    let question = Question { answer_bytes_max: REFUSAL_BYTES_MAX, limit: COPY_READ, ..question };
    let goes_on = |answer: &Answer| form_of(answer).is_some();
    let is_good = |answer: &Answer| match is_unavailable(answer) {
        true => Err("it is not available".to_owned()),
        false => is_good(api, answer),
    };
    match origins.hand_on_stream(&question, goes_on, is_good).await {
        Ok(Opened::Whole(answer)) => match purged.filter(|_| is_purged(&answer)) {
            Some(own) => Err(own),
            None => Ok(Reply::Now(passed_on(answer))),
        },
        Ok(Opened::Passing(passing)) => {
            let ended = request.method() == Method::Head;
            Ok(Reply::Stream(Streamed::PassedOn(
                PassedOn::new(*passing, ended, purged, place).into(),
            )))
        }
        Err(error) => {
            Err(behind(format!("this cache does not hold that, nor its origin: {error}")))
        }
    }
}
