//! Reading a part of a list: a page, or what a stream sends next.

use super::{
    answer::{Frame, ListAnswer},
    change::load,
    damage, moment,
    page_reader::PageReader,
    places::{Cold, Source},
    question::{Lists, Question},
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, purged},
        growing::Growing,
    },
    base::{
        ids::ChangeId,
        limits::{READ_EXPECTED_FILTERED, READ_TURN_CHANGES},
    },
    io::cores,
    state::{Cursor, ListId, index::Reached, unread::Unread},
};

/// What was read of a list.
pub(super) struct Part {
    pub(super) list: ListAnswer,
    /// The last id examined.
    pub(super) examined: ChangeId,
    pub(super) at_start: bool,
    pub(super) at_end: bool,
}

/// Reads changes up to `until` into an answer in that frame, as many as fit
/// `bytes_max`.
pub(super) async fn read(
    api: &Context,
    question: &Question,
    cursor: Option<Cursor>,
    frame: Frame,
    until: ChangeId,
    bytes_max: usize,
) -> Result<Part, ApiError> {
    let (first, last) = api.bounds_of(&question.lists);
    let last = last.min(until);
    if question.start.is_purged(first) {
        return Err(purged(first));
    }
    let mut asked = question.start.id();
    if let Some(at) = question.later_than {
        asked = asked.max(moment::last_upto(api, at, asked.next(), last).await?);
    }
    let at_start = match (&question.lists, &cursor) {
        (Lists::One(ListId::All), _) | (_, None) => asked < first || last < first,
        (_, Some(cursor)) => !is_preceded(api, cursor, first, asked).await?,
    };
    let since = ChangeId(asked.0.max(first.0 - 1));
    let there = usize::try_from(last.0.saturating_sub(since.0)).unwrap_or(usize::MAX);
    let filtered = if cursor.is_none() { usize::MAX } else { READ_EXPECTED_FILTERED };
    let expected = question.limit.min(there).min(filtered);
    let list = ListAnswer::with_bytes_max(frame, expected, bytes_max);
    let mut reader = PageReader::new(list, since, last, question.limit, &question.tags, cursor);
    let mut rendered = Growing::new(&api.held);
    while !reader.is_done() {
        let some = reader.read_some(&mut Source {
            history: &api.node.history(),
            verified: &mut api.verified.borrow_mut(),
            index: api.node.index(),
            now: cores::now(),
        });
        let failed = match some {
            Ok(None) => None,
            Ok(Some(cold)) => load(api, cold).await.map(|resident| reader.loaded(resident)).err(),
            Err(damaged) => Some(damage::refusal(api, &damaged).await),
        };
        match failed {
            // Whoever goes on from there is told of it.
            Some(error) if error.code == Code::Damaged && reader.has_changes() => break,
            Some(error) => return Err(error),
            None => {}
        }
        rendered.hold(reader.held_bytes())?;
        cores::yield_if_needed().await;
    }
    while let Some(cold) = reader.look_on(api.node.index()) {
        reader.loaded(load(api, cold).await?);
    }
    // A `since` beyond the newest change stays what it is.
    let examined = reader.examined().max(asked);
    let at_end = examined >= last;
    Ok(Part { list: reader.into_list(), examined, at_start, at_end })
}

/// Whether the list has a change from `held` on and up to `asked`, whatever its tags.
async fn is_preceded(
    api: &Context,
    cursor: &Cursor,
    held: ChangeId,
    asked: ChangeId,
) -> Result<bool, ApiError> {
    if let Some(begins) = cursor.begins() {
        if begins == ChangeId::ZERO || begins.max(held) > asked {
            return Ok(false);
        }
        if begins >= held {
            return Ok(true);
        }
    }
    has_any(api, cursor.whole(), held, asked).await
}

/// Whether `cursor` finds a change from the one on and up to the other. Where that cannot be
/// read there may be one.
pub(super) async fn has_any(
    api: &Context,
    mut cursor: Cursor,
    mut from: ChangeId,
    upto: ChangeId,
) -> Result<bool, ApiError> {
    while from <= upto {
        match cursor.next(api.node.index(), from, upto, &mut READ_TURN_CHANGES.clone()) {
            Ok(found) => return Ok(found.is_some()),
            Err(Reached::Id(reached)) => from = reached,
            Err(Reached::Unread(Unread::Missing(missing, damaged))) => {
                if load(api, Cold::index(missing, damaged)).await.is_err() {
                    return Ok(true);
                }
            }
            Err(Reached::Unread(Unread::Damaged(damaged))) => {
                // What follows is served all the same, and there may be something before.
                api.node.tell_damaged(&damaged);
                return Ok(true);
            }
        }
        cores::yield_if_needed().await;
    }
    Ok(false)
}
