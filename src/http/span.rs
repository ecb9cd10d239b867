//! A place within a head or a target: half the size of a slice, and free of its
//! lifetime.

use std::ops::Range;

/// A range of bytes in text that is kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Nothing when a bound does not fit.
    pub(super) fn of(range: Range<usize>) -> Option<Self> {
        Some(Self { start: u32::try_from(range.start).ok()?, end: u32::try_from(range.end).ok()? })
    }

    /// Where `part`, a slice of `whole`, lies in it.
    pub(super) fn within(whole: &[u8], part: &[u8]) -> Option<Self> {
        if part.is_empty() {
            // An empty slice may point anywhere.
            return Some(Self { start: 0, end: 0 });
        }
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        Self::of(start..start.checked_add(part.len())?)
    }

    /// The bytes at this place; empty where `whole` has none.
    pub(super) fn bytes(self, whole: &[u8]) -> &[u8] {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The text at this place; empty where `whole` has none.
    pub(super) fn text(self, whole: &str) -> &str {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}
