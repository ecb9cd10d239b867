//! A page of a list of changes: at once, or parked until there is something to
//! answer with.

use std::time::Instant;

use super::{
    answer::Frame,
    caching,
    freshness::wait_for,
    older, part,
    question::{Question, Start},
    shared_page::{Held, Page},
};
use crate::{
    api::{
        context::Context,
        error::ApiError,
        reply::{Parked, ParkedRead, Reply},
    },
    base::{ids::ChangeId, limits::READ_BYTES_MAX, planted::planted},
    http::Response,
};

/// Answers a question, or parks it.
pub(in crate::api) async fn ask(
    api: &Context,
    mut question: Question,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    let may_wait = now < deadline && !api.node.is_stopping();
    if let Some(wait) = wait_for(api, question.min_id, may_wait)? {
        return Ok(Reply::Park(Parked {
            asked: ParkedRead::List(question),
            wait: wait.into(),
            deadline,
        }));
    }
    if let Start::Before(before) = question.start {
        let page = Box::pin(older::page(api, &question, before)).await?;
        return Ok(Reply::Now(page.answer(&question)));
    }
    let page = page(api, &question).await?;
    if page.changes == 0 && page.at_end && question.block && may_wait {
        // What was examined need not be examined again.
        question.start = Start::After(page.last);
        let wait = question.lists.wait_after(&api.node, page.last);
        return Ok(Reply::Park(Parked {
            asked: ParkedRead::Rest(question),
            wait: wait.into(),
            deadline,
        }));
    }
    Ok(Reply::Now(page.answer(&question)))
}

impl Page {
    fn answer(self, question: &Question) -> Response {
        caching::answer(question.caching.as_deref(), self.body, self.changes, self.at_end)
    }
}

async fn page(api: &Context, question: &Question) -> Result<Page, ApiError> {
    // A list that is gone is not answered from memory.
    let cursor = question.cursor(api.node.index())?;
    api.node.catch_up_with_index().await;
    // What is redacted while the page is read must not be in the next one's answer.
    let held = Held {
        redactions: api.node.index().redactions.version(),
        bounds: api.bounds_of(&question.lists),
    };
    if let Some(page) = api.shared.get(question, held) {
        return Ok(page);
    }
    let (frame, all) = (Frame::Changes, ChangeId(u64::MAX));
    let part = part::read(api, question, cursor, frame, all, READ_BYTES_MAX).await?;
    let changes = part.list.changes();
    let last = if planted!(GoOnAfterNewest) { held.bounds.1 } else { part.examined };
    let body = part.list.finish(part.at_start, part.at_end, last);
    let page = Page { body, changes, last, at_end: part.at_end };
    api.shared.set(question, held, &page);
    Ok(page)
}
