//! The end of a connection that asks: it connects when there is something to
//! ask, sends requests in order, and hands each its answer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};

use super::{
    arriving::ARRIVING,
    call_error::CallError,
    failed::Failed,
    frame::{Body, FrameLimits, FrameReader, HEAD_BYTES_MAX, encode},
    hello::{Lane, Refusal, Welcome},
    message::{Answer, Request},
    outgoing::Outgoing,
    processes::Instance,
};
use crate::{
    base::timing::{ANSWER_UNDER_WAY, RECONNECT},
    base::{ids::NodeId, planted::planted},
    io::{Dialer, cores},
};

/// The longest body of an answer to writes: what became of each.
pub const OUTCOMES_BYTES_MAX: usize = 16 << 20;
/// Requests of one connection that wait for an answer: whoever sends much keeps far below
/// that.
const UNANSWERED_MAX: usize = 1024;

/// How a channel behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long connecting may take.
    pub connect: Duration,
    /// A connection is given up when it brings no answer for so long while
    /// there is one to come, nor the word that more of a request has arrived.
    pub stall: Duration,
}

/// Told of a refusal by a peer.
pub(in super::super) type OnRefusal = Rc<dyn Fn(NodeId, Refusal)>;

struct Inner {
    own: Instance,
    dialer: Dialer,
    to: NodeId,
    lane: Lane,
    address: RefCell<String>,
    settings: Settings,
    open: RefCell<Option<Rc<Open>>>,
    /// The attempts that failed since one did not.
    failed: RefCell<Option<Failed>>,
    /// What was said last of what failed on the connection.
    said: RefCell<Option<String>>,
    connecting: Mutex<()>,
    on_refusal: OnRefusal,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(open) = self.open.borrow_mut().take() {
            open.end();
        }
    }
}

/// The asking end of a connection to one node. Clones share the connection, which ends with
/// the last of them.
#[derive(Clone)]
pub struct Channel(Rc<Inner>);

impl Channel {
    /// A channel of `lane` to node `to` at `address`. Nothing is connected yet.
    pub(in super::super) fn new(
        (own, dialer): (Instance, Dialer),
        to: NodeId,
        lane: Lane,
        address: String,
        settings: Settings,
        on_refusal: OnRefusal,
    ) -> Self {
        Self(Rc::new(Inner {
            own,
            dialer,
            to,
            lane,
            address: RefCell::new(address),
            settings,
            open: RefCell::default(),
            failed: RefCell::default(),
            said: RefCell::default(),
            connecting: Mutex::new(()),
            on_refusal,
        }))
    }

    /// Goes on at another address, where it differs.
    pub(in super::super) fn move_to(&self, address: &str) {
        if *self.0.address.borrow() != address {
            address.clone_into(&mut self.0.address.borrow_mut());
            self.close();
        }
    }

    /// Closes the connection, if there is one.
    pub(in super::super) fn close(&self) {
        if let Some(open) = self.0.open.borrow_mut().take() {
            open.end();
        }
    }

    /// Connects, if that is not done already.
    ///
    /// # Errors
    /// [`CallError::NotSent`]
    pub async fn connect(&self) -> Result<(), CallError> {
        self.connected().await.map(drop)
    }

    async fn connected(&self) -> Result<Rc<Open>, CallError> {
        if let Some(open) = self.live() {
            return Ok(open);
        }
        let _one = self.0.connecting.lock().await;
        if let Some(open) = self.live() {
            return Ok(open);
        }
        let failed_at = self.0.failed.borrow().as_ref().map(|failed| failed.at);
        if let Some(at) = failed_at {
            cores::sleep(RECONNECT.saturating_sub(cores::elapsed(at))).await;
        }
        match self.try_connect().await {
            Ok(open) => {
                if let Some(Failed { why, is_told: true, .. }) = self.0.failed.take() {
                    let address = self.address();
                    tracing::info!(
                        node = self.0.to,
                        address,
                        before = why,
                        "node is reached again"
                    );
                }
                *self.0.open.borrow_mut() = Some(Rc::clone(&open));
                Ok(open)
            }
            Err(error) => {
                let why = format!("node {} at {}: {error}", self.0.to, self.address());
                self.note_failed(&error, &why);
                Err(CallError::NotSent(why))
            }
        }
    }

