//! What the handles of a log share with its writer: the state of the log, in
//! memory as its owner sees it and as far as it is durable.

use super::{
    Entry, Identity, LogError, Options, Progress, Sealed,
    format::{FRAME_HEAD_BYTES, GROUP_HEAD_BYTES, HardState},
    open::{Active, Opened, Spare},
    queue::{Op, Queue},
    table::Table,
};
use crate::base::ids::LogId;
use crate::io::{BLOCK, Disk};
use rand::rngs::StdRng;
use smallvec::SmallVec;
use std::{
    cell::{Ref, RefCell, RefMut},
    collections::VecDeque,
    io,
    rc::Rc,
    time::Duration,
};
use tokio::sync::Notify;

pub(super) struct LogState<D: Disk> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) identity: Identity,
    /// Never borrowed across an await, nor while a callback runs.
    pub(super) inner: RefCell<Inner<D>>,
    /// Something waits in the queue, or the log is closing.
    pub(super) work: Notify,
    /// A preparation has ended, or the log is closing.
    pub(super) spare_ready: Notify,
    /// The spare was used, or the log is closing.
    pub(super) spare_used: Notify,
    /// The writer has ended.
    pub(super) ended: Notify,
    /// More is durable, or nothing more will be.
    pub(super) written: Notify,
}

impl<D: Disk> LogState<D> {
    pub(super) fn get(&self) -> Ref<'_, Inner<D>> {
        self.inner.borrow()
    }

    pub(super) fn get_mut(&self) -> RefMut<'_, Inner<D>> {
        self.inner.borrow_mut()
    }

    /// Stops acknowledging for good and fails everything that waits.
    pub(super) fn poison(&self, what: &str, error: &io::Error, in_flight: Vec<Op>) {
        let (reason, waiting) = {
            let mut inner = self.get_mut();
            let reason = inner.poison.get_or_insert_with(|| format!("{what}: {error}")).clone();
            (reason, inner.queue.take_all())
        };
        fail(in_flight.into_iter().chain(waiting), &LogError::Poisoned(reason));
        self.written.notify_waiters();
        for notify in [&self.work, &self.spare_ready, &self.spare_used, &self.ended] {
            notify.notify_waiters();
            notify.notify_one();
        }
    }
}

/// Tells every operation that it failed.
pub(super) fn fail(ops: impl Iterator<Item = Op>, error: &LogError) {
    for done in ops.filter_map(Op::into_done) {
        done(Err(error.clone().into()));
    }
}

/// The place of the active segment, as far as planning needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActivePlace {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    pub(super) offset: u64,
}

/// Is told of damage: the file, where in it, and what is wrong.
pub(super) type DamageHook = Rc<dyn Fn(&str, u64, &str)>;

pub(super) struct Inner<D: Disk> {
    /// The newest entries, durable or not. Invariant: entries below its first
    /// are durable, and `table` is right about them.
    pub(super) recent: VecDeque<Entry>,
    /// The index after the last entry, queued ones included.
    pub(super) next: u64,
    /// The hard state, queued changes included.
    pub(super) state: HardState,
    /// Durable entries.
    pub(super) table: Table,
    /// The hard state of the last durable group.
    pub(super) durable: HardState,
    pub(super) next_group: u64,
    pub(super) chain: u32,
    /// The last durable group bears data: damage to it would pass for a torn
    /// write.
    pub(super) ends_in_data: bool,
    pub(super) queue: Queue,
    pub(super) active: ActivePlace,
    /// Taken by the writer when it starts.
    pub(super) handover: Option<Active<D::File>>,
    pub(super) spare: Option<Spare<D::File>>,
    pub(super) preparing: bool,
    /// The writer waits for the spare.
    pub(super) awaits_spare: bool,
    /// The last attempt to prepare a spare failed.
    pub(super) cannot_prepare: bool,
    /// Pieces of spares that were filled.
    pub(super) pieces: u64,
    /// Bytes of payload that somebody waits to append until there is room for them.
    pub(super) room_wanted: u64,
    /// The spare is being put into use. Until its header is durable no further
    /// segment is prepared, so at most one segment is ever without a header.
    pub(super) rolling: bool,
    /// The active segment is to be completed, although it has room.
    pub(super) complete_wanted: bool,
    /// A group is being written.
    pub(super) writing: bool,
    /// Reads of entries from segments that are under way.
    pub(super) reading: u32,
    /// Such reads that the disk has answered.
    pub(super) reads_answered: u64,
    pub(super) oldest: u64,
    /// A segment that surely bears the newest purge mark.
    pub(super) purge_segment: u64,
    pub(super) removing: bool,
    pub(super) sealed: Vec<Sealed>,
    pub(super) on_seal: Option<Rc<dyn Fn()>>,
    pub(super) on_write: Option<Rc<dyn Fn(Duration)>>,
    pub(super) on_damage: Option<DamageHook>,
    /// Entries up to here may leave memory once they are durable and sealed.
    pub(super) released: Option<u64>,
    pub(super) poison: Option<String>,
    pub(super) closing: bool,
    pub(super) ended: bool,
    pub(super) rng: StdRng,
}

