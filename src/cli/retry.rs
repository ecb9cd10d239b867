//! How often and when a request is tried again.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::failure::{Failure, tell};

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
    /// When no try may begin any more.
    deadline: Option<Instant>,
    /// What was said of the last failure. Without a last try each is said once only.
    said: String,
}

impl Backoff {
    /// Gives up after that many further tries.
    pub(super) fn bounded(retries: u32) -> Self {
        Self { left: Some(retries), tries_max: Some(retries), ..Self::endless() }
    }

    /// Never gives up.
    pub(super) fn endless() -> Self {
        Self { left: None, tries_max: None, next: FIRST, deadline: None, said: String::new() }
    }

    /// Begins no try after that moment.
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// Starts anew, because something succeeded.
    pub(super) fn reset(&mut self) {
        self.left = self.tries_max;
        self.next = FIRST;
        self.said.clear();
    }

    /// Says what failed and that it is tried again, and waits until it is time for that.
    ///
    /// # Errors
    /// What it was given, when another try cannot help or none is left.
    pub(super) fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if !failure.may_pass() || self.left == Some(0) {
            return Err(failure);
        }
        let pause = self.pause(&failure);
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left <= pause) {
            return Err(failure.out_of_time());
        }
        if let Some(text) = self.announcement(&failure, pause) {
            tell(&text);
        }
        thread::sleep(pause);
        Ok(())
    }

    /// What is said of a try that follows after a pause.
    fn announcement(&mut self, failure: &Failure, pause: Duration) -> Option<String> {
        let text = failure.to_string();
        let Some((left, tries)) = self.left.zip(self.tries_max) else {
            let is_new = self.said != text;
            self.said.clone_from(&text);
            return is_new.then(|| format!("{text}; trying again until it answers"));
        };
        let (seconds, number) = (pause.as_secs_f64(), tries - left);
        Some(format!("{text}; trying again in {seconds:.1} s, {number} of {tries}"))
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
        backoff.reset();
        assert!(backoff.pause(&broken) <= FIRST.mul_f64(1.25));
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

    #[test]
    fn each_try_is_said_and_without_a_last_one_each_failure_once() {
        let mut backoff = Backoff::bounded(3);
        for number in 1..=3 {
            let pause = backoff.pause(&refused(503, Some(2)));
            let said = backoff.announcement(&refused(503, Some(2)), pause).unwrap();
            assert_eq!(said, format!("GET /: 503; trying again in 2.0 s, {number} of 3"));
        }
        let mut backoff = Backoff::endless();
        let mut say = |status| backoff.announcement(&refused(status, None), FIRST);
        assert_eq!(say(503).unwrap(), "GET /: 503; trying again until it answers");
        assert_eq!(say(503), None);
        assert!(say(504).is_some() && say(503).is_some());
    }

    #[test]
    fn no_try_begins_after_the_deadline() {
        let soon = Instant::now() + Duration::from_secs(60);
        let mut backoff = Backoff::endless().until(Some(soon));
        let failure = backoff.wait(refused(503, Some(60))).unwrap_err();
        assert!(failure.may_pass() && failure.to_string().contains("--timeout"), "{failure}");
        assert!(backoff.wait(refused(503, Some(0))).is_ok());
    }
}
