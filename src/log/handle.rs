//! The log as its owner sees it: what may be asked at once, and what is queued
//! for the writer.

use super::{
    Entry, Identity, LogError, OpenError, Options, Place, Progress, Sealed, Vote,
    open::{self, Entries, Reader},
    purged::remove_purged,
    queue::{Done, Op},
    state::{Inner, LogState, payload_bytes_max},
};
use crate::base::{ids::LogId, planted::planted};
use crate::io::Disk;
use std::{cell::RefCell, future::Future, io, rc::Rc, time::Duration};
use tokio::sync::{Notify, oneshot};

/// The durable log; clones are the same log. Single-threaded.
pub struct Log<D: Disk> {
    pub(super) shared: Rc<LogState<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

/// A callback and the future that it completes.
fn completion() -> (Done, impl Future<Output = io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    let done: Done = Box::new(move |outcome| {
        // Nobody waits any more when the caller was dropped.
        let _ = sender.send(outcome);
    });
    let outcome = async move { receiver.await.unwrap_or_else(|_| Err(LogError::Closed.into())) };
    (done, outcome)
}

impl<D: Disk> Log<D> {
    /// Verifies everything on `disk`, cuts a torn tail, and hands every
    /// committed entry that was not purged to `replay`, once and in index
    /// order. Committed means: by the mark found; what lies behind it stays in
    /// the log, in memory. An empty directory becomes the log of
    /// `options.identity`.
    ///
    /// # Errors
    /// [`OpenError`]; damage and refusals change nothing on disk. When it
    /// fails, what was replayed so far is void.
    pub async fn open(
        disk: D,
        options: Options,
        replay: impl FnMut(&Entry, Place) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        Self::open_into(disk, options, &mut Entries(replay)).await
    }

    /// The same, into something that knows the indexes of segments.
    ///
    /// # Errors
    /// [`OpenError`], as above.
    pub async fn open_into(
        disk: D,
        options: Options,
        reader: &mut impl Reader,
    ) -> Result<Self, OpenError> {
        let opened = open::open(&disk, &options, reader).await?;
        let shared = LogState {
            identity: opened.identity,
            inner: RefCell::new(Inner::new(opened)),
            disk,
            options,
            work: Notify::new(),
            spare_ready: Notify::new(),
            spare_used: Notify::new(),
            ended: Notify::new(),
            written: Notify::new(),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Removes whatever log is on `disk`, which nobody may have open, and begins
    /// that of `options.identity`. Interrupted, it leaves the one or the other.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn replace(disk: D, options: Options) -> Result<Self, OpenError> {
        open::remove_all(&disk).await?;
        Self::open(disk, options, |_, _| Ok(())).await
    }

    /// Its directory, for work off the core.
    #[must_use]
    pub fn files(&self) -> D::Files {
        self.shared.disk.files()
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.identity
    }

    /// The last vote that was saved, or is queued.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.shared.get().state.vote
    }

    /// The committed mark.
    #[must_use]
    pub fn committed(&self) -> Option<LogId> {
        self.shared.get().state.committed
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.shared.get().state.purged
    }

    /// The last entry, or the last purged one when there is none.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.shared.get().last()
    }

    /// The entry at `index`, if it is held.
    #[must_use]
    pub fn id(&self, index: u64) -> Option<LogId> {
        self.shared.get().id(index)
    }

