//! Logs of any kind, opened: whatever lies in the segments does no harm, and what
//! was damaged is refused or was never acknowledged.

mod damage;
mod disk;
mod image;

pub use damage::log_damage;

use futures_util::FutureExt;

use self::{
    disk::HeldDisk,
    image::{Choices, IDENTITY, Image},
};
use super::{Entry, Log, OpenError, Options, SEGMENT_BYTES_MIN, Vote};
use crate::base::ids::LogId;

/// What an opened log says of itself.
#[derive(Debug, PartialEq)]
struct Opened {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The entries that are known to be committed.
    replayed: Vec<Entry>,
    /// The others.
    recent: Vec<Entry>,
}

/// Groups and headers that are whole, but may contradict each other in any way.
///
/// # Panics
/// When a log that is refused is changed, or one that is opened is another one the
/// next time.
pub fn log_recovery(input: &[u8]) {
    let mut choices = Choices(input);
    let mut image = Image::new();
    while !choices.is_empty() && image.goes_on(&mut choices) {}
    let disk = image.disk();
    if open(&disk).is_some_and(|first| open(&disk) != Some(first)) {
        panic!("opened again it is another one");
    }
}

/// Opens a log; nothing when it is refused.
fn open(disk: &HeldDisk) -> Option<Opened> {
    let before = disk.snapshot();
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        group_bytes: 8 << 10,
        free_margin_bytes: 0,
        nonce_seed: 1,
        ..Options::new(IDENTITY)
    };
    let mut replayed = Vec::new();
    let replay = |entry: &Entry, _| {
        replayed.push(entry.clone());
        Ok(())
    };
    let opening = Log::open(disk.clone(), options, replay).now_or_never();
    let Some(opened) = opening else { panic!("this disk answers at once") };
    match opened {
        Ok(log) => {
            let from = log.committed().map_or_else(|| log.first_index(), |id| id.index + 1);
            let to = log.last().map_or(0, |id| id.index + 1);
            let Some(Ok(recent)) = log.read(from, to, usize::MAX).now_or_never() else {
                panic!("what is not committed is read from memory");
            };
            let (vote, committed, purged) = (log.vote(), log.committed(), log.purged());
            Some(Opened { vote, committed, purged, last: log.last(), replayed, recent })
        }
        Err(OpenError::Io { what, source }) => panic!("{what}: {source}"),
        Err(_) => {
            assert!(before == disk.snapshot(), "a refusal changed the disk");
            None
        }
    }
}
