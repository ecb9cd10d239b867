//! What serving cores ask of the Raft core on behalf of those who keep a copy of the log: pieces of
//! it, and the checkpoint that stands for what is purged. One piece is read at a time, so that
//! writes wait behind no more than that.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::future::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    base::{
        ids::LogId,
        limits::{LOG_PIECES_WAITING, LOG_WAITS_MAX},
        tenants::Tenants,
    },
    io::{Disk, cores, map::Mapping},
    raft::{LogPiece, LogPieceError, Replica},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// The log has no such piece.
    #[error(transparent)]
    Piece(#[from] LogPieceError),
    /// Too many ask for it.
    #[error("too many reads of the log are waiting on this node")]
    Overloaded,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// The last entry that a checkpoint stands for, and its file.
pub type PurgedCheckpoint = (LogId, Arc<Mapping>);

enum Asked {
    Piece {
        from: u64,
        to: u64,
        tenants: Option<Tenants>,
        answer: oneshot::Sender<Result<LogPiece, LogPieceError>>,
    },
    Checkpoint {
        tenants: Option<Tenants>,
        answer: oneshot::Sender<Result<Option<PurgedCheckpoint>, LogPieceError>>,
    },
    Applied {
        index: u64,
        answer: oneshot::Sender<()>,
    },
}

#[derive(Default)]
struct Inner {
    asked: VecDeque<Asked>,
    waker: Option<Waker>,
}

/// A wait for an entry to be applied; resolves then, or when the node stops.
pub struct EntryWait {
    applied: oneshot::Receiver<()>,
    /// One of [`LOG_WAITS_MAX`].
    _place: OwnedSemaphorePermit,
}

impl Future for EntryWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.applied).poll(cx).map(drop)
    }
}

/// The questions of all serving cores that the Raft core has yet to take up.
pub struct LogReads {
    inner: Mutex<Inner>,
    /// Places for those who wait.
    places: Arc<Semaphore>,
}

impl Default for LogReads {
    fn default() -> Self {
        Self { inner: Mutex::default(), places: Arc::new(Semaphore::new(LOG_WAITS_MAX)) }
    }
}

impl LogReads {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends the process, so poison is never seen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, asked: Asked) -> Result<(), LogReadError> {
        let mut inner = self.lock();
        if inner.asked.len() >= LOG_PIECES_WAITING {
            return Err(LogReadError::Overloaded);
        }
        inner.asked.push_back(asked);
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Applied entries from index `from` up to `to`, as many as a piece holds; with `tenants`, the
    /// parts of them that concern these.
    ///
    /// # Errors
    /// [`LogReadError`]
    pub async fn piece(
        &self,
        from: u64,
        to: u64,
        tenants: Option<Tenants>,
    ) -> Result<LogPiece, LogReadError> {
        let (answer, piece) = oneshot::channel();
        self.ask(Asked::Piece { from, to, tenants, answer })?;
        Ok(piece.await.map_err(|_| LogReadError::Stopping)??)
    }

    /// The checkpoint that stands for purged entries, where there are any; with `tenants`, what it has of
    /// these.
    ///
    /// # Errors
    /// [`LogReadError`]
    pub async fn checkpoint(
        &self,
        tenants: Option<Tenants>,
    ) -> Result<Option<PurgedCheckpoint>, LogReadError> {
        let (answer, checkpoint) = oneshot::channel();
        self.ask(Asked::Checkpoint { tenants, answer })?;
        Ok(checkpoint.await.map_err(|_| LogReadError::Stopping)??)
    }

    /// Waits until the entry at `index` is applied.
    ///
    /// # Errors
    /// [`LogReadError::Overloaded`]
    pub fn wait_for(&self, index: u64) -> Result<EntryWait, LogReadError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| LogReadError::Overloaded)?;
        let (answer, applied) = oneshot::channel();
        self.ask(Asked::Applied { index, answer })?;
        Ok(EntryWait { applied, _place: place })
    }

    async fn next(&self) -> Asked {
        poll_fn(|cx| {
            let mut inner = self.lock();
            match inner.asked.pop_front() {
                Some(asked) => Poll::Ready(asked),
                None => {
                    inner.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Answers one after the other, for as long as it is polled.
    pub async fn run<D: Disk>(&self, replica: Rc<Replica<D>>) {
        loop {
            // Whoever asked may have gone.
            match self.next().await {
                Asked::Piece { answer, .. } if answer.is_closed() => {}
                Asked::Piece { from, to, tenants, answer } => {
                    let _ = answer.send(replica.log_piece(from, to, tenants.as_ref()).await);
                }
                Asked::Checkpoint { tenants: None, answer } => {
                    let _ = answer.send(replica.purged_checkpoint());
                }
                Asked::Checkpoint { tenants: Some(tenants), answer } => {
                    let replica = Rc::clone(&replica);
                    // Making one may take a while.
                    cores::spawn(async move {
                        let _ = answer.send(replica.part_of_purged_checkpoint(&tenants).await);
                    });
                }
                Asked::Applied { index, mut answer } => {
                    let replica = Rc::clone(&replica);
                    cores::spawn(async move {
                        select(pin!(replica.applied(index)), pin!(answer.closed())).await;
                        let _ = answer.send(());
                    });
                }
            }
        }
    }
}
