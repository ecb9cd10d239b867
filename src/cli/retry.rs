//! How often and when a request is tried again.

use std::{thread, time::Duration};

use super::failure::Failure;

const FIRST: Duration = Duration::from_millis(100);
/// The longest pause that doubling leads to.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest pause that a node can ask for.
const ASKED_LONGEST: Duration = Duration::from_secs(60);

/// The pauses between the tries of one thing.
#[derive(Debug)]
pub(super) struct Backoff {
    /// Tries that remain; nothing is for ever.
    left: Option<u32>,
    tries_max: Option<u32>,
    next: Duration,
}

impl Backoff {
    /// Gives up after that many further tries.
    pub(super) fn bounded(retries: u32) -> Self {
        Self { left: Some(retries), tries_max: Some(retries), next: FIRST }
    }

    /// Never gives up.
    pub(super) fn endless() -> Self {
        Self { left: None, tries_max: None, next: FIRST }
    }

    /// Starts anew, because something succeeded.
    pub(super) fn reset(&mut self) {
        self.left = self.tries_max;
        self.next = FIRST;
    }

    /// Whether nothing has failed since the last success.
    pub(super) fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// Waits until it is time for the next try.
    ///
    /// # Errors
    /// What it was given, when another try cannot help or none is left.
    pub(super) fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if !failure.may_pass() || self.left == Some(0) {
            return Err(failure);
        }
        thread::sleep(self.pause(&failure));
        Ok(())
    }

    fn pause(&mut self, failure: &Failure) -> Duration {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        let asked = failure.problem().and_then(|problem| problem.retry_after);
        // Clients that failed together do not come back together.
        let spread = pause.mul_f64(rand::random_range(0.75..1.25));
        asked.map_or(spread, |asked| asked.min(ASKED_LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Problem;
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Failure {
        let retry_after = retry_after.map(Duration::from_secs);
        let problem = Box::new(Problem { status, retry_after, ..Problem::default() });
        Failure::Refused { request: "GET /".into(), problem }
    }

    #[test]
    fn pauses_grow_up_to_the_longest_and_start_anew() {
        let mut backoff = Backoff::endless();
        let broken = refused(504, None);
        let pauses: Vec<_> = (0..10).map(|_| backoff.pause(&broken)).collect();
        assert!(pauses[0] <= FIRST.mul_f64(1.25));
        assert!(pauses[9] >= LONGEST.mul_f64(0.75) && pauses[9] <= LONGEST.mul_f64(1.25));
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh() && backoff.pause(&broken) <= FIRST.mul_f64(1.25));
    }

    #[test]
    fn what_the_node_asks_for_is_kept_to_within_reason() {
        let mut backoff = Backoff::bounded(3);
        assert_eq!(backoff.pause(&refused(503, Some(2))), Duration::from_secs(2));
        assert_eq!(backoff.pause(&refused(503, Some(9999))), ASKED_LONGEST);
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again_and_the_tries_end() {
        let mut backoff = Backoff::bounded(1);
        assert!(backoff.wait(refused(400, None)).is_err());
        assert!(backoff.wait(refused(503, Some(0))).is_ok());
        assert!(backoff.wait(refused(503, Some(0))).is_err());
        backoff.reset();
        assert!(backoff.wait(refused(503, Some(0))).is_ok());
    }
}
