//! What serving cores ask of the Raft core on behalf of those who keep a copy of the log: pieces of
//! it, and the checkpoint that stands for what is purged. One piece is read at a time, so that
//! writes wait behind no more than that.

use std::{
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tokio::sync::oneshot;

use crate::{
    base::{ids::LogId, limits::LOG_PIECES_WAITING},
    io::{Disk, map::Mapping},
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
    Piece { from: u64, to: u64, answer: oneshot::Sender<Result<LogPiece, LogPieceError>> },
    Checkpoint(oneshot::Sender<Result<Option<PurgedCheckpoint>, LogPieceError>>),
}

#[derive(Default)]
struct Inner {
    asked: VecDeque<Asked>,
    waker: Option<Waker>,
}

/// The questions of all serving cores that the Raft core has yet to take up.
#[derive(Default)]
pub struct LogReads(Mutex<Inner>);

impl LogReads {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends the process, so poison is never seen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Applied entries from index `from` up to `to`, as many as a piece holds.
    ///
    /// # Errors
    /// [`LogReadError`]
    pub async fn piece(&self, from: u64, to: u64) -> Result<LogPiece, LogReadError> {
        let (answer, piece) = oneshot::channel();
        self.ask(Asked::Piece { from, to, answer })?;
        Ok(piece.await.map_err(|_| LogReadError::Stopping)??)
    }

    /// The checkpoint that stands for purged entries, where there are any.
    ///
    /// # Errors
    /// [`LogReadError`]
    pub async fn checkpoint(&self) -> Result<Option<PurgedCheckpoint>, LogReadError> {
        let (answer, checkpoint) = oneshot::channel();
        self.ask(Asked::Checkpoint(answer))?;
        Ok(checkpoint.await.map_err(|_| LogReadError::Stopping)??)
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
                Asked::Piece { from, to, answer } => {
                    let _ = answer.send(replica.log_piece(from, to).await);
                }
                Asked::Checkpoint(answer) => {
                    let _ = answer.send(replica.purged_checkpoint());
                }
            }
        }
    }
}
