//! The group commit: one durable write at a time, each taking what gathered in
//! the queue while the one before it was in flight.

use super::{
    Log, LogError, Place, Sealed,
    format::{
        FRAME_HEAD_BYTES, GROUP_HEAD_BYTES, GroupPlace, HardState, SegmentHeader, encode_group,
        group_bytes,
    },
    open::{self, Active},
    queue::{Op, Plan, Room},
    state::{ActivePlace, Inner, LogState, fail, reserve},
};
use crate::io::{BLOCK, Disk, DiskFile, cores};
use rand::RngExt;
use std::{future::Future, io, rc::Rc};

/// Buffers are kept for reuse up to this size each, and this many.
const BUFFER_BYTES_KEPT: usize = 128 * 1024;
const BUFFERS_KEPT: usize = 16;

impl<D: Disk> Log<D> {
    /// The writer: writes groups until the log is closed or a write fails. To
    /// be spawned once; when it is dropped before it ends, the log is poisoned.
    ///
    /// # Panics
    /// If it is asked for twice.
    pub fn run(&self) -> impl Future<Output = ()> + 'static {
        let shared = Rc::clone(&self.shared);
        let active = shared.get_mut().handover.take();
        async move {
            let Some(active) = active else { panic!("a log has one writer") };
            let mut guard = EndGuard { shared: Rc::clone(&shared), finished: false };
            let mut writer = Writer { shared, active, buffers: Vec::new() };
            let outcome = writer.run().await;
            if let Err((what, error, in_flight)) = outcome {
                writer.shared.poison(what, &error, in_flight);
            }
            writer.end().await;
            guard.finished = true;
        }
    }
}

/// A writer that is dropped half-way leaves operations nobody would answer.
struct EndGuard<D: Disk> {
    shared: Rc<LogState<D>>,
    finished: bool,
}

impl<D: Disk> Drop for EndGuard<D> {
    fn drop(&mut self) {
        if !self.finished {
            let error = io::Error::other("it was dropped");
            self.shared.poison("the writer ended early", &error, Vec::new());
            self.shared.get_mut().ended = true;
        }
    }
}

