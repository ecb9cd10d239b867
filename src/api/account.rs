//! Whom a request is counted for, and what it costs.

use std::{sync::Arc, time::Instant};

use crate::{
    http::{Method, Request},
    state::index::{Exceeded, Meter},
};

/// Whom a request in hand is counted for.
#[derive(Debug, Default)]
pub struct Account {
    pub(super) payer: Option<Arc<Meter>>,
    /// It is counted as a wait, until it is done.
    waits: bool,
    /// The changes that it writes were counted.
    pub(super) has_written: bool,
}

impl Account {
    /// Counts bytes that go to its client.
    pub(super) fn sent(&self, bytes: usize, now: impl FnOnce() -> u64) {
        if let Some(payer) = &self.payer {
            payer.count_bytes(bytes as u64, now());
        }
    }

    /// Nanoseconds until more may go.
    pub(super) fn pause(&self, now: impl FnOnce() -> u64) -> Option<u64> {
        self.payer.as_ref()?.bytes_due_in(now())
    }

    /// Counts it as a wait, once.
    ///
    /// # Errors
    /// As many stand as may.
    pub(super) fn wait(&mut self) -> Result<(), Exceeded> {
        if let Some(payer) = self.payer.as_ref().filter(|_| !self.waits) {
            payer.begin_wait()?;
            self.waits = true;
        }
        Ok(())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(payer) = self.payer.as_ref().filter(|_| self.waits) {
            payer.end_wait();
        }
    }
}

/// What is billed of a request besides its changes and its answer.
#[derive(Clone, Copy)]
pub(super) struct Costs {
    pub(super) reads: bool,
    pub(super) body_bytes: usize,
    /// When it came.
    pub(super) now: Instant,
}

impl Costs {
    /// What `request` costs, which came at `now`.
    pub(super) fn of(request: &Request, now: Instant) -> Self {
        let reads = matches!(request.method(), Method::Get | Method::Head);
        Self { reads, body_bytes: request.body().len(), now }
    }

    /// Those of one that was billed before.
    pub(super) fn known(now: Instant) -> Self {
        Self { reads: true, body_bytes: 0, now }
    }
}
