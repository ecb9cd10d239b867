//! Which keys under a prefix moved after some change: the newest change of each, deletions
//! included.

use std::time::Instant;

use super::{
    answer::{Frame, ListAnswer},
    change::{self, load},
    damage,
    places::{Cold, Places, Stored},
    question::MovedQuestion,
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, purged},
        growing::Growing,
        reply::{Parked, ParkedRead, Reply},
    },
    base::{
        batch::ChangeRef,
        ids::ChangeId,
        limits::{READ_MOVED_EXAMINED_MAX, READ_TURN_CHANGES},
    },
    http::Response,
    io::cores,
    state::{
        Cursor, ListId,
        index::{Collection, Reached},
        unread::Unread,
    },
};

/// Answers which keys moved, or parks the question.
pub(in crate::api) async fn ask(
    api: &Context,
    mut question: MovedQuestion,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    let may_wait = question.block && now < deadline && !api.node.is_stopping();
    let page = read(api, &question).await?;
    if page.list.changes() == 0 && page.at_end && may_wait {
        // What was examined need not be examined again.
        question.since = page.examined;
        let wait = api.node.wait_after(ListId::Collection(question.collection), page.examined);
        let asked = ParkedRead::Moved(Box::new(question));
        return Ok(Reply::Park(Parked { asked, wait: wait.into(), deadline }));
    }
    let body = page.list.finish_moved(page.at_end, page.examined);
    Ok(Reply::Now(Response::json(200, body)))
}

struct Page {
    list: ListAnswer,
    examined: ChangeId,
    at_end: bool,
}

async fn read(api: &Context, question: &MovedQuestion) -> Result<Page, ApiError> {
    let Some(collection) = api.catalog().collection(question.collection) else {
        let detail = format!("the collection {} does not exist", question.collection);
        return Err(ApiError::new(Code::NotFound, detail));
    };
    api.node.catch_up_with_index().await;
    let (first, last) = api.bounds();
    if question.since.next() < first {
        return Err(purged(first));
    }
    let mut cursor = Cursor::collection(collection.clone(), &[]);
    let mut list = ListAnswer::new(Frame::Keys, 1);
    let (mut places, mut rendered) = (Places::scattered(), Growing::new(&api.held));
    let (mut at, mut left) = (question.since.next(), READ_MOVED_EXAMINED_MAX);
    while at <= last && left > 0 && list.changes() < question.limit {
        let found = match cursor.next(api.node.index(), at, last, &mut READ_TURN_CHANGES.clone()) {
            Ok(Some(found)) => found,
            Ok(None) => {
                at = last.next();
                break;
            }
            Err(Reached::Id(reached)) => {
                at = reached;
                continue;
            }
            Err(Reached::Unread(Unread::Missing(missing, damaged))) => {
                load(api, Cold::index(missing, damaged)).await?;
                continue;
            }
            Err(Reached::Unread(Unread::Damaged(damaged))) => {
                return Err(damage::refusal(api, &damaged).await);
            }
        };
        let push = |stored: Stored<'_>| match stored {
            Stored::Change { id, at, change }
                if moved(&collection, &question.prefix, id, &change) =>
            {
                list.push(id, at, change.text())
            }
            // One that was purged meanwhile is what a key list has.
            Stored::Change { .. } | Stored::Whole(_) => true,
        };
        match change::read(api, &mut places, found, push).await {
            Ok(Some(true)) => {}
            // It is full, or the rest was purged meanwhile.
            Ok(Some(false) | None) => break,
            // Whoever goes on from there is told of it.
            Err(error) if error.code == Code::Damaged && list.changes() > 0 => break,
            Err(error) => return Err(error),
        }
        at = found.next();
        left -= 1;
        rendered.hold(list.held_bytes())?;
        cores::yield_if_needed().await;
    }
    let examined = ChangeId(at.0 - 1).max(question.since);
    Ok(Page { list, examined, at_end: examined >= last })
}

/// Whether a change is the newest of a key with that prefix, as far as the index knows: whoever
/// goes on is given a newer one.
fn moved(collection: &Collection, prefix: &str, id: ChangeId, change: &ChangeRef<'_>) -> bool {
    let key = change.key().filter(|key| key.starts_with(prefix));
    key.is_some_and(|key| match collection.current(&key) {
        Some(current) => current == id,
        None => change.is_deletion(),
    })
}
