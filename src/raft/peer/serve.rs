//! The end of a connection that answers.

use std::{cell::Cell, future::poll_fn, io, rc::Rc, task::Poll};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{
    arriving::tell,
    frame::{Body, FrameLimits, FrameReader, HEAD_BYTES_MAX, encode},
    hello::{Hello, Lane, Refusal, Welcome, ask_who},
    message::{Answer, Request},
    outgoing::Outgoing,
    places::Places,
    processes::{Decision, Instance, Process, Processes},
    refused::Refused,
    waiting::Waiting,
};
use crate::{
    base::{
        ids::NodeId,
        protocol::Versions,
        timing::{ADOPTION_IDLE, HELLO, REQUEST_UNDER_WAY, WHO_ANSWER},
    },
    io::{Dialer, cores, net::Stream},
    log::Identity,
    snapshot::{PART_BYTES_MAX, manifest::MANIFEST_BYTES_MAX},
};

/// Requests of one connection that are being answered; no more are read.
const UNDER_WAY: usize = 128;
/// Bytes of their bodies, likewise.
const UNDER_WAY_BYTES: usize = 16 << 20;

/// The longest head of a request that has only numbers.
const SMALL_HEAD_BYTES_MAX: usize = 4 << 10;

/// What a node is to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member.
    Member,
    /// No member as far as this node knows, but it may become it, or be it
    /// already.
    Stranger,
    /// It was a member and is none any more.
    Removed,
}

/// What a node knows of itself and of those who call it.
pub trait Directory {
    /// Who this node is.
    fn me(&self) -> Identity;

    /// What node `node` is to its cluster.
    fn standing(&self, node: NodeId) -> Standing;

    /// Where the members reach node `node`, if it is one of them.
    fn address_of(&self, node: NodeId) -> Option<String>;

    /// Notes that a node of another cluster takes this one for that member of its
    /// cluster.
    fn note_called_as(&self, member: Identity);

    /// The longest body of a request.
    fn body_bytes_max(&self) -> usize;
}

/// What answers the requests of other nodes.
pub trait Handler: 'static {
    /// Who may ask.
    fn directory(&self) -> &dyn Directory;

    /// Answers a request of node `from`. Entries are taken in in the order in
    /// which the futures are polled first.
    fn answer(
        &self,
        lane: Lane,
        from: NodeId,
        request: Request,
        body: Bytes,
    ) -> LocalBoxFuture<'static, (Answer, Bytes)>;
}

/// What lets other nodes in and serves them.
pub struct Acceptor {
    handler: Rc<dyn Handler>,
    /// The number of the process that this node is.
    process: Process,
    speaks: Versions,
    dialer: Dialer,
    places: Places,
    processes: Processes,
    refused: Refused,
    /// Whose handshake is computed: one at a time, so that heartbeats have a turn between any two steps, whoever
    /// connects.
    turn: Mutex<()>,
}

impl Acceptor {
    /// Serves others by `handler`, as the process of that number in those versions, and lets them in by `dialer`.
    #[must_use]
    pub fn new(
        handler: Rc<dyn Handler>,
        process: Process,
        speaks: Versions,
        dialer: Dialer,
    ) -> Self {
        let (places, processes) = (Places::default(), Processes::default());
        let (refused, turn) = (Refused::default(), Mutex::default());
        Self { handler, process, speaks, dialer, places, processes, refused, turn }
    }

