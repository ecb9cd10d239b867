//! What is kept of a request while it is answered, and counted.

use std::time::{Duration, Instant};

use crate::{
    api::{
        Account, Api, access::Principal, audit::Event, browser::Reader, coding::Accepted,
        metrics::Gauge,
    },
    http::{self, Response},
};

/// What is kept of a request while it is answered.
pub(super) struct InHand<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) method: http::Method,
    /// Who sent it, as far as it is good.
    pub(super) principal: Principal,
    /// What the audit log is told of it, if it is.
    pub(super) audited: Option<Box<Event>>,
    /// Whom it is billed to.
    pub(super) account: Account,
    /// The codings that its client takes.
    pub(super) accepted: Accepted,
    pub(super) arrived: Instant,
    /// It is about the node, and told whatever is held.
    pub(super) is_told: bool,
    /// How long it waited, if it did.
    pub(super) waited: Option<Duration>,
}

impl InHand<'_> {
    /// Tells the audit log what it is answered, where that is to know.
    pub(super) fn tell(&mut self, response: &Response) {
        if let Some(event) = self.audited.take() {
            event.answered(response);
        }
    }

    /// Counts bytes of an answer that its client is sent.
    pub(super) fn sent(&self, api: &Api, bytes: usize, now: Instant) {
        if self.method != http::Method::Head {
            api.bills().sent(&self.account, bytes, now);
        }
    }

    /// Whether it is a read.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.method, http::Method::Get | http::Method::Head)
    }
}

/// One more in a gauge, for as long as it lives.
pub(super) struct Counted<'g>(&'g Gauge);

impl<'g> Counted<'g> {
    /// Counts it.
    pub(super) fn new(gauge: &'g Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
