//! Billing requests to tenants, and what their quotas let them do.
//!
//! A request that concerns one tenant is billed when that tenant was looked up, which is before anything is done for
//! it; what it costs more is added as that becomes known. One that concerns several tenants, or all, is nobody's, but for the changes
//! that it writes: each is billed to its tenant.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    account::Account,
    body::Payer,
    context::{Context, Core},
    error::{ApiError, Code},
    metrics::Limit,
    request::{
        accept,
        path::{self, CollectionPath},
    },
};
use crate::{
    base::{ids::Timestamp, quota::TenantQuota},
    http::Response,
    io::cores,
    state::index::{Collection, Exceeded, Meter, Quota, Tenant},
};

/// What is billed of requests in hand, beside what the API does for them.
pub struct Bills<'c>(&'c Core);

impl<'c> Bills<'c> {
    pub(super) fn new(core: &'c Core) -> Self {
        Self(core)
    }

    /// Counts a request as a wait until its `account` goes.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`]: its tenant has as many as it may.
    pub fn wait(&self, account: &mut Account) -> Result<(), ApiError> {
        account.wait().map_err(|exceeded| self.0.exceeded(exceeded))
    }

    /// The same of a stream: the answer that takes its place, where that must not stand.
    pub fn stream(&self, account: &mut Account) -> Option<Response> {
        self.wait(account).err().map(|error| accept::negotiated(error.into()))
    }

    /// Counts bytes of an answer.
    pub fn sent(&self, account: &Account, bytes: usize, now: Instant) {
        account.sent(bytes, || self.0.catalog().moment(now));
    }

    /// How long a stream is to wait before it goes on, where its tenant has used up its bytes.
    #[must_use]
    pub fn pause(&self, account: &Account, now: Instant) -> Option<Duration> {
        account.pause(|| self.0.catalog().moment(now)).map(Duration::from_nanos)
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
        if account.has_written || (account.payer.is_none() && payers.is_empty()) {
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

impl Core {
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