    /// The index of the oldest entry that is held, or of the next one when there
    /// is none.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.shared.get().first_index()
    }

    /// The number of the oldest segment on the disk.
    #[must_use]
    pub fn oldest_segment(&self) -> u64 {
        self.shared.get().oldest
    }

    /// The sequence number of the segment that is written now.
    #[must_use]
    pub fn active_segment(&self) -> u64 {
        self.shared.get().active.sequence
    }

    /// Why nothing is acknowledged any more: a write failed, and which.
    #[must_use]
    pub fn poison(&self) -> Option<String> {
        self.shared.get().poison.clone()
    }

    /// How far the writer is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.get().progress(self.shared.options.group_bytes)
    }

    /// Bytes of payload that one more append of a single entry may surely
    /// place, with the segments there are: the larger of what is left in the
    /// active one and in the spare, less what is queued and a reserve for votes
    /// and marks. Entries beyond it are accepted but wait for a spare, and what
    /// is queued after them waits too.
    #[must_use]
    pub fn headroom(&self) -> u64 {
        self.shared.get().headroom(self.shared.options.group_bytes)
    }

    /// Whether so many bytes of payload have room; where they do not, somebody waits for a
    /// segment until this is asked again and they do.
    #[must_use]
    pub fn want_room(&self, bytes: u64) -> bool {
        let has_room = self.headroom() >= bytes;
        self.shared.get_mut().room_wanted = if has_room { 0 } else { bytes };
        has_room
    }

    /// The longest payload of an entry.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        payload_bytes_max(self.shared.options.segment_bytes)
    }

    /// Queues entries, which are readable at once. `done` runs when they are
    /// durable, or have failed.
    ///
    /// # Errors
    /// [`LogError`]; nothing was queued then and `done` never runs.
    pub fn append(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) -> Result<(), LogError> {
        let entries = entries.into_iter().collect();
        let mut inner = self.shared.get_mut();
        inner.usable()?;
        inner.accept(entries, self.payload_bytes_max())?;
        if planted!(AcknowledgeBeforeDurable) {
            inner.queue.push(Op::AppendDone(Box::new(|_| {})));
            drop(inner);
            done(Ok(()));
        } else {
            inner.queue.push(Op::AppendDone(Box::new(done)));
            drop(inner);
        }
        self.shared.work.notify_one();
        Ok(())
    }

    /// Queues an operation and waits until it is durable.
    async fn submit(&self, op: impl FnOnce(Done) -> Op) -> io::Result<()> {
        let (done, outcome) = completion();
        self.shared.get_mut().queue.push(op(done));
        self.shared.work.notify_one();
        outcome.await
    }

    /// Saves a vote, in order with the entries queued before it. Durable on
    /// return.
    ///
    /// # Errors
    /// When the log is closed or a write failed.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        {
            let mut inner = self.shared.get_mut();
            inner.usable()?;
            inner.state.vote = Some(vote);
        }
        if planted!(SkipVoteDurability) {
            self.shared.get_mut().queue.push(Op::Vote(vote, Box::new(|_| {})));
            self.shared.work.notify_one();
            return Ok(());
        }
        self.submit(|done| Op::Vote(vote, done)).await
    }

    /// Moves the committed mark, which is written with the next group. A mark
    /// that does not move ahead, or names an entry the log does not have, is
    /// ignored.
    pub fn set_committed(&self, id: LogId) {
        let mut inner = self.shared.get_mut();
        let ahead = inner.state.committed.is_none_or(|committed| committed.index < id.index);
        if ahead && inner.usable().is_ok() && inner.id(id.index) == Some(id) {
            inner.state.committed = Some(id);
            inner.queue.push(Op::Mark(id));
        }
    }

    /// Removes every entry after `last`, or all of them. Durable on return.
    ///
    /// # Errors
    /// When the log is closed or a write failed.
    ///
    /// # Panics
    /// If a committed entry would be removed.
    pub async fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        let after = last.map(|id| id.index);
        let next = after.map_or(0, |after| after + 1);
        {
            let mut inner = self.shared.get_mut();
            inner.usable()?;
            if !inner.truncate(next) {
                return Ok(());
            }
        }
        self.submit(|done| Op::Truncate(after, done)).await
    }

    /// Forgets the entries up to `upto`, which are committed by that, and
    /// removes the segments that held nothing else. The mark is durable on return,
    /// and the segments are gone; those that could not be removed go with the next
    /// purge.
    ///
    /// # Errors
    /// When the log is closed, or a write or a sync of the directory failed.
    pub async fn purge(&self, upto: LogId) -> io::Result<()> {
        {
            let mut inner = self.shared.get_mut();
            inner.usable()?;
            if !inner.purge(upto) {
                return Ok(());
            }
        }
        self.submit(|done| Op::Purge(upto, done)).await?;
        remove_purged(&self.shared).await
    }

    /// Lets entries up to `upto` leave memory, once they are durable in sealed
    /// segments; later reads of them come from disk.
    pub fn release(&self, upto: u64) {
        let mut inner = self.shared.get_mut();
        inner.released = inner.released.max(Some(upto));
        inner.trim_recent();
    }

    /// The length of new segments.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.shared.options.segment_bytes
    }

    /// Segments that were completed since this was last asked.
    #[must_use]
    pub fn take_sealed(&self) -> Vec<Sealed> {
        std::mem::take(&mut self.shared.get_mut().sealed)
    }

    /// Calls `hook` whenever a segment is completed. It replaces the hook
    /// before it.
    pub fn on_seal(&self, hook: impl Fn() + 'static) {
        self.shared.get_mut().on_seal = Some(Rc::new(hook));
    }

    /// Calls `hook` with the time of each durable write of a group, from its
    /// submission on. It replaces the hook before it; without one no clock is read.
    pub fn on_write(&self, hook: impl Fn(Duration) + 'static) {
        self.shared.get_mut().on_write = Some(Rc::new(hook));
    }

    /// Calls `hook` with the file, the offset and what is wrong when an entry that is read is
    /// damaged on the disk, each time. It replaces the hook before it.
    pub fn on_damage(&self, hook: impl Fn(&str, u64, &str) + 'static) {
        self.shared.get_mut().on_damage = Some(Rc::new(hook));
    }

    /// Writes the committed mark, and a group behind the last data, so that
    /// later damage to that data is not taken for a torn write. To be called
    /// when the log has been idle for a moment. Does nothing when there is
    /// nothing to do.
    ///
    /// # Errors
    /// When the log is closed or a write failed.
    pub async fn flush_marks(&self) -> io::Result<()> {
        {
            let inner = self.shared.get();
            inner.usable()?;
            if !inner.needs_flush() {
                return Ok(());
            }
        }
        self.submit(Op::Flush).await
    }

    /// Writes what is queued and the marks, and ends [`run`](Self::run), whose
    /// future must be polled until then. What waits for a segment that nobody
    /// is preparing fails.
    ///
    /// # Errors
    /// When a write failed, now or earlier.
    pub async fn close(&self) -> io::Result<()> {
        let flushed = {
            let mut inner = self.shared.get_mut();
            let pending = inner.needs_flush() && inner.usable().is_ok();
            inner.closing = true;
            pending.then(|| {
                let (done, outcome) = completion();
                inner.queue.push(Op::Flush(done));
                outcome
            })
        };
        for notify in [&self.shared.work, &self.shared.spare_ready, &self.shared.spare_used] {
            notify.notify_one();
        }
        // What waited for a segment fails, and so does what was to be flushed behind it;
        // neither was promised.
        if let Some(flushed) = flushed {
            let _ = flushed.await;
        }
        loop {
            let ended = self.shared.ended.notified();
            if self.shared.get().ended {
                self.shared.ended.notify_one();
                let poison = self.shared.get().poison.clone();
                return poison.map_or(Ok(()), |reason| Err(LogError::Poisoned(reason).into()));
            }
            ended.await;
        }
    }
}