    /// Takes note of a failed attempt, and logs it when that lasts: once for each reason, and for one lane of
    /// those that fail.
    fn note_failed(&self, error: &io::Error, why: &str) {
        let mut failed = self.0.failed.borrow_mut();
        if Failed::note(&mut failed, why, self.0.lane == Lane::Control) {
            tracing::warn!(node = self.0.to, address = self.address(), %error, "node cannot be reached");
        }
    }

    /// Which node is called.
    pub(in super::super) fn to(&self) -> NodeId {
        self.0.to
    }

    /// Where the node is called.
    pub(in super::super) fn address(&self) -> String {
        self.0.address.borrow().clone()
    }

    /// Takes note of what failed on the connection, or did not; whether that is another failure than the one
    /// before.
    pub(in super::super) fn is_news(&self, failure: Option<String>) -> bool {
        let before = self.0.said.replace(failure);
        let now = self.0.said.borrow();
        now.is_some() && *now != before
    }

    fn live(&self) -> Option<Rc<Open>> {
        let mut open = self.0.open.borrow_mut();
        open.take_if(|open| open.outgoing.has_ended());
        open.clone()
    }

    async fn try_connect(&self) -> io::Result<Rc<Open>> {
        let Settings { connect, stall } = self.0.settings;
        let address = self.0.address.borrow().clone();
        if address.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no cluster address"));
        }
        let mut hello = self.0.own.hello(self.0.lane, self.0.to);
        let stream = loop {
            let stream = Rc::new(self.0.dialer.connect(&address, connect).await?);
            let greet = async {
                hello.send(&stream).await?;
                Welcome::receive(&stream).await
            };
            match cores::in_time(connect, greet).await?.refusal {
                None => break stream,
                Some(refusal) => hello.version = self.after(refusal, hello.version)?,
            }
        };
        let open = Rc::new(Open {
            outgoing: Outgoing::new(stream),
            next: Cell::new(ARRIVING + 1),
            pending: RefCell::default(),
            unanswered_since: Cell::new(None),
            stall,
            limits: answer_limits(self.0.lane),
        });
        let writer = Rc::clone(&open);
        cores::spawn(async move {
            writer.outgoing.run().await;
            writer.end();
        });
        cores::spawn(Rc::clone(&open).read());
        cores::spawn(Rc::clone(&open).watch());
        Ok(open)
    }

    /// The version in which a node is asked again that refused `said`.
    ///
    /// # Errors
    /// When that would not help.
    fn after(&self, refusal: Refusal, said: u32) -> io::Result<u32> {
        if let Refusal::Version(theirs) = refusal
            && let Some(next) = self.0.own.speaks.after_refusal(said, theirs)
        {
            return Ok(next);
        }
        (self.0.on_refusal)(self.0.to, refusal);
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, refusal.to_string()))
    }

    /// Sends a request; its answer is what the result resolves to. Whoever sends
    /// much sees to it that not too much of it is unanswered.
    ///
    /// # Errors
    /// [`CallError::NotSent`]
    pub(in super::super) fn send(
        &self,
        request: &Request,
        body: Body,
    ) -> Result<Pending, CallError> {
        let open =
            self.live().ok_or_else(|| CallError::NotSent("it is not connected".to_owned()))?;
        open.send(request, body)
    }

    /// Connects where needed, sends a request and waits for the answer, as long as
    /// the connection does not stall.
    ///
    /// # Errors
    /// [`CallError`]
    pub(in super::super) async fn ask(
        &self,
        request: &Request,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let open = self.connected().await?;
        open.send(request, Body::Plain(body))?.await.map(|(answer, _)| answer)
    }

    /// Connects where needed, sends a request and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`], also when there is none within `limit`.
    pub async fn call(
        &self,
        request: &Request,
        body: Bytes,
        limit: Duration,
    ) -> Result<(Answer, Bytes), CallError> {
        let call = async {
            let open = self.connected().await?;
            open.send(request, Body::Plain(body))?.await
        };
        cores::within(limit, call).await.unwrap_or(Err(CallError::Lost))
    }
}

