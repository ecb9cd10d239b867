//! Writes at a copy, which go on to its origin as they came.

use std::{cell::RefCell, io};

use serde::Deserialize;

use super::request::{passed_on, question};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, excerpt},
        growing::Growing,
        reply::Reply,
        request::parameter,
    },
    base::timing::{COPY_ADMIN, COPY_RETRY_MIN, COPY_WRITE, COPY_WRITTEN},
    http::Request,
    io::cores,
    node::{control::ReadError, copy::Origins},
    upstream::{Answer, AskError, Question},
};

/// In a write: of which history the ids in it are, and what comes of it is to be.
const HISTORY: &str = "ChangeAgent-Cluster";
/// The longest answer to a write.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What nearly every one has room in.
const ANSWER_BYTES_USUAL: usize = 4 << 10;

/// Whether a write is of the history that is here, as far as it says.
///
/// # Errors
/// [`Code::OtherHistory`]: it did not happen.
pub(in crate::api) fn check_history(api: &Context, request: &Request) -> Result<(), ApiError> {
    let Some(value) = request.header(HISTORY) else { return Ok(()) };
    let value = String::from_utf8_lossy(value);
    let of = parameter::read_cluster(&value).map_err(|range| {
        let detail = format!("header {HISTORY} is {:?}; it must be {range}", excerpt(&value));
        ApiError::new(Code::InvalidParameter, detail)
    })?;
    api.check_history(Some(of))
}

/// Hands a write on to an origin, once, and gives its answer, unless that says that the write did not
/// happen there for now and another origin takes it; what was written can be read here by
/// then, unless this copy lies far behind. `is_of_node` says that it is about the cluster.
pub(in crate::api) async fn hand_on_write(
    api: &Context,
    origins: &Origins,
    request: &Request,
    is_of_node: bool,
) -> Result<Reply, ApiError> {
    let Some(mut question) = question(api, request) else {
        let detail = "the origins of this cache lead back to it: the write did not happen";
        return Err(ApiError::new(Code::NoLeader, detail));
    };
    let place = api.handed_on.write()?;
    // Its ids mean nothing in another history, nor do those of its answer here.
    let of = api.node.cluster().to_string();
    question.headers.push((HISTORY.to_owned(), of.into_bytes()));
    let limit = if is_of_node { COPY_ADMIN } else { COPY_WRITE };
    let question = Question { answer_bytes_max: ANSWER_BYTES_MAX, limit, ..question };
    // What happened is to be told, so there is room for a usual answer before it does.
    let growing = RefCell::new(Growing::new(&api.held));
    let hold = |bytes: usize| growing.borrow_mut().hold(bytes.max(ANSWER_BYTES_USUAL));
    hold(0)?;
    let hold = |bytes| hold(bytes).map_err(|_| io::Error::other("its answer has no room here"));
    let answer = origins.hand_on(&question, &hold, did_not_happen).await.map_err(refusal)?;
    drop(place);
    if code(&answer).is_some_and(|code| code == Code::OtherHistory) {
        let detail =
            "the origin of this cache has another history by now: the write did not happen";
        return Err(ApiError::new(Code::Behind, detail));
    }
    if (200..300).contains(&answer.status) {
        // Who wrote reads it here; whether or not it has come as far, it was written.
        let _ = cores::within(COPY_WRITTEN, can_be_read(api)).await;
    }
    Ok(Reply::Now(passed_on(answer)))
}

/// Waits until what was written before is here. Where the origins cannot be asked they are asked again: as a
/// rule a connection was cut, and the next one is made.
async fn can_be_read(api: &Context) {
    while matches!(api.node.barrier().await, Err(ReadError::NoLeader)) && !api.node.is_stopping() {
        cores::sleep(COPY_RETRY_MIN).await;
    }
}

/// Whether an answer is that of a node which did nothing, and another may do it: with 503 a node says
/// no more than that.
fn did_not_happen(answer: &Answer) -> bool {
    let code = code(answer);
    code.is_some_and(|code| code.status() == 503 || code == Code::OtherHistory)
}

/// What a refusal of a node says to be; nothing of what is none.
fn code(answer: &Answer) -> Option<Code> {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    let mut all = Code::ALL.into_iter();
    all.find(|code| code.as_str() == problem.code && code.status() == answer.status)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_told_from_what_may_have() {
        let answer = |status, body: &str| {
            let body = body.to_owned().into();
            did_not_happen(&Answer { status, body, ..Answer::default() })
        };
        for code in Code::ALL {
            let body = format!("{{\"code\":\"{code}\"}}");
            let want = matches!(
                code,
                Code::NoLeader
                    | Code::Behind
                    | Code::Overloaded
                    | Code::Storage
                    | Code::OtherHistory
            );
            assert_eq!(answer(code.status(), &body), want, "{code}");
        }
        // What stands between them may say anything.
        assert!(!answer(503, "Service Unavailable"));
        assert!(!answer(503, "{\"code\":\"unavailable\"}"));
        assert!(!answer(200, "{\"code\":\"overloaded\"}"));
    }
}
