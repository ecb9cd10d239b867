//! Reading keys: the current version of one, or a page of them.

use std::time::Instant;

use super::{
    answer::{Frame, ListAnswer},
    change,
    places::{Places, Stored},
    question::KeyQuestion,
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, excerpt},
        growing::Growing,
        reply::{Parked, ParkedRead, Reply},
        request::ReadQuery,
    },
    base::{
        ids::ChangeId,
        limits::{READ_EXPECTED_FILTERED, READ_LIMIT_DEFAULT},
    },
    http::Response,
    io::cores,
    state::index::Collection,
};

/// Answers a question about a key, or parks it.
pub(in crate::api) async fn ask(
    api: &Context,
    question: KeyQuestion,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    let may_wait = question.block && now < deadline && !api.node.is_stopping();
    loop {
        // What comes after this is not missed by the wait.
        let before = api.node.last();
        let collection = api.catalog().collection(question.collection);
        let is_there = collection.is_some();
        let current = collection.and_then(|collection| collection.current(&question.key));
        api.node.catch_up_with_index().await;
        let Some(id) = current else {
            if question.waits_if_absent && is_there && may_wait {
                return Ok(park(api, question, before, deadline));
            }
            let detail = format!("the key {:?} has no current version", excerpt(&question.key));
            return Err(ApiError::new(Code::NotFound, detail));
        };
        if !question.wanted.hold(Some(id)) {
            let detail = format!("the current version of the key is {id}");
            let error = ApiError::new(Code::PreconditionFailed, detail);
            return Err(error.with_number("current", id.0));
        }
        if question.since.is_some_and(|since| id <= since) && may_wait {
            // A deletion is of interest whatever `since` says.
            return Ok(park(api, question, before, deadline));
        }
        if !question.known.hold(Some(id)) {
            return Ok(Reply::Now(versioned(Response::new(304), id)));
        }
        // Without it, another version took its place meanwhile, and it was purged.
        if let Some(change) = change::change(api, id).await? {
            return Ok(Reply::Now(versioned(Response::json(200, change), id)));
        }
    }
}

/// Waits for a change of the key after `before`.
fn park(api: &Context, question: KeyQuestion, before: ChangeId, deadline: Instant) -> Reply {
    let wait = api.node.wait_after_key(question.collection, &question.key, before);
    Reply::Park(Parked { asked: ParkedRead::Key(Box::new(question)), wait: wait.into(), deadline })
}

/// A page of the keys of `collection`.
pub(in crate::api) async fn list(
    api: &Context,
    collection: &Collection,
    query: &ReadQuery<'_>,
) -> Result<Reply, ApiError> {
    let prefix = query.prefix.unwrap_or_default();
    let limit = query.limit.unwrap_or(READ_LIMIT_DEFAULT);
    let mut after = query.after.map(Box::from);
    let mut list = ListAnswer::new(Frame::Keys, limit.min(READ_EXPECTED_FILTERED));
    let mut places = Places::scattered();
    let mut rendered = Growing::new(&api.held);
    loop {
        let left = limit - list.changes();
        let slice = collection.keys_after(after.as_deref(), prefix, left);
        // What was found is in this core's history after that.
        api.node.catch_up_with_index().await;
        // One that is gone was replaced, and its change purged, meanwhile.
        for id in slice.entries {
            let push = |stored: Stored<'_>| match stored {
                Stored::Change { id, at, change } => list.push(id, at, change.text()),
                Stored::Whole(change) => list.push_whole(&change),
            };
            let is_full = match change::read(api, &mut places, id, push).await {
                Ok(pushed) => pushed == Some(false),
                // Whoever goes on from there is told of it.
                Err(error) if error.code == Code::Damaged && list.changes() > 0 => true,
                Err(error) if error.code == Code::Damaged => {
                    let key = collection.key_of(id, after.as_deref(), prefix);
                    return Err(key.map_or(error.clone(), |key| error.with_text("key", key)));
                }
                Err(error) => return Err(error),
            };
            if is_full {
                return Ok(Reply::Now(Response::json(200, list.finish_keys(false))));
            }
            rendered.hold(list.held_bytes())?;
            cores::yield_if_needed().await;
        }
        after = slice.next;
        if after.is_none() || list.changes() == limit {
            let at_end = after.is_none();
            return Ok(Reply::Now(Response::json(200, list.finish_keys(at_end))));
        }
    }
}

/// Says which version of the key an answer is about. It may be kept, and asked
/// about again each time.
fn versioned(response: Response, id: ChangeId) -> Response {
    response.with_header("ETag", format!("\"{id}\"")).with_header("Cache-Control", "no-cache")
}
