//! A page of a list that goes backwards: the newest changes below an id, still in ascending
//! order.

use std::collections::VecDeque;

use super::{
    change::{self, load},
    damage,
    older_answer::{OlderAnswer, OlderEnds},
    part::has_any,
    places::{Cold, Places, Stored},
    question::Question,
    shared_page::Page,
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, purged},
        growing::Growing,
    },
    base::{
        ids::ChangeId,
        limits::{READ_BYTES_MAX, READ_EXAMINED_MAX, READ_TURN_CHANGES},
    },
    io::cores,
    state::{Cursor, index::Reached, unread::Unread},
};

/// The ids among which the newest changes are looked for first.
const WINDOW_MIN: u64 = 256;
/// The most ids among which is looked at once.
const WINDOW_MAX: u64 = 1 << 20;

/// Reads the newest changes of the list below `before`, or of all.
///
/// # Errors
/// [`Code::Purged`] where the change before that is gone, and what a read comes to.
pub(super) async fn page(
    api: &Context,
    question: &Question,
    before: Option<ChangeId>,
) -> Result<Page, ApiError> {
    let cursor = question.cursor(api.node.index())?;
    api.node.catch_up_with_index().await;
    let (first, last) = api.bounds_of(&question.lists);
    if question.start.is_purged(first) {
        return Err(purged(first));
    }
    let end = before.map_or(last.next(), |before| before.min(last.next()));
    let mut reader = Reader {
        api,
        question,
        list: OlderAnswer::new(READ_BYTES_MAX),
        places: Places::scattered(),
        end,
        budget: READ_EXAMINED_MAX as u64,
        is_full: false,
    };
    reader.read(cursor.as_ref(), first).await?;
    let Reader { list, end: reached, .. } = reader;
    let found = |from, upto| {
        let cursor = cursor.as_ref().map(Cursor::again);
        async move {
            match cursor {
                None => Ok(from <= upto),
                Some(cursor) => has_any(api, cursor, from, upto).await,
            }
        }
    };
    let is_preceded = reached > first && found(first, ChangeId(reached.0 - 1)).await?;
    let is_followed = found(end.max(first), last).await?;
    let asked = ChangeId(end.0.saturating_sub(1));
    let (at_end, last) = (!is_followed, if is_followed { asked } else { last });
    let changes = list.changes();
    let body = list.finish(OlderEnds { at_start: !is_preceded, at_end, last, before: reached });
    Ok(Page { body, changes, last, at_end })
}

/// A page under construction.
struct Reader<'r> {
    api: &'r Context,
    question: &'r Question,
    list: OlderAnswer,
    places: Places,
    /// Everything from here on was looked at.
    end: ChangeId,
    /// Changes that may still be looked at; each search counts for some.
    budget: u64,
    is_full: bool,
}

impl Reader<'_> {
    fn is_done(&self, oldest: ChangeId) -> bool {
        let left = self.question.limit.saturating_sub(self.list.changes());
        self.is_full || left == 0 || self.budget == 0 || self.end <= oldest
    }

    /// Reads backwards down to `oldest`, or until the page is full.
    async fn read(&mut self, cursor: Option<&Cursor>, oldest: ChangeId) -> Result<(), ApiError> {
        let mut rendered = Growing::new(&self.api.held);
        let mut window = WINDOW_MIN;
        while !self.is_done(oldest) {
            let from = ChangeId(self.end.0.saturating_sub(window).max(oldest.0));
            let wanted = self.question.limit - self.list.changes();
            let (ids, is_whole) = self.ids(cursor, from, wanted).await?;
            let lowest = ids.front().copied().filter(|_| !is_whole);
            for id in ids.into_iter().rev() {
                if !self.take(id).await? {
                    return Ok(());
                }
                rendered.hold(self.list.held_bytes())?;
                cores::yield_if_needed().await;
            }
            if self.list.changes() == self.question.limit {
                return Ok(());
            }
            // Where some were left out, one of those that were found did not bear the tag after all.
            self.end = lowest.unwrap_or(from);
            self.budget = self.budget.saturating_sub(WINDOW_MIN);
            window = (2 * window).min(WINDOW_MAX);
        }
        Ok(())
    }

    /// The newest `wanted` ids of the list from `from` up to where this was, and whether these
    /// are all.
    async fn ids(
        &mut self,
        cursor: Option<&Cursor>,
        from: ChangeId,
        wanted: usize,
    ) -> Result<(VecDeque<ChangeId>, bool), ApiError> {
        let upto = ChangeId(self.end.0 - 1);
        let Some(cursor) = cursor else {
            let lowest = from.0.max(self.end.0.saturating_sub(wanted as u64));
            return Ok(((lowest..self.end.0).map(ChangeId).collect(), lowest == from.0));
        };
        let (mut cursor, mut at) = (cursor.again(), from);
        let (mut ids, mut is_whole) = (VecDeque::new(), true);
        let mut steps = READ_TURN_CHANGES;
        loop {
            match cursor.next(self.api.node.index(), at, upto, &mut steps) {
                Ok(None) => return Ok((ids, is_whole)),
                Ok(Some(id)) => {
                    if ids.len() == wanted {
                        ids.pop_front();
                        is_whole = false;
                    }
                    ids.push_back(id);
                    at = id.next();
                    steps = steps.saturating_sub(1);
                    if at > upto {
                        return Ok((ids, is_whole));
                    }
                }
                Err(Reached::Id(reached)) => at = reached,
                Err(Reached::Unread(Unread::Missing(missing, damaged))) => {
                    load(self.api, Cold::index(missing, damaged)).await?;
                }
                Err(Reached::Unread(Unread::Damaged(damaged))) => {
                    return Err(damage::refusal(self.api, &damaged).await);
                }
            }
            if steps == 0 {
                steps = READ_TURN_CHANGES;
                cores::yield_if_needed().await;
            }
        }
    }

    /// Adds a change if it belongs to the page; whether to go on.
    async fn take(&mut self, id: ChangeId) -> Result<bool, ApiError> {
        let (list, tags) = (&mut self.list, &self.question.tags);
        let push = |stored: Stored<'_>| match stored {
            Stored::Change { id, at, change } => {
                tags.passes(change.tags).then(|| list.push(id, at, change.text()))
            }
            // It was purged meanwhile, and is kept for its key.
            Stored::Whole(_) => Some(false),
        };
        let pushed = match change::read(self.api, &mut self.places, id, push).await {
            Ok(Some(pushed)) => pushed.unwrap_or(true),
            // Purged meanwhile.
            Ok(None) => false,
            // Whoever goes on from there is told of it.
            Err(error) if error.code == Code::Damaged && self.list.changes() > 0 => false,
            Err(error) => return Err(error),
        };
        self.is_full = !pushed;
        if pushed {
            self.end = id;
            self.budget = self.budget.saturating_sub(1);
        }
        Ok(pushed)
    }
}