    async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        cores::yield_now().await;
        turn
    }

    /// Serves a connection until it ends, or until it has to give way to another.
    pub async fn serve(&self, stream: Stream) {
        let Ok(stream) = self.dialer.admit(stream).map(Rc::new) else { return };
        let closing = Rc::clone(&stream);
        let mut place = self.places.enter(move || closing.close());
        let Some(hello) = self.greet(&stream).await else { return };
        let (handler, from) = (Rc::clone(&self.handler), hello.from.node);
        if hello.lane != Lane::Adoption && handler.directory().standing(from) == Standing::Member {
            place.belongs_to(from);
        }
        let frames = FrameReader::new(request_limits(hello.lane, &*handler));
        let connection = Rc::new(Connection {
            outgoing: Outgoing::new(stream),
            lane: hello.lane,
            from,
            handler,
            requests: Cell::new(0),
            bytes: Cell::new(0),
            answered: Notify::new(),
        });
        let writer = Rc::clone(&connection);
        cores::spawn(async move { writer.outgoing.run().await });
        // Whoever broke the connection knows.
        let _ = match hello.lane {
            Lane::Entries => connection.serve_in_order(frames).await,
            _ => connection.serve_each(frames).await,
        };
        connection.outgoing.end();
    }

    async fn greet(&self, stream: &Stream) -> Option<Hello> {
        let greet = async {
            let turn = async || self.turn().await;
            if let Err(error) = self.dialer.come_to_terms(stream, turn).await {
                self.refused.tell_no_terms(&error, &peer(stream));
                return Err(error);
            }
            let Some(hello) = Hello::receive(stream).await? else { return Ok(None) };
            if !self.is_at_its_place(&hello, stream) {
                return Ok(None);
            }
            let who = self.handler.directory().me();
            let mut refusal = self.refusal(&hello, who);
            if refusal.is_none() && !self.is_the_member(&hello, who).await {
                refusal = Some(Refusal::OtherProcess);
            }
            let version = match refusal {
                Some(Refusal::Version(own)) => own,
                _ => hello.version,
            };
            Welcome { version, who, refusal, process: self.process }.send(stream).await?;
            if let Some(refusal) = refusal {
                self.note(&hello, refusal, stream);
            }
            Ok::<_, io::Error>(Some(hello).filter(|_| refusal.is_none()))
        };
        cores::within(HELLO, greet).await.and_then(Result::ok).flatten()
    }

    /// Whether the process that asks is the member that it says to be, if it says
    /// so, and not a second one beside it.
    async fn is_the_member(&self, hello: &Hello, me: Identity) -> bool {
        let Hello { from, process, lane, .. } = *hello;
        let Some(address) = self.handler.directory().address_of(from.node) else { return true };
        if lane == Lane::Adoption || process == 0 {
            return true;
        }
        if let Some(known) = self.processes.is_member(from.node, process, cores::now()) {
            return known;
        }
        let own = Instance { who: me, process: self.process, speaks: self.speaks };
        let there = ask_who(&address, (own, &self.dialer), from.node, WHO_ANSWER).await;
        let there = there.filter(|there| there.who == from && there.process != 0);
        let there = there.map(|there| there.process);
        let decision = self.processes.decide(from.node, process, there, cores::now());
        if decision == Decision::Successor {
            // It may have been a copy that is alive.
            self.places.end(from.node);
        }
        decision != Decision::Second
    }

    /// Whether the certificate that was shown is that of the node which this says to be.
    fn is_at_its_place(&self, hello: &Hello, stream: &Stream) -> bool {
        let from = hello.from;
        let is_ours = from.cluster == self.handler.directory().me().cluster;
        let address = self.handler.directory().address_of(from.node).filter(|_| is_ours);
        // Of one whose address is not known a name is asked for only where all have the same.
        if self.dialer.may_be_at(stream, address.as_deref()) {
            return true;
        }
        let address = address.as_deref().unwrap_or_default();
        self.refused.tell_wrong_name(from, address, &peer(stream));
        false
    }

    /// Why a caller is not let in.
    fn refusal(&self, hello: &Hello, me: Identity) -> Option<Refusal> {
        if !self.speaks.has(hello.version) {
            return Some(Refusal::Version(self.speaks.newest));
        }
        if hello.lane == Lane::Adoption {
            return None;
        }
        if hello.from.cluster != me.cluster {
            return Some(Refusal::Cluster(me.cluster));
        }
        if hello.from.node == me.node {
            return Some(Refusal::SameNode);
        }
        if hello.to != me.node {
            return Some(Refusal::Node(me.node));
        }
        let standing = self.handler.directory().standing(hello.from.node);
        (standing == Standing::Removed).then_some(Refusal::Removed)
    }

    /// Notes that somebody was refused.
    fn note(&self, hello: &Hello, refusal: Refusal, stream: &Stream) {
        if matches!(refusal, Refusal::Cluster(_)) {
            let called = Identity { cluster: hello.from.cluster, node: hello.to };
            self.handler.directory().note_called_as(called);
        }
        self.refused.tell(hello, refusal, &peer(stream));
    }
}

/// The address at the other end; empty where it is not known.
fn peer(stream: &Stream) -> String {
    stream.peer().map(|peer| peer.to_string()).unwrap_or_default()
}

