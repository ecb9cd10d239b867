//! Whom a request is counted for, and what the quota of that tenant lets it do.
//!
//! A request that concerns one tenant is billed when that tenant was looked up, which is before anything is done for
//! it; what it costs more is added as that becomes known. One that concerns several tenants, or all, is nobody's, but for the changes
//! that it writes: each is billed to its tenant.

use std::{sync::Arc, time::Instant};

use super::{
    body::Payer,
    context::Context,
    error::{ApiError, Code},
    metrics::Limit,
    request::path::{self, CollectionPath},
};
use crate::{
    base::{ids::Timestamp, quota::TenantQuota},
    http::{Method, Request},
    io::cores,
    state::index::{Collection, Exceeded, Meter, Quota, Tenant},
};

/// Whom a request in hand is counted for.
#[derive(Debug, Default)]
pub struct Account {
    payer: Option<Arc<Meter>>,
    /// It is counted as a wait, until it is done.
    waits: bool,
    /// The changes that it writes were counted.
    has_written: bool,
}

impl Account {
    /// Counts bytes that go to its client.
    pub(super) fn sent(&self, bytes: usize, now: u64) {
        if let Some(payer) = &self.payer {
            payer.count_bytes(bytes as u64, now);
        }
    }

    /// Nanoseconds until more may go.
    pub(super) fn pause(&self, now: u64) -> Option<u64> {
        self.payer.as_ref()?.bytes_due_in(now)
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
    reads: bool,
    body_bytes: usize,
    /// When it came.
    now: Instant,
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

impl Context {
    /// The tenant that a path names, which is billed.
    ///
    /// # Errors
    /// [`Code::NotFound`], and those of [`bill`](Self::bill).
    pub(super) fn tenant(&self, text: &str) -> Result<Arc<Tenant>, ApiError> {
        let tenant = path::tenant(self.visible(), text)?;
        self.bill(&tenant.meter)?;
        Ok(tenant)
    }

    /// The collection that a path names, whose tenant is billed.
    ///
    /// # Errors
    /// The same.
    pub(super) fn collection(&self, path: CollectionPath<'_>) -> Result<Arc<Collection>, ApiError> {
        let collection = path::collection(self.visible(), path)?;
        self.bill(&collection.meter)?;
        Ok(collection)
    }

    /// Bills the request in hand to a tenant, unless it was billed before.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`]
    pub(super) fn bill(&self, meter: &Arc<Meter>) -> Result<(), ApiError> {
        let mut account = self.account.borrow_mut();
        if account.payer.is_some() {
            return Ok(());
        }
        let now = self.moment();
        self.check(meter, now)?;
        if self.costs.reads {
            meter.read(now).map_err(|exceeded| self.exceeded(exceeded))?;
        }
        if self.costs.body_bytes > 0 {
            meter.count_bytes(self.costs.body_bytes as u64, now);
        }
        account.payer = Some(Arc::clone(meter));
        Ok(())
    }

    /// Whether a request of which only the head is known could be billed.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`]
    pub(super) fn check_bill(&self, meter: &Meter) -> Result<(), ApiError> {
        self.check(meter, self.moment())
    }

    fn check(&self, meter: &Meter, now: u64) -> Result<(), ApiError> {
        let checked = meter.check_bytes(now);
        let checked = match self.costs.reads {
            true => checked,
            false => checked.and_then(|()| meter.check_writes(1, now, wall)),
        };
        checked.map_err(|exceeded| self.exceeded(exceeded))
    }

    /// Bills so many changes to whoever the request is billed to, or to each of those whose changes they are.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`]
    pub(super) fn bill_changes(&self, count: usize, payers: &[Payer]) -> Result<(), ApiError> {
        let mut account = self.account.borrow_mut();
        if account.has_written {
            return Ok(());
        }
        let now = self.moment();
        let exceeded = |exceeded| self.exceeded(exceeded);
        if let Some(payer) = &account.payer {
            payer.write(count as u64, now).map_err(exceeded)?;
        } else {
            // All are looked at before anything is counted for one.
            for Payer { meter, changes, .. } in payers {
                let checked = meter.check_bytes(now);
                checked.and_then(|()| meter.check_writes(*changes, now, wall)).map_err(exceeded)?;
            }
            for Payer { meter, changes, bytes } in payers {
                meter.write(*changes, now).map_err(exceeded)?;
                meter.count_bytes(*bytes, now);
            }
        }
        account.has_written = true;
        Ok(())
    }

    /// When the request came, as meters count.
    fn moment(&self) -> u64 {
        self.catalog().moment(self.costs.now)
    }
}

/// The present as batches are stamped.
fn wall() -> Timestamp {
    Timestamp(cores::wall_micros())
}

impl super::context::Core {
    /// The refusal of what a quota does not allow; it is counted.
    pub(super) fn exceeded(&self, exceeded: Exceeded) -> ApiError {
        let Exceeded { quota, allows, wait } = exceeded;
        self.metrics.limited(match quota {
            Quota::Writes => Limit::QuotaWrites,
            Quota::Reads => Limit::QuotaReads,
            Quota::Waits => Limit::QuotaWaits,
            Quota::Bytes => Limit::QuotaBytes,
        });
        let (name, _) = TenantQuota::MEMBERS[quota as usize];
        let detail = format!("the quota of the tenant is used up: {name} is {allows}");
        let seconds = wait.div_ceil(1_000_000_000).max(1);
        ApiError {
            retry_after_s: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
            ..ApiError::new(Code::TooManyRequests, detail)
        }
    }
}
