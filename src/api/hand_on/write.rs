//! Writes at a copy, which go on to its origin as they came.

use super::request::{passed_on, question};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
    },
    base::timing::{COPY_ADMIN, COPY_WRITE, COPY_WRITTEN},
    http::Request,
    io::cores,
    node::copy::Origins,
    upstream::{AskError, Question},
};

/// The longest answer to a write.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Hands a write on to an origin, once, and gives its answer; what was written can be read here by
/// then, unless this copy lies far behind. `is_of_node` says that it is about the cluster.
pub(in crate::api) async fn hand_on_write(
    api: &Context,
    origins: &Origins,
    request: &Request,
    is_of_node: bool,
) -> Result<Reply, ApiError> {
    let Some(question) = question(api, request) else {
        let detail = "the origins of this cache lead back to it: the write did not happen";
        return Err(ApiError::new(Code::NoLeader, detail));
    };
    let limit = if is_of_node { COPY_ADMIN } else { COPY_WRITE };
    let question = Question { answer_bytes_max: ANSWER_BYTES_MAX, limit, ..question };
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