/// What requests of a lane may be.
fn request_limits(lane: Lane, handler: &dyn Handler) -> FrameLimits {
    let body_bytes = match lane {
        Lane::Entries | Lane::Requests => handler.directory().body_bytes_max(),
        Lane::Snapshot => PART_BYTES_MAX.max(MANIFEST_BYTES_MAX),
        Lane::Control | Lane::Adoption | Lane::Admin => 0,
    };
    let head_bytes = match lane {
        // It has addresses.
        Lane::Admin => HEAD_BYTES_MAX,
        _ => SMALL_HEAD_BYTES_MAX,
    };
    let (under_way, idle) = match lane {
        Lane::Adoption => (ADOPTION_IDLE, Some(ADOPTION_IDLE)),
        _ => (REQUEST_UNDER_WAY, None),
    };
    let body_at_once = lane == Lane::Snapshot;
    FrameLimits { head_bytes, body_bytes, body_at_once, under_way, idle }
}

struct Connection {
    outgoing: Outgoing,
    lane: Lane,
    from: NodeId,
    handler: Rc<dyn Handler>,
    /// Requests that are being answered.
    ///
    /// Invariant: at most [`UNDER_WAY`].
    requests: Cell<usize>,
    /// Bytes of their bodies.
    ///
    /// Invariant: none without requests; at most [`UNDER_WAY_BYTES`] and one body.
    bytes: Cell<usize>,
    answered: Notify,
}

impl Connection {
    /// The next request: its number, and its answer to come.
    async fn next(
        &self,
        frames: &mut FrameReader<Request>,
    ) -> io::Result<(u64, usize, LocalBoxFuture<'static, (Answer, Bytes)>)> {
        let (id, request, body) = frames.next(&self.outgoing.stream, tell(&self.outgoing)).await?;
        if self.lane != Lane::Adoption
            && self.handler.directory().standing(self.from) == Standing::Removed
        {
            // It may not know so yet, and hears it when it comes again.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let body = if request.has_checked_body() { body.bytes } else { body.checked()? };
        let bytes = body.len();
        assert!(!self.is_full(), "a request was read that there is no room for");
        self.requests.set(self.requests.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Ok((id, bytes, self.handler.answer(self.lane, self.from, request, body)))
    }

    fn is_full(&self) -> bool {
        self.requests.get() >= UNDER_WAY || self.bytes.get() >= UNDER_WAY_BYTES
    }

    fn send(&self, id: u64, bytes: usize, (answer, body): (Answer, Bytes)) {
        let left = self.requests.get().checked_sub(1).zip(self.bytes.get().checked_sub(bytes));
        let (requests, left) = left.expect("what is answered was counted when it came");
        assert!(requests > 0 || left == 0, "{left} bytes of no request are being answered");
        self.requests.set(requests);
        self.bytes.set(left);
        self.answered.notify_one();
        match encode(id, &answer, Body::Plain(body)) {
            Ok(parts) => self.outgoing.push(parts),
            Err(error) => {
                let (node, address) = (self.from, self.outgoing.peer());
                tracing::error!(node, address, %error, "an answer to a node cannot be sent");
                self.outgoing.end();
            }
        }
    }

    async fn serve_each(self: &Rc<Self>, mut frames: FrameReader<Request>) -> io::Result<()> {
        loop {
            while self.is_full() {
                self.answered.notified().await;
            }
            let (id, bytes, answer) = self.next(&mut frames).await?;
            let this = Rc::clone(self);
            cores::spawn(async move { this.send(id, bytes, answer.await) });
        }
    }

    /// Takes up requests in order and answers them in order.
    async fn serve_in_order(self: &Rc<Self>, mut frames: FrameReader<Request>) -> io::Result<()> {
        let waiting = Rc::new(Waiting::default());
        let (this, queue) = (Rc::clone(self), Rc::clone(&waiting));
        cores::spawn(async move {
            while let Some((id, bytes, answer)) = queue.next().await {
                this.send(id, bytes, answer.await);
            }
        });
        let outcome = loop {
            while self.is_full() {
                self.answered.notified().await;
            }
            let (id, bytes, mut answer) = match self.next(&mut frames).await {
                Ok(next) => next,
                Err(error) => break Err(error),
            };
            // The first poll takes it up.
            let early = poll_fn(|cx| Poll::Ready(answer.poll_unpin(cx))).await;
            let answer = match early {
                Poll::Ready(answer) => std::future::ready(answer).boxed_local(),
                Poll::Pending => answer,
            };
            waiting.push((id, bytes, answer));
        };
        waiting.close();
        outcome
    }
}
