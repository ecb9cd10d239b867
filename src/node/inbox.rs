//! The one bounded way from the serving cores to the sequencer.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    base::{batch::Command, planted::planted},
    feed::{Origin, Ticket},
    io::cores,
};

/// Writes that may wait here, by number and by bytes. Above it a write is
/// refused as `overloaded`.
const WRITES_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// A write on its way to the log.
pub struct Proposal {
    /// What is to be written.
    pub command: Command,
    /// Whom to answer.
    pub origin: Origin,
    /// The name of the write there.
    pub ticket: Ticket,
    /// When it came.
    pub since: Instant,
    /// It was proposed before, and nobody knows what became of that.
    pub may_have_happened: bool,
}

impl Proposal {
    /// A write that comes now.
    #[must_use]
    pub fn new(command: Command, origin: Origin, ticket: Ticket) -> Self {
        Self { command, origin, ticket, since: cores::now(), may_have_happened: false }
    }

    /// How long ago it came, at `now`.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// There is no room for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Default)]
struct Inner {
    proposals: VecDeque<Proposal>,
    /// Invariant: the sum of the proposals' encoded bytes.
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// The writes of all serving cores that the sequencer has yet to take, up to a bound.
#[derive(Default)]
pub struct Inbox(Mutex<Inner>);

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends the process, so poison is never seen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a write.
    ///
    /// # Errors
    /// [`Full`], also once it is closed.
    pub fn push(&self, proposal: Proposal) -> Result<(), Full> {
        let bytes = proposal.command.encoded_bytes();
        let mut inner = self.lock();
        // One write always fits, so that no size is refused for ever.
        let full = inner.proposals.len() >= WRITES_MAX
            || (inner.bytes + bytes > BYTES_MAX && !inner.proposals.is_empty());
        if full || inner.closed {
            return Err(Full);
        }
        inner.bytes += bytes;
        inner.proposals.push_back(proposal);
        let waker = inner.waker.take();
        drop(inner);
        if planted!(LoseWakeUp) && cores::random::<u8>() < 8 {
            return Ok(());
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes writes in order, up to `bytes_max` encoded bytes but at least
    /// one; waits while there is none. `None` once it is closed and empty.
    pub async fn take(&self, bytes_max: usize) -> Option<Vec<Proposal>> {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.proposals.is_empty() {
                if inner.closed {
                    return Poll::Ready(None);
                }
                inner.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Some(inner.take_up_to(bytes_max)))
        })
        .await
    }

    /// Puts writes that were taken back to the front, to be taken again.
    pub fn put_back(&self, proposals: Vec<Proposal>) {
        let mut inner = self.lock();
        for proposal in proposals.into_iter().rev() {
            inner.bytes += proposal.command.encoded_bytes();
            inner.proposals.push_front(proposal);
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// Takes the writes of which `given_up` holds.
    pub fn take_if(&self, given_up: impl Fn(&Proposal) -> bool) -> Vec<Proposal> {
        let mut inner = self.lock();
        if !inner.proposals.iter().any(&given_up) {
            return Vec::new();
        }
        let all = std::mem::take(&mut inner.proposals);
        let (taken, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(given_up);
        inner.proposals = kept.into();
        inner.bytes -= taken.iter().map(|one| one.command.encoded_bytes()).sum::<usize>();
        taken
    }

    /// Whether it takes no more writes.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes no more writes; those that wait are still taken.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }
}

impl Inner {
    fn take_up_to(&mut self, bytes_max: usize) -> Vec<Proposal> {
        let (mut count, mut bytes) = (0, 0);
        for proposal in &self.proposals {
            let more = proposal.command.encoded_bytes();
            if count > 0 && bytes + more > bytes_max {
                break;
            }
            count += 1;
            bytes += more;
        }
        assert!(self.bytes >= bytes, "writes of {bytes} bytes wait and {} are counted", self.bytes);
        self.bytes -= bytes;
        let taken = self.proposals.drain(..count).collect();
        assert!(self.bytes == 0 || !self.proposals.is_empty(), "bytes of no write are counted");
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::{Append, ChangeSpan};
    use std::{future::Future, pin::pin, task::Context};

    fn proposal(bytes: usize, ticket: u32) -> Proposal {
        let spans = [ChangeSpan { end: bytes as u32, ..ChangeSpan::default() }];
        let append = Append {
            spans: spans.into_iter().collect(),
            suffixes: vec![b'x'; bytes].into(),
            ..Append::default()
        };
        Proposal::new(append.into(), Origin::Core(0), Ticket(ticket))
    }

    fn take(inbox: &Inbox, bytes: usize) -> Poll<Option<Vec<u32>>> {
        pin!(inbox.take(bytes))
            .poll(&mut Context::from_waker(Waker::noop()))
            .map(|taken| Some(taken?.iter().map(|proposal| proposal.ticket.0).collect()))
    }

    #[test]
    fn writes_are_taken_in_order_and_by_bytes() {
        let inbox = Inbox::default();
        assert!(take(&inbox, 1000).is_pending());
        for ticket in 1..=5 {
            assert!(inbox.push(proposal(100, ticket)).is_ok());
        }
        assert_eq!(take(&inbox, 250), Poll::Ready(Some(vec![1, 2])));
        assert_eq!(take(&inbox, 1), Poll::Ready(Some(vec![3])), "at least one");
        inbox.close();
        assert!(inbox.push(proposal(1, 9)).is_err());
        assert_eq!(take(&inbox, 1000), Poll::Ready(Some(vec![4, 5])));
        assert_eq!(take(&inbox, 1000), Poll::Ready(None));
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let inbox = Inbox::default();
        assert!(inbox.push(proposal(BYTES_MAX, 0)).is_ok(), "one always fits");
        assert!(inbox.push(proposal(1, 1)).is_err());
        assert!(take(&inbox, 1).is_ready());
        for ticket in 0..WRITES_MAX as u32 {
            assert!(inbox.push(proposal(1, ticket)).is_ok());
        }
        assert!(inbox.push(proposal(1, 0)).is_err());
        assert!(take(&inbox, usize::MAX).is_ready());
        assert!(inbox.push(proposal(1, 0)).is_ok(), "what was taken makes room");
    }
}