/// What failed, how, and the operations of which nobody knows whether they are
/// on disk.
type Failure = (&'static str, io::Error, Vec<Op>);

struct Writer<D: Disk> {
    shared: Rc<LogState<D>>,
    active: Active<D::File>,
    buffers: Vec<<D::File as DiskFile>::Buffer>,
}

/// What to do next.
enum Step {
    Write(Plan),
    Roll,
    AwaitSpare,
    AwaitWork,
    End,
}

impl<D: Disk> Writer<D> {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let step = self.next_step();
            match step {
                Step::Write(plan) => self.commit(plan).await?,
                Step::Roll => self.roll().await?,
                Step::AwaitSpare => {
                    self.shared.get_mut().awaits_spare = true;
                    self.shared.spare_ready.notified().await;
                    self.shared.get_mut().awaits_spare = false;
                }
                Step::AwaitWork => self.shared.work.notified().await,
                Step::End => return Ok(()),
            }
        }
    }

    fn next_step(&self) -> Step {
        let inner = self.shared.get();
        if inner.poison.is_some() {
            return Step::End;
        }
        if inner.complete_wanted && inner.spare.is_some() && inner.active.offset > BLOCK as u64 {
            return Step::Roll;
        }
        if !inner.queue.is_urgent() {
            return if inner.closing { Step::End } else { Step::AwaitWork };
        }
        let ActivePlace { bytes, offset, .. } = inner.active;
        let left = bytes - offset;
        let reserve = if inner.spare.is_some() { 0 } else { reserve(bytes) };
        let plan = inner.queue.plan(Room {
            entries: left.saturating_sub(reserve),
            others: left,
            group_bytes: self.shared.options.group_bytes,
        });
        match plan.ops {
            0 if inner.spare.is_some() => Step::Roll,
            0 if inner.closing && !inner.preparing => Step::End,
            0 => Step::AwaitSpare,
            _ => Step::Write(plan),
        }
    }

    /// Writes one group and tells its operations.
    async fn commit(&mut self, plan: Plan) -> Result<(), Failure> {
        let bytes = group_bytes(plan.body);
        let mut buffer = self.buffer(bytes);
        let (ops, state, checksum, on_write) = {
            let mut inner = self.shared.get_mut();
            let ops = inner.queue.take(plan.ops);
            let state = state_after(inner.durable, &ops);
            let place = GroupPlace {
                offset: u32::try_from(self.active.offset).unwrap_or(u32::MAX),
                nonce: self.active.nonce,
                number: inner.next_group,
                previous: inner.chain,
            };
            let frames = ops.iter().filter_map(Op::frame);
            let checksum = encode_group(buffer.as_mut(), &place, &state, frames);
            inner.writing = true;
            (ops, state, checksum, inner.on_write.clone())
        };
        let end = self.active.offset + bytes as u64;
        assert!(end <= self.active.bytes, "a group ends at {end}, beyond its segment");
        let submitted = on_write.as_ref().map(|_| cores::now());
        match self.active.file.write_at(buffer, self.active.offset).await {
            Ok(buffer) => self.keep(buffer),
            Err(error) => return Err(("writing a group", error, ops)),
        }
        if let (Some(on_write), Some(submitted)) = (on_write, submitted) {
            on_write(submitted.elapsed());
        }
        self.shared.get_mut().committed_group(&ops, state, checksum);
        self.active.offset += bytes as u64;
        self.shared.get_mut().active.offset = self.active.offset;
        self.shared.written.notify_waiters();
        for done in ops.into_iter().filter_map(Op::into_done) {
            done(Ok(()));
        }
        Ok(())
    }

    /// Goes on in the spare segment.
    async fn roll(&mut self) -> Result<(), Failure> {
        let (spare, header) = {
            let mut inner = self.shared.get_mut();
            let Some(spare) = inner.spare.take() else { return Ok(()) };
            assert_eq!(spare.sequence, self.active.sequence + 1, "segments are numbered in order");
            inner.rolling = true;
            let header = SegmentHeader {
                cluster: self.shared.identity.cluster,
                node: self.shared.identity.node,
                sequence: spare.sequence,
                nonce: inner.rng.random(),
                segment_bytes: spare.bytes,
                first_group: inner.next_group,
                first_index: inner.table.next(),
                chain: inner.chain,
                rewritten: None,
            };
            (spare, header)
        };
        let failed = |error| ("writing a segment's header", error, Vec::new());
        let next = open::start(spare, &header).await.map_err(failed)?;
        let complete = std::mem::replace(&mut self.active, next);
        let hook = {
            let mut inner = self.shared.get_mut();
            let done = Sealed {
                nonce: complete.nonce,
                next_group: inner.next_group,
                chain: inner.chain,
                state: inner.durable,
                ..inner.table.sealed(complete.sequence)
            };
            inner.sealed.push(done);
            inner.rolling = false;
            inner.complete_wanted = false;
            inner.active = ActivePlace {
                sequence: self.active.sequence,
                bytes: self.active.bytes,
                offset: self.active.offset,
            };
            inner.trim_recent();
            inner.on_seal.clone()
        };
        self.shared.spare_used.notify_one();
        if let Some(hook) = hook {
            hook();
        }
        let failed = |error| ("closing a segment", error, Vec::new());
        complete.file.close().await.map_err(failed)
    }

    /// Fails what cannot be written any more and closes the files.
    async fn end(self) {
        let (waiting, spare) = {
            let mut inner = self.shared.get_mut();
            inner.closing = true;
            (inner.queue.take_all(), inner.spare.take())
        };
        fail(waiting.into_iter(), &LogError::Closed);
        // All that was promised is durable, so a failing close changes nothing.
        let _ = self.active.file.close().await;
        if let Some(spare) = spare {
            let _ = spare.file.close().await;
        }
        self.shared.get_mut().ended = true;
        self.shared.ended.notify_one();
        self.shared.spare_used.notify_one();
    }

    /// A buffer of exactly `bytes`, with anything in it.
    fn buffer(&mut self, bytes: usize) -> <D::File as DiskFile>::Buffer {
        let kept = self.buffers.iter().position(|buffer| buffer.as_ref().len() == bytes);
        match kept {
            Some(at) => self.buffers.swap_remove(at),
            None => self.active.file.buffer(bytes),
        }
    }

    fn keep(&mut self, buffer: <D::File as DiskFile>::Buffer) {
        if buffer.as_ref().len() <= BUFFER_BYTES_KEPT {
            if self.buffers.len() == BUFFERS_KEPT {
                self.buffers.remove(0);
            }
            self.buffers.push(buffer);
        }
    }
}

/// The hard state once `ops` are done.
fn state_after(before: HardState, ops: &[Op]) -> HardState {
    let mut state = before;
    for op in ops {
        match op {
            Op::Vote(vote, _) => state.vote = Some(*vote),
            Op::Mark(id) => state.committed = Some(*id),
            Op::Purge(id, _) => {
                state.purged = Some(*id);
                if state.committed.is_none_or(|committed| committed.index < id.index) {
                    state.committed = Some(*id);
                }
            }
            Op::Entry(_) | Op::AppendDone(_) | Op::Truncate(..) | Op::Flush(_) => {}
        }
    }
    state
}

impl<D: Disk> Inner<D> {
    /// Takes over what a durable group holds; `active.offset` is its place.
    fn committed_group(&mut self, ops: &[Op], state: HardState, checksum: u32) {
        let mut at = self.active.offset + GROUP_HEAD_BYTES as u64;
        for op in ops {
            match op {
                Op::Entry(entry) => {
                    let payload = at + FRAME_HEAD_BYTES as u64;
                    let place = Place {
                        segment: self.active.sequence,
                        offset: u32::try_from(payload).unwrap_or(u32::MAX),
                        bytes: u32::try_from(entry.payload.len()).unwrap_or(u32::MAX),
                    };
                    let follows = self.table.push(entry.id, place);
                    assert!(follows, "durable entries are consecutive");
                }
                Op::Truncate(after, _) => self.table.truncate(*after),
                Op::Purge(id, _) => {
                    self.table.purge(id.index);
                    self.purge_segment = self.active.sequence;
                }
                Op::AppendDone(_) | Op::Vote(..) | Op::Mark(_) | Op::Flush(_) => {}
            }
            at += op.frame().map_or(0, |frame| frame.encoded_bytes() as u64);
        }
        self.durable = state;
        self.writing = false;
        self.next_group += 1;
        self.chain = checksum;
        self.ends_in_data = ops.iter().any(Op::is_data);
        self.assert_sound();
    }
}
