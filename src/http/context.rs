//! What all connections of one core share.

use super::{date::DateText, field_writer::FieldWriter};
use crate::base::limits::Limits;
use std::{cell::Cell, fmt};

type CommonHeaders = Box<dyn Fn(&mut FieldWriter<'_>)>;

/// The limits, the date, and the headers that every answer bears, for all
/// connections of one core.
pub struct Context {
    limits: Limits,
    date: Cell<DateText>,
    common_headers: CommonHeaders,
}

impl Context {
    /// A context whose answers bear no headers but those of HTTP.
    #[must_use]
    pub fn new(limits: Limits, date: DateText) -> Self {
        Self { limits, date: Cell::new(date), common_headers: Box::new(|_| {}) }
    }

    /// Has `write` called for the head of every answer, refusals by this layer
    /// included.
    #[must_use]
    pub fn with_common_headers(mut self, write: impl Fn(&mut FieldWriter<'_>) + 'static) -> Self {
        self.common_headers = Box::new(write);
        self
    }

    /// The bounds that requests must keep.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the `Date` of the answers to come; to be called once a second.
    pub fn set_date(&self, date: DateText) {
        self.date.set(date);
    }

    pub(super) fn write_headers(&self, fields: &mut FieldWriter<'_>) {
        fields.bytes("Date", self.date.get().as_bytes());
        // What a client sent is never taken for a page by a browser that guesses.
        fields.text("X-Content-Type-Options", "nosniff");
        (self.common_headers)(fields);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("limits", &self.limits)
            .field("date", &self.date)
            .finish_non_exhaustive()
    }
}
