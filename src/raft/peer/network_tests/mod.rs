//! Nodes that speak to each other over the simulated network: what they ask arrives at
//! most once, answers are those to what was asked, and who is wrong there is sent away.

mod random;
mod scenarios;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use rand::RngExt;
use uuid::Uuid;

use super::{
    Acceptor, Answer, AppendAnswer, Body, CallError, Channel, Directory, Handler, Instance, Lane,
    Refusal, Request, Settings, Standing,
};
use crate::{
    base::{
        ids::{ClusterId, LogId, NodeId},
        protocol::{VERSIONS, Versions},
    },
    io::{
        Dialer, cores,
        net::Listener,
        simulated::{
            executor::{Executor, spawn_in},
            net::Network,
        },
    },
    log::{Identity, Vote},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn address(node: NodeId) -> String {
    format!("node-{node}:7001")
}

fn identity(node: NodeId) -> Identity {
    Identity { cluster: ClusterId(Uuid::from_u128(1)), node }
}

/// What arrived at the nodes of a run, by who asked whom, in order.
#[derive(Clone, Default)]
struct Arrived(Rc<RefCell<BTreeMap<Way, Vec<u64>>>>);

/// From the first to the second.
type Way = (NodeId, NodeId);

impl Arrived {
    /// The requests of `from` that arrived at `to`.
    fn of(&self, from: NodeId, to: NodeId) -> Vec<u64> {
        self.0.borrow().get(&(from, to)).cloned().unwrap_or_default()
    }
}

/// Answers what it is asked with the number of the request, after a while.
struct Echo {
    node: NodeId,
    arrived: Arrived,
    /// How long an answer takes at most.
    takes: Duration,
    /// Whom other clusters take this node for.
    called_as: Rc<RefCell<Vec<Identity>>>,
    /// The member that was removed last.
    removed: Rc<Cell<Option<NodeId>>>,
}

impl Directory for Echo {
    fn me(&self) -> Identity {
        identity(self.node)
    }

    fn standing(&self, node: NodeId) -> Standing {
        match node {
            _ if self.removed.get() == Some(node) => Standing::Removed,
            0..10 => Standing::Member,
            10..20 => Standing::Removed,
            _ => Standing::Stranger,
        }
    }

    fn address_of(&self, node: NodeId) -> Option<String> {
        (self.standing(node) == Standing::Member).then(|| address(node))
    }

    fn note_called_as(&self, member: Identity) {
        self.called_as.borrow_mut().push(member);
    }

    fn body_bytes_max(&self) -> usize {
        4 << 20
    }
}

impl Handler for Echo {
    fn directory(&self) -> &dyn Directory {
        self
    }

    fn answer(
        &self,
        _: Lane,
        from: NodeId,
        request: Request,
        body: Bytes,
    ) -> LocalBoxFuture<'static, (Answer, Bytes)> {
        let (arrived, node, takes) = (self.arrived.clone(), self.node, self.takes);
        async move {
            // The first poll takes it up.
            let number = number_of(&request, &body);
            arrived.0.borrow_mut().entry((from, node)).or_default().push(number);
            if !takes.is_zero() {
                cores::sleep(cores::rng().random_range(Duration::ZERO..takes)).await;
            }
            match request {
                Request::Append { previous, .. } => (
                    Answer::Append(AppendAnswer::Held { last: previous, room: None }),
                    Bytes::new(),
                ),
                _ => (Answer::Written { applied: number }, body.slice(..8)),
            }
        }
        .boxed_local()
    }
}

/// A request to append that bears a number and a body of so many bytes.
fn append(number: u64, bytes: usize) -> (Request, Body) {
    let vote = Vote { term: 1, node: 1, committed: true };
    let previous = Some(LogId { term: 1, index: number });
    let request = Request::Append { vote, previous, committed: None, entries: 1 };
    let parts = [Bytes::from(vec![7; bytes])].into_iter().collect();
    (request, Body::Checked(parts))
}

/// The body of a write that bears a number.
fn body(number: u64, bytes: usize) -> Bytes {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(bytes.max(8), 7);
    body.into()
}

fn number_of(request: &Request, body: &Bytes) -> u64 {
    match request {
        Request::Append { previous, .. } => previous.map_or(0, |id| id.index),
        _ => body.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
    }
}

/// The number that an answer bears.
fn answered((answer, body): (Answer, Bytes)) -> u64 {
    match answer {
        Answer::Append(AppendAnswer::Held { last: Some(id), .. }) => id.index,
        Answer::Written { applied } => {
            assert_eq!(body.first_chunk(), Some(&applied.to_le_bytes()), "another's body");
            applied
        }
        other => panic!("{other:?}"),
    }
}

/// A node that is asked, and asks others.
struct Node {
    instance: Instance,
    /// What it was refused with.
    refused: Rc<RefCell<Vec<Refusal>>>,
    called_as: Rc<RefCell<Vec<Identity>>>,
    /// The member that was removed last, as far as this node knows.
    removed: Rc<Cell<Option<NodeId>>>,
}

impl Node {
    /// Starts node `node` at its address, as the process of that number.
    fn start(node: NodeId, arrived: &Arrived, takes: Duration) -> Self {
        Self::speaking(node, VERSIONS, arrived, takes)
    }

    /// The same, by a program that speaks these versions.
    fn speaking(node: NodeId, speaks: Versions, arrived: &Arrived, takes: Duration) -> Self {
        let own = Self::silent(Instance { speaks, ..Instance::start(identity(node)) });
        let echo = Echo {
            node,
            arrived: arrived.clone(),
            takes,
            called_as: Rc::clone(&own.called_as),
            removed: Rc::clone(&own.removed),
        };
        let (process, dialer) = (own.instance.process, Dialer::default());
        let acceptor = Rc::new(Acceptor::new(Rc::new(echo), process, speaks, dialer));
        drop(spawn_in(node, async move {
            let listener = Listener::simulated(&address(node)).unwrap();
            loop {
                let stream = listener.accept().await;
                let acceptor = Rc::clone(&acceptor);
                drop(cores::spawn(async move { acceptor.serve(stream).await }));
            }
        }));
        own
    }

    /// A node that asks and is not asked.
    fn silent(instance: Instance) -> Self {
        let (refused, called_as, removed) = (Rc::default(), Rc::default(), Rc::default());
        Self { instance, refused, called_as, removed }
    }

    /// A channel to another node; it must be used by tasks of this node alone.
    fn channel(&self, to: NodeId, lane: Lane) -> Channel {
        let refused = Rc::clone(&self.refused);
        let settings = Settings { connect: SECOND, stall: 2 * SECOND };
        let on_refusal = Rc::new(move |_, refusal| refused.borrow_mut().push(refusal));
        Channel::new(
            (self.instance, Dialer::default()),
            to,
            lane,
            address(to),
            settings,
            on_refusal,
        )
    }

    fn id(&self) -> NodeId {
        self.instance.who.node
    }
}

/// Asks with a write of that number, on behalf of the process `of`.
async fn call(
    of: NodeId,
    channel: &Channel,
    number: u64,
    limit: Duration,
) -> Result<u64, CallError> {
    let channel = channel.clone();
    let call =
        async move { channel.call(&Request::Write, body(number, 100), limit).await.map(answered) };
    spawn_in(of, call).await.unwrap_or(Err(CallError::Lost))
}
