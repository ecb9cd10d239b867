//! The newest page of a core, kept for the many who ask the same.

use std::cell::RefCell;

use bytes::Bytes;

use super::question::Question;
use crate::base::ids::ChangeId;

/// Pages up to this size are kept for the next one with the same question.
const SHARED_BYTES_MAX: usize = 1 << 20;

/// What a page was made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The oldest and the newest change.
    pub(super) bounds: (ChangeId, ChangeId),
    /// Which of them were redacted; see `Redactions::version`.
    pub(super) redactions: u64,
}

/// A rendered answer.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) body: Bytes,
    pub(super) changes: usize,
    /// The last id examined.
    pub(super) last: ChangeId,
    pub(super) at_end: bool,
}

/// The newest page, with what it answers.
#[derive(Default)]
pub(in crate::api) struct SharedPage(RefCell<Option<(Question, Held, Page)>>);

impl SharedPage {
    /// The page that answers `question` while so much is held, if it is that one.
    pub(super) fn get(&self, question: &Question, held: Held) -> Option<Page> {
        match &*self.0.borrow() {
            Some((asked, then, page)) if asked == question && *then == held => Some(page.clone()),
            _ => None,
        }
    }

    /// Keeps a page in the place of the one before, unless it is large.
    pub(super) fn set(&self, question: &Question, held: Held, page: &Page) {
        let is_small = page.body.len() <= SHARED_BYTES_MAX;
        *self.0.borrow_mut() = is_small.then(|| (question.clone(), held, page.clone()));
    }
}
