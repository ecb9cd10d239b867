//! What serving cores ask of the Raft core besides writes: where a read stands
//! that must see everything acknowledged, and changes of the cluster.

use std::{
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::copy::Origins;
use crate::{
    base::{
        ids::NodeId,
        planted::planted,
        timing::{READ_APPLY_WAIT, READ_INDEX_ANSWER, READ_LEADER_WAIT, WRITE_RETRY},
    },
    io::{Disk, cores},
    raft::{
        Leadership, Replica,
        peer::{AdminRefusal, AdminRequest, Answer, Lane, Request},
    },
};

/// Questions that may wait; above it they are refused.
const ASKS_MAX: usize = 65_536;

/// Why a read cannot be known to see everything that is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody leads the cluster, or no quorum says so.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// This node lacks what the leader has.
    #[error("this node has not caught up with its leader")]
    Behind,
    /// Too many reads ask for it.
    #[error("too many reads are waiting on this node")]
    Overloaded,
}

type Reads = oneshot::Sender<Result<(), ReadError>>;
type Admin = (AdminRequest, oneshot::Sender<Result<NodeId, AdminRefusal>>);

#[derive(Default)]
struct Inner {
    reads: Vec<Reads>,
    admin: VecDeque<Admin>,
    read_waker: Option<Waker>,
    admin_waker: Option<Waker>,
}

/// The questions of all serving cores that the Raft core has yet to take up.
#[derive(Default)]
pub struct Control(Mutex<Inner>);

impl Control {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends the process, so poison is never seen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what this node has applied holds everything that was
    /// acknowledged, on any node, before this was called.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn barrier(&self) -> Result<(), ReadError> {
        if planted!(WeakStrongRead) {
            return Ok(());
        }
        let answer = {
            let mut inner = self.lock();
            if inner.reads.len() >= ASKS_MAX {
                return Err(ReadError::Overloaded);
            }
            let (sender, answer) = oneshot::channel();
            inner.reads.push(sender);
            if let Some(waker) = inner.read_waker.take() {
                waker.wake();
            }
            answer
        };
        // It is dropped unanswered when the node stops.
        answer.await.unwrap_or(Err(ReadError::NoLeader))
    }

    /// Has the cluster changed, and says which member that concerned.
    ///
    /// # Errors
    /// [`AdminRefusal`]
    pub async fn admin(&self, request: AdminRequest) -> Result<NodeId, AdminRefusal> {
        let answer = {
            let mut inner = self.lock();
            if inner.admin.len() >= ASKS_MAX {
                return Err(AdminRefusal::Precondition("too many changes are waiting".into()));
            }
            let (sender, answer) = oneshot::channel();
            inner.admin.push_back((request, sender));
            if let Some(waker) = inner.admin_waker.take() {
                waker.wake();
            }
            answer
        };
        answer.await.unwrap_or(Err(AdminRefusal::Unknown))
    }

    async fn take_reads(&self) -> Vec<Reads> {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.reads.is_empty() {
                inner.read_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut inner.reads))
        })
        .await
    }

    /// The next change of the cluster that is asked for.
    pub async fn take_admin(&self) -> Admin {
        poll_fn(|cx| {
            let mut inner = self.lock();
            match inner.admin.pop_front() {
                Some(admin) => Poll::Ready(admin),
                None => {
                    inner.admin_waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Answers reads, for as long as it is polled. Those that come while the
    /// leader is asked wait for the next answer, which serves all of them.
    /// A copy asks its `origins` instead of a leader.
    pub async fn run_reads<D: Disk>(&self, replica: Rc<Replica<D>>, origins: Option<Origins>) {
        loop {
            let reads = self.take_reads().await;
            let index = match &origins {
                Some(origins) => {
                    let own = replica.log().identity().cluster;
                    origins.read_index(own, replica.last_applied()).await
                }
                None => read_index(&replica).await,
            };
            let replica = Rc::clone(&replica);
            cores::spawn(async move {
                let outcome = match index {
                    Some(_) if planted!(ReadBeforeApplied) => Ok(()),
                    Some(index) if replica.applies(index, READ_APPLY_WAIT).await => Ok(()),
                    Some(_) => Err(ReadError::Behind),
                    None => Err(ReadError::NoLeader),
                };
                for read in reads {
                    // Its client may have gone.
                    let _ = read.send(outcome);
                }
            });
        }
    }
}

/// The entry that a read which begins now must see, from whoever leads.
async fn read_index<D: Disk>(replica: &Replica<D>) -> Option<u64> {
    let end = cores::now() + READ_LEADER_WAIT;
    while cores::now() < end {
        let index = match replica.leadership() {
            Leadership::Here => {
                cores::within(READ_INDEX_ANSWER, replica.read_index()).await.flatten()
            }
            Leadership::At(id, address) => {
                let channel = replica.channel(id, Lane::Requests, &address);
                match channel.call(&Request::ReadIndex, Bytes::new(), READ_INDEX_ANSWER).await {
                    Ok((Answer::ReadIndex(index), _)) => Some(index),
                    _ => None,
                }
            }
            Leadership::Unknown => None,
        };
        if index.is_some() {
            return index;
        }
        cores::sleep(WRITE_RETRY).await;
    }
    None
}
