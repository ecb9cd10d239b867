//! How often and when something is tried again.

use std::time::Duration;

use crate::{connector::Connector, core::Core, error::Error, options::Options};

/// The longest pause that a node can ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// The pauses between the tries of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: Options,
    nodes: usize,
    retries: Option<u32>,
    failures: usize,
    pause: Duration,
    asked: Option<Duration>,
}

impl Backoff {
    /// Without `retries` it never gives up.
    pub(crate) fn new<C: Connector>(core: &Core<C>, retries: Option<u32>) -> Self {
        let options = core.options.clone();
        let pause = options.pause_min;
        Self { options, nodes: core.nodes_count(), retries, failures: 0, pause, asked: None }
    }

    /// Something succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.pause = self.options.pause_min;
        self.asked = None;
    }

    /// How long to wait before the next try; the error where none is left.
    ///
    /// Another node is asked at once; when all have failed there is a pause, as long
    /// as the most impatient of them asked for.
    pub(crate) fn after(&mut self, error: Error) -> Result<Duration, Error> {
        self.failures += 1;
        if self.retries.is_some_and(|retries| self.failures > retries as usize) {
            return Err(error);
        }
        let asked = error.problem().and_then(|problem| problem.retry_after).unwrap_or_default();
        let asked = asked.min(ASKED_MAX).min(self.asked.unwrap_or(ASKED_MAX));
        self.asked = Some(asked);
        let mut pause = Duration::ZERO;
        if self.failures.is_multiple_of(self.nodes) {
            pause = asked + self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            self.pause = (self.pause * 2).min(self.options.pause_max);
            self.asked = None;
        }
        if let Some(told) = &self.options.on_retry {
            told(&error, pause);
        }
        Ok(pause)
    }
}
