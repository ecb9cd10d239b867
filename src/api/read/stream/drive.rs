//! Begins streams, and makes their parts one after another.

use std::time::Instant;

use bytes::BytesMut;

use super::{
    event::{RETRY, RETRY_UNAVAILABLE, problem_event, unavailable},
    state::{ChangeStream, Next},
    walk,
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, purged},
        read::{
            answer::Frame,
            freshness::{self, check_not_replaced, wait_for},
            part,
            question::Start,
        },
        reply::{Parked, ParkedRead, Reply},
    },
    base::{
        ids::ChangeId,
        limits::{HEARTBEAT, STREAM_PART_BYTES, STREAM_PART_CHANGES},
    },
};

/// Whether a copy holds what a stream begins with, which its origin may hold.
///
/// # Errors
/// [`Code::Purged`]
pub(in crate::api) fn check_held(api: &Context, stream: &ChangeStream) -> Result<(), ApiError> {
    let (first, _) = api.bounds_of(&stream.question.lists);
    match api.origins.is_some() && stream.question.start.is_purged(first) {
        true => Err(purged(first)),
        false => Ok(()),
    }
}

/// Begins a stream, once this node holds what it must.
pub(in crate::api) fn open(
    api: &Context,
    mut stream: ChangeStream,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    let may_wait = now < deadline && !api.node.is_stopping();
    match freshness::check(api).and_then(|()| wait_for(api, stream.question.min_id, may_wait)) {
        Ok(None) => {}
        Ok(Some(wait)) => {
            let asked = ParkedRead::Stream(Box::new(stream));
            return Ok(Reply::Park(Parked { asked, wait: wait.into(), deadline }));
        }
        Err(error) if stream.takes_only_events => return Ok(Reply::Now(unavailable(error))),
        Err(error) => return Err(error),
    }
    let (first, last) = api.bounds_of(&stream.question.lists);
    // Events are told of it by an event.
    if stream.question.start.is_purged(first) && stream.frame == Frame::Lines {
        return Err(purged(first));
    }
    if stream.question.start == Start::Oldest {
        stream.question.start = Start::After(ChangeId(first.0 - 1));
    }
    if stream.idle.is_none() {
        stream.until = Some(last);
    }
    Ok(Reply::Stream(stream.into()))
}

/// The next part of a stream.
///
/// # Errors
/// When it cannot go on: it must break off.
pub(in crate::api) async fn advance(
    api: &Context,
    stream: &mut ChangeStream,
    now: Instant,
) -> Result<Next, ApiError> {
    match step(api, stream, now).await {
        Err(error) if is_for_good(error.code) => refuse(stream, error),
        // It passes, and so it is told as where a stream is opened.
        Err(error) if error.code == Code::Behind && stream.frame == Frame::Events => {
            stream.ended = true;
            Ok(Next::Part(problem_event("unavailable", RETRY_UNAVAILABLE, error)))
        }
        next => next,
    }
}

/// The last part of a stream that cannot go on for good.
///
/// # Errors
/// The same, where no event can tell of it.
pub(in crate::api) fn refuse(stream: &mut ChangeStream, error: ApiError) -> Result<Next, ApiError> {
    if stream.frame != Frame::Events {
        return Err(error);
    }
    if stream.ended {
        return Ok(Next::End);
    }
    stream.ended = true;
    let retry = if stream.opening { RETRY } else { b"" };
    Ok(Next::Part(problem_event("reset", retry, error)))
}

async fn step(api: &Context, stream: &mut ChangeStream, now: Instant) -> Result<Next, ApiError> {
    let cluster = api.node.cluster();
    if stream.ended {
        return Ok(Next::End);
    }
    freshness::check(api)?;
    check_not_replaced(api)?;
    if let Some(walk) = &mut stream.walk {
        let walk::Part { bytes, end } = walk::part(api, walk).await?;
        if let Some((goes_on, since)) = end {
            (stream.walk, stream.ended, stream.told) = (None, !goes_on, since);
            stream.question.start = Start::After(since);
        }
        return Ok(Next::Part(bytes));
    }
    if stream.opening {
        let (first, _) = api.bounds_of(&stream.question.lists);
        if stream.question.start.is_purged(first) {
            return Err(purged(first));
        }
        stream.opening = false;
        let mut out = BytesMut::from(if stream.frame == Frame::Events { RETRY } else { b"" });
        stream.put_cursor(&mut out, cluster);
        return Ok(Next::Part(out.freeze()));
    }
    let is_ahead = |stream: &ChangeStream| {
        stream.until.is_none_or(|until| stream.question.start.id() < until) && stream.left > 0
    };
    if api.node.is_stopping() {
        // One that goes on elsewhere ends; an export must not look complete.
        return match stream.until.is_some() && is_ahead(stream) {
            true => Err(ApiError::new(Code::Internal, "the node stops")),
            false => Ok(last_part(api, stream, now).await?),
        };
    }
    let (mut out, mut at_end) = (BytesMut::new(), true);
    if !stream.follow_wait() && is_ahead(stream) {
        (out, at_end) = read_part(api, stream, now).await?;
    }
    let is_over = stream.left == 0
        || (at_end && stream.until.is_some())
        || stream.idle_end.is_some_and(|end| end <= now);
    if is_over && out.is_empty() && at_end {
        return Ok(stream.end(cluster));
    }
    if !is_over {
        stream.put_progress(&mut out, at_end, &api.node, now);
    }
    if !out.is_empty() || !at_end {
        // Much may have been looked at for nothing; others get their turn.
        return Ok(Next::Part(out.freeze()));
    }
    Ok(stream.park(&api.node))
}

/// What is left to say at a stop of the node: to a client that has caught up,
/// what came since, too.
async fn last_part(
    api: &Context,
    stream: &mut ChangeStream,
    now: Instant,
) -> Result<Next, ApiError> {
    if stream.wait.is_some() && !stream.follow_wait() && stream.left > 0 {
        let (out, _) = read_part(api, stream, now).await?;
        stream.wait = None;
        if !out.is_empty() {
            return Ok(Next::Part(out.freeze()));
        }
    }
    Ok(stream.end(api.node.cluster()))
}

/// The changes that follow, as many as a part has, and whether these are all.
async fn read_part(
    api: &Context,
    stream: &mut ChangeStream,
    now: Instant,
) -> Result<(BytesMut, bool), ApiError> {
    let question = &mut stream.question;
    question.limit = stream.left.min(STREAM_PART_CHANGES);
    let cursor = question.cursor(api.node.index())?;
    let until = stream.until.unwrap_or(ChangeId(u64::MAX));
    let part = part::read(api, question, cursor, stream.frame, until, STREAM_PART_BYTES).await?;
    question.start = Start::After(part.examined);
    if part.at_end && stream.until.is_none() {
        stream.wait = Some(question.lists.wait_after(&api.node, part.examined));
    }
    let changes = part.list.changes();
    if changes > 0 {
        // So will all be that follow.
        stream.question.later_than = None;
        stream.left = stream.left.saturating_sub(changes);
        stream.idle_end = stream.idle.and_then(|idle| now.checked_add(idle));
        stream.caught_up = false;
        if stream.frame == Frame::Lines {
            stream.heartbeat_at = now + HEARTBEAT;
        }
    }
    Ok((part.list.into_part(), part.at_end))
}

/// Whether a client that comes back would be told the same.
fn is_for_good(code: Code) -> bool {
    matches!(code, Code::Purged | Code::NotFound | Code::Damaged | Code::OtherHistory)
}