/// A connection that stands.
struct Open {
    outgoing: Outgoing,
    /// The number of the next request.
    next: Cell<u64>,
    /// Who waits for which answer.
    ///
    /// Invariant: at most [`UNANSWERED_MAX`], all of numbers below `next`.
    pending: RefCell<BTreeMap<u64, oneshot::Sender<(Answer, Bytes)>>>,
    /// When the first request was sent that nothing came after, neither an answer nor the word that
    /// more of a request has arrived; there may be nobody any more who waits for it.
    unanswered_since: Cell<Option<Instant>>,
    stall: Duration,
    limits: FrameLimits,
}

/// What answers may be.
fn answer_limits(lane: Lane) -> FrameLimits {
    let body_bytes = if lane == Lane::Requests { OUTCOMES_BYTES_MAX } else { 0 };
    let (head_bytes, under_way) = (HEAD_BYTES_MAX, ANSWER_UNDER_WAY);
    FrameLimits { head_bytes, body_bytes, body_at_once: false, under_way, idle: None }
}

impl Open {
    fn send(&self, request: &Request, body: Body) -> Result<Pending, CallError> {
        let not_sent = |error: &dyn fmt::Display| CallError::NotSent(error.to_string());
        if self.outgoing.has_ended() {
            return Err(not_sent(&"the connection broke"));
        }
        let mut pending = self.pending.borrow_mut();
        if pending.len() >= UNANSWERED_MAX {
            return Err(not_sent(&"too many requests are unanswered"));
        }
        let id = self.next.get();
        let parts = encode(id, request, body).map_err(|error| not_sent(&error))?;
        self.next.set(id + 1);
        let (sender, answer) = oneshot::channel();
        let before = pending.insert(id, sender);
        assert!(before.is_none(), "two requests have the number {id}");
        drop(pending);
        self.outgoing.push(parts);
        if self.unanswered_since.get().is_none() {
            self.unanswered_since.set(Some(cores::now()));
        }
        Ok(Pending(answer))
    }

    /// Everything that waits for an answer is told that there will be none.
    fn end(&self) {
        self.outgoing.end();
        self.pending.borrow_mut().clear();
    }

    async fn read(self: Rc<Self>) {
        let mut frames = FrameReader::new(self.limits);
        let arriving = || self.unanswered_since.set(Some(cores::now()));
        while let Ok((id, message, body)) = frames.next(&self.outgoing.stream, arriving).await {
            let Ok(body) = body.checked() else { break };
            if id >= self.next.get() {
                let address = self.outgoing.peer();
                tracing::warn!(id, address, "a node answers what it was not asked");
                break;
            }
            // One that was never given stands for none of them: more of one has arrived there.
            let mut pending = self.pending.borrow_mut();
            if let Some(waiting) = pending.remove(&id) {
                // Nobody may wait any more.
                let _ = waiting.send((message, body));
            }
            pending.retain(|_, waiting| !waiting.is_closed());
            self.unanswered_since.set((!pending.is_empty()).then(cores::now));
        }
        self.end();
    }

    /// Ends the connection when it stalls.
    async fn watch(self: Rc<Self>) {
        while !self.outgoing.has_ended() {
            cores::sleep(self.stall / 2).await;
            if self.unanswered_since.get().is_some_and(|since| cores::elapsed(since) > self.stall) {
                self.end();
            }
        }
    }
}

/// An answer to come.
pub struct Pending(oneshot::Receiver<(Answer, Bytes)>);

impl Future for Pending {
    type Output = Result<(Answer, Bytes), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| match planted!(TellLostAsNotSent) {
            true => CallError::NotSent("the connection broke".to_owned()),
            false => CallError::Lost,
        })
    }
}
