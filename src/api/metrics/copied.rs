//! A histogram that is kept elsewhere, copied when it is asked for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::base::times::{Counted, Times};

/// A copy of a histogram. Clones are the same copy.
#[derive(Clone, Debug)]
pub(super) struct Copied(Arc<Mutex<Counted>>);

impl Default for Copied {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Times::default().read())))
    }
}

impl Copied {
    pub(super) fn set(&self, counted: Counted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    }
}

impl EncodeMetric for Copied {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Counted { buckets, count, sum_seconds } = counted;
        encoder.encode_histogram::<NoLabelSet>(sum_seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
