//! The tags of one change, rendered as they are stored.

use smallvec::SmallVec;

use super::error::Fault;
use crate::{
    api::error::excerpt,
    base::{
        json_string::write_json_string,
        limits::{TAG_BYTES_MAX, TAGS_MAX},
    },
};

/// No character has a longer spelling than `\u0000`.
pub(super) const SPELLING_BYTES_MAX: usize = 6;
/// The longest text between the brackets of `tags`, with quotes and commas.
const TAGS_BYTES_MAX: usize = TAGS_MAX * (TAG_BYTES_MAX * SPELLING_BYTES_MAX + 3);
/// Enough for most, so that their text is allocated once.
const TAGS_BYTES_USUAL: usize = 256;
/// `ChangeSpan` holds places and lengths of tags as `u16`; this bound is why the
/// casts are exact.
const _: () = assert!(TAGS_BYTES_MAX <= u16::MAX as usize);

/// The tags of one change after another; the memory is used again.
#[derive(Default)]
pub(super) struct Tags {
    /// In canonical spelling, with commas between them.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: SmallVec<[usize; TAGS_MAX]>,
}

impl Tags {
    /// Makes it that of a change without tags.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a tag.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn push(&mut self, tag: &str) -> Result<(), Fault> {
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
            return Err(Fault::Tag);
        }
        if self.ends.len() == TAGS_MAX {
            return Err(Fault::Tags);
        }
        match self.ends.is_empty() {
            true => self.text.reserve(TAGS_BYTES_USUAL),
            false => self.text.push(b','),
        }
        let start = self.text.len();
        write_json_string(&mut self.text, tag);
        let mut from = 0;
        for &end in &self.ends {
            if self.text.get(from..end) == self.text.get(start..) {
                return Err(Fault::DuplicateTag(excerpt(tag)));
            }
            from = end + 1;
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    /// What stands between the brackets of `tags`.
    pub(super) fn text(&self) -> &[u8] {
        assert!(self.text.len() <= TAGS_BYTES_MAX, "the rules for tags bound their text");
        &self.text
    }
}
