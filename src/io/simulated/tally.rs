//! How often simulated disks and the simulated network did what goes wrong with real ones, on
//! this thread: what tells whether a fault that was set took effect.

use std::{cell::RefCell, collections::BTreeMap};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An operation waited for a disk that hangs.
    DiskHangs,
    /// A disk had no room.
    DiskIsFull,
    /// A process had no descriptor.
    NoDescriptor,
    WriteFails,
    WriteIsLost,
    WriteIsMisdirected,
    ReadFails,
    SyncFails,
    DirectorySyncFails,
    RemovalFails,
    RenameFails,
    /// The power went between two steps of a disk's work.
    PowerGoes,
    /// Of a file that was not synced some sectors survived and others did not.
    WriteIsTorn,
    /// A change of names was not synced and is lost.
    NameIsLost,
    /// Bytes waited for a way on which nothing passes.
    BytesAreKept,
    /// The bytes of one connection took longer than those of others.
    ConnectionLags,
    /// Bytes arrived in several pieces.
    BytesAreSplit,
    /// Both ends of a connection saw a reset.
    ConnectionIsCut,
    /// Nothing was heard for too long.
    ConnectionTimesOut,
    /// Nobody is there who could be connected to.
    ConnectIsRefused,
    /// Nobody answers who is connected to.
    ConnectIsUnanswered,
}

impl Event {
    pub const ALL: [Self; 21] = [
        Self::DiskHangs,
        Self::DiskIsFull,
        Self::NoDescriptor,
        Self::WriteFails,
        Self::WriteIsLost,
        Self::WriteIsMisdirected,
        Self::ReadFails,
        Self::SyncFails,
        Self::DirectorySyncFails,
        Self::RemovalFails,
        Self::RenameFails,
        Self::PowerGoes,
        Self::WriteIsTorn,
        Self::NameIsLost,
        Self::BytesAreKept,
        Self::ConnectionLags,
        Self::BytesAreSplit,
        Self::ConnectionIsCut,
        Self::ConnectionTimesOut,
        Self::ConnectIsRefused,
        Self::ConnectIsUnanswered,
    ];
}

thread_local! {
    static TALLY: RefCell<BTreeMap<Event, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that it happened once more.
pub fn count(event: Event) {
    // While a thread ends there is none.
    let _ = TALLY.try_with(|tally| *tally.borrow_mut().entry(event).or_default() += 1);
}

/// Takes out how often each happened.
pub fn take() -> BTreeMap<Event, u64> {
    TALLY.take()
}
