//! Requests to append that go out while earlier ones are unanswered.
//!
//! openraft does not ask which request an answer belongs to: it takes a last
//! entry that is held for the answer to every request that ends there or before,
//! and takes the time at which the newest of those was sent for one at which the
//! follower still followed. Reads rest on that time. So an answer that would
//! confirm a later request is not passed on: the answer to that one says as much.
//!
//! Nor does openraft expect two answers to one request while it still looks for the place where a
//! follower goes on. So the first part of a request that is too long is the last that is sent, and
//! openraft goes on by itself from what is answered to that.

use std::{
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, Stream};
use openraft::{
    errors::RPCError,
    raft::{AppendEntriesRequest, StreamAppendResult},
};

use super::{
    append::cut,
    pace::{Failure, Pace},
    types::{RaftLogId, TypeConfig},
};
use crate::{
    base::planted::planted,
    io::cores::{self, Sleep},
};

/// Requests with entries that may be unanswered, for each follower.
const WINDOW: usize = 64;

/// What became of a request to append.
pub(super) type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// The same, with why it failed where that says something of the way there.
pub(super) type Answered = (Appended, Option<Failure>);

/// A request that was sent.
pub(super) struct Sent<A> {
    /// Its answer to come.
    pub(super) answer: A,
    /// How many bytes its entries are.
    pub(super) bytes: usize,
}

struct Unanswered<A> {
    sent: Sent<A>,
    /// The entry before those of the request.
    previous: Option<RaftLogId>,
    /// The last entry of the request; without any, the one before.
    ///
    /// Invariant: not before that of the request before it.
    last: Option<RaftLogId>,
}

impl<A> Unanswered<A> {
    /// Whether openraft would take `held` for an answer to this request.
    fn is_confirmed_by(&self, held: Option<RaftLogId>) -> bool {
        held >= self.last || held > self.previous
    }
}

/// The answers to a stream of requests, with several of these under way at once, as many as their
/// pace allows; one that is longer is cut to that and ends the stream. `send` sends a request;
/// nothing more is sent or passed on once `end` resolves.
pub(super) struct Pipeline<S, F, A, E> {
    /// None once it has ended.
    input: Option<S>,
    send: F,
    pace: Rc<Pace>,
    /// Nothing is sent before that is over.
    pause: Option<Sleep>,
    /// Invariant: at most [`WINDOW`].
    unanswered: VecDeque<Unanswered<A>>,
    /// Bytes of their entries.
    ///
    /// Invariant: when a request is sent, those before it have less than the window.
    bytes: usize,
    end: E,
}

impl<S, F, A, E> Pipeline<S, F, A, E> {
    pub(super) fn new(input: S, send: F, pace: Rc<Pace>, end: E) -> Self {
        let (input, pause) = (Some(input), pace.pause().map(cores::sleep));
        Self { input, send, pace, pause, unanswered: VecDeque::new(), bytes: 0, end }
    }
}

impl<S: Unpin, F, A, E: Unpin> Unpin for Pipeline<S, F, A, E> {}

impl<S, F, A, E> Pipeline<S, F, A, E> {
    /// The next request, cut to what may be sent at once; nothing once the stream has ended.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<AppendEntriesRequest<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
    {
        let Some(input) = &mut self.input else { return Poll::Ready(None) };
        let mut rpc = ready!(Pin::new(input).poll_next(cx));
        if rpc.as_mut().is_none_or(|rpc| cut(rpc, self.pace.request_bytes())) {
            self.input = None;
        }
        Poll::Ready(rpc)
    }

    /// Sends what there is to send, within the window.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), RPCError<TypeConfig>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
        F: FnMut(AppendEntriesRequest<TypeConfig>) -> Result<Sent<A>, RPCError<TypeConfig>>,
    {
        if let Some(pause) = &mut self.pause {
            if pause.poll_unpin(cx).is_pending() {
                return Ok(());
            }
            self.pause = None;
        }
        while self.unanswered.len() < WINDOW && self.bytes < self.pace.window() {
            let Poll::Ready(Some(rpc)) = self.next(cx) else { break };
            let previous = rpc.prev_log_id;
            let last = rpc.entries.last().map(|entry| entry.log_id).or(previous);
            let before = self.unanswered.back().and_then(|before| before.last);
            assert!(last >= before, "a request ends before the one that was sent before");
            match (self.send)(rpc) {
                Ok(sent) => {
                    self.bytes += sent.bytes;
                    self.unanswered.push_back(Unanswered { sent, previous, last });
                }
                Err(error) => {
                    self.input = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes note of what an answer says of the way there; `bytes` of entries were unanswered with
    /// the request, which has `own` of them.
    fn note(&self, answered: &Answered, bytes: usize, own: usize) {
        match answered {
            (Ok(_), _) => self.pace.note_answered(own),
            (Err(_), Some(failure)) => self.pace.note_failed(bytes, own, failure),
            (Err(_), None) => {}
        }
    }
}

impl<S, F, A, E> Stream for Pipeline<S, F, A, E>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
    F: FnMut(AppendEntriesRequest<TypeConfig>) -> Result<Sent<A>, RPCError<TypeConfig>>,
    A: Future<Output = Answered> + Unpin,
    E: Future<Output = ()> + Unpin,
{
    type Item = Appended;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.end.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            if let Err(error) = this.fill(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(first) = this.unanswered.front_mut() else {
                return if this.input.is_none() { Poll::Ready(None) } else { Poll::Pending };
            };
            let answered = ready!(first.sent.answer.poll_unpin(cx));
            let (bytes, own) = (this.bytes, first.sent.bytes);
            this.note(&answered, bytes, own);
            let (answer, _) = answered;
            let left = bytes.checked_sub(own);
            this.bytes = left.expect("what is answered was counted when it was sent");
            this.unanswered.pop_front();
            assert!(this.bytes == 0 || !this.unanswered.is_empty(), "bytes of no request");
            // Requests end where the one before did or later: what does not
            // confirm the next one confirms none.
            let next = this.unanswered.front();
            match (&answer, next) {
                (Ok(Ok(held)), Some(next))
                    if next.is_confirmed_by(*held) && !planted!(CreditAnswerToLaterRequest) => {}
                _ => return Poll::Ready(Some(answer)),
            }
        }
    }
}