impl<D: Disk> Inner<D> {
    pub(super) fn new(opened: Opened<D::File>) -> Self {
        let Opened { recovery, active, spare, oldest, rng, .. } = opened;
        let place =
            ActivePlace { sequence: active.sequence, bytes: active.bytes, offset: active.offset };
        Self {
            next: recovery.table.next(),
            recent: recovery.recent,
            state: recovery.state,
            durable: recovery.state,
            table: recovery.table,
            next_group: recovery.next_group,
            chain: recovery.chain,
            ends_in_data: recovery.ends_in_data,
            queue: Queue::default(),
            active: place,
            handover: Some(active),
            spare,
            preparing: false,
            awaits_spare: false,
            cannot_prepare: false,
            pieces: 0,
            room_wanted: 0,
            rolling: false,
            complete_wanted: false,
            writing: false,
            reading: 0,
            reads_answered: 0,
            oldest,
            // Each group bears the mark.
            purge_segment: if place.offset > BLOCK as u64 { place.sequence } else { oldest },
            removing: false,
            sealed: Vec::new(),
            on_seal: None,
            on_write: None,
            on_damage: None,
            released: None,
            poison: None,
            closing: false,
            ended: false,
            rng,
        }
    }

    pub(super) fn usable(&self) -> Result<(), LogError> {
        if let Some(reason) = &self.poison {
            return Err(LogError::Poisoned(reason.clone()));
        }
        if self.closing { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Stops the node when what is durable is not what was asked for: the next start would
    /// read something else than what is answered for now.
    pub(super) fn assert_sound(&self) {
        let (durable, first) = (self.table.next(), self.recent_first());
        assert!(
            first <= durable || self.state.purged.is_some_and(|id| first <= id.index + 1),
            "entries before {first} are not in memory, and durable only to {durable}"
        );
        // What waited when the log failed was dropped.
        if self.queue.is_empty() && !self.writing && self.poison.is_none() {
            assert_eq!(durable, self.next, "nothing waits, so all entries are durable");
            assert_eq!(self.durable, self.state, "nothing waits, so all marks are durable");
        }
    }

    /// Whether something is not durable yet, or damage to the newest group
    /// would pass for a torn write.
    pub(super) fn needs_flush(&self) -> bool {
        self.queue.is_urgent() || self.ends_in_data || self.state != self.durable
    }

    /// Whether a spare is missing and nobody is at it.
    pub(super) fn lacks_spare(&self) -> bool {
        self.spare.is_none() && !self.preparing && !self.rolling
    }

    /// The index of the first entry of `recent`.
    pub(super) fn recent_first(&self) -> u64 {
        assert!(self.recent.len() as u64 <= self.next, "the newest entries end with the last one");
        self.next - self.recent.len() as u64
    }

    pub(super) fn recent_entry(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.recent_first())?;
        self.recent.get(usize::try_from(at).ok()?)
    }

    pub(super) fn id(&self, index: u64) -> Option<LogId> {
        if index >= self.recent_first() {
            return self.recent_entry(index).map(|entry| entry.id);
        }
        let purged = self.state.purged.is_some_and(|id| index <= id.index);
        if purged { None } else { self.table.id(index) }
    }

    /// The entry at `index`, if it is durable. Until a removal is durable the table still
    /// has what was removed.
    pub(super) fn durable_id(&self, index: u64) -> Option<LogId> {
        let id = self.id(index)?;
        self.table.id(index).filter(|&durable| durable == id)
    }

    /// The index of the oldest entry that is held, or of the next one when there
    /// is none.
    pub(super) fn first_index(&self) -> u64 {
        let recent = self.recent_first();
        let held = if self.table.is_empty() { recent } else { self.table.first().min(recent) };
        held.max(self.state.purged.map_or(0, |purged| purged.index + 1))
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.next.checked_sub(1).and_then(|last| self.id(last)).or(self.state.purged)
    }

    /// How far the writer is.
    pub(super) fn progress(&self, group_bytes: usize) -> Progress {
        let is_writing = self.writing || self.rolling;
        Progress {
            groups: self.next_group,
            pieces: self.pieces,
            is_writing,
            is_waited_for: is_writing || self.queue.is_urgent(),
            lacks_room: self.room_wanted > self.headroom(group_bytes),
            reads: self.reads_answered,
            is_reading: self.reading > 0,
        }
    }

    /// Bytes of payload that one more append of a single entry may surely place, when
    /// groups have up to `group_bytes`.
    pub(super) fn headroom(&self, group_bytes: usize) -> u64 {
        let ActivePlace { bytes, offset, .. } = self.active;
        let spare = self
            .spare
            .as_ref()
            .map_or(0, |spare| (spare.bytes - BLOCK as u64).saturating_sub(reserve(spare.bytes)));
        let active = (bytes - offset).saturating_sub(reserve(bytes));
        let own = (GROUP_HEAD_BYTES + FRAME_HEAD_BYTES + BLOCK) as u64;
        let queued = self.queue.cost(group_bytes);
        active.max(spare).saturating_sub(queued + own)
    }

    /// Takes in entries that follow the last one, each of up to `bytes_max`: all or none.
    pub(super) fn accept(
        &mut self,
        entries: SmallVec<[Entry; 4]>,
        bytes_max: usize,
    ) -> Result<(), LogError> {
        let mut next = self.next;
        if let Some(first) = entries.first()
            && (self.last().is_none() || self.last() == self.state.purged)
        {
            // A log without entries may go on anywhere above.
            next = next.max(first.id.index);
        }
        for entry in &entries {
            if entry.id.index != next {
                return Err(LogError::NotConsecutive { expected: next, found: entry.id.index });
            }
            if entry.payload.len() > bytes_max {
                return Err(LogError::TooLarge { bytes: entry.payload.len(), bytes_max });
            }
            next += 1;
        }
        for entry in entries {
            self.recent.push_back(entry.clone());
            self.queue.push(Op::Entry(entry));
        }
        self.next = next;
        Ok(())
    }

    /// Removes the entries from `next` on; whether there are any.
    ///
    /// # Panics
    /// If one of them is committed.
    pub(super) fn truncate(&mut self, next: u64) -> bool {
        let committed = self.state.committed;
        assert!(
            committed.is_none_or(|committed| committed.index < next),
            "entry {committed:?} is committed and cannot be removed"
        );
        if next >= self.next {
            return false;
        }
        let kept = next.saturating_sub(self.recent_first());
        self.recent.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.next = next;
        true
    }

    /// Forgets the entries up to `upto`, which are committed by that; whether that was
    /// not done before.
    pub(super) fn purge(&mut self, upto: LogId) -> bool {
        if self.state.purged.is_some_and(|purged| purged.index >= upto.index) {
            return false;
        }
        self.state.purged = Some(upto);
        if self.state.committed.is_none_or(|committed| committed.index < upto.index) {
            self.state.committed = Some(upto);
        }
        while self.recent.front().is_some_and(|entry| entry.id.index <= upto.index) {
            self.recent.pop_front();
        }
        self.next = self.next.max(upto.index + 1);
        true
    }

    /// Drops released entries from memory, as far as they are durable in sealed
    /// segments.
    pub(super) fn trim_recent(&mut self) {
        let Some(released) = self.released else { return };
        while let Some(entry) = self.recent.front() {
            let index = entry.id.index;
            let sealed = self.table.id(index) == Some(entry.id)
                && self.table.segment(index).is_some_and(|found| found < self.active.sequence);
            if index > released || !sealed {
                break;
            }
            self.recent.pop_front();
        }
    }
}

/// Bytes at the end of a segment that are kept for what is not an entry.
pub(super) fn reserve(segment_bytes: u64) -> u64 {
    (segment_bytes / 16).next_multiple_of(BLOCK as u64)
}

/// The longest payload of an entry.
pub(super) fn payload_bytes_max(segment_bytes: u64) -> usize {
    let group = segment_bytes - BLOCK as u64 - reserve(segment_bytes);
    let group = usize::try_from(group).unwrap_or(usize::MAX);
    group.saturating_sub(GROUP_HEAD_BYTES + FRAME_HEAD_BYTES)
}
