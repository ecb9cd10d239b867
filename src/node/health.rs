//! Watches whether this node can do what a leader has to, and acts on it: writes are
//! refused in time, another voter leads where one can, and the node does not stand for
//! election until it is well.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::Notify;

use super::status::Status;
use crate::{
    base::{
        planted::planted,
        timing::{
            DISK_SILENCE, HEALTH_LOOK, NO_SEGMENT_DEFERENCE, NO_SEGMENT_PATIENCE, RELIEF_RETRY,
            TAKE_OVER,
        },
    },
    io::{Disk, cores},
    log::Progress,
    raft::{Ailment, Leadership, Replica},
};

/// With less room than this a node says that it takes no writes.
const ROOM_BYTES_MIN: u64 = 64 * 1024;

/// What is seen of a log at one moment.
#[derive(Clone, Copy, Debug)]
struct Seen {
    progress: Progress,
    has_failed: bool,
    lacks_segment: bool,
}

/// How far something was, and since when it came no further although it was waited for.
#[derive(Debug, Default)]
struct Silence<T>(Option<(T, Instant)>);

impl<T: PartialEq> Silence<T> {
    /// Whether it has lasted too long, when `reached` is seen at `now`; only what was
    /// `watched` until now counts as silent.
    fn lasts(&mut self, waits: bool, reached: T, watched: bool, now: Instant) -> bool {
        let since = match self.0.take() {
            Some((before, since)) if before == reached && watched => since,
            _ => now,
        };
        self.0 = waits.then_some((reached, since));
        waits && now - since >= DISK_SILENCE
    }
}

/// What was seen of a log so far. Pure.
#[derive(Debug, Default)]
struct Course {
    /// Of groups and of pieces of segments that are written.
    writes: Silence<(u64, u64)>,
    /// Of reads: apart, since a disk may answer these and write nothing.
    reads: Silence<u64>,
    looked: Option<Instant>,
    lacking_since: Option<Instant>,
}

impl Course {
    /// What ails a log that is seen like this at `now`.
    fn ailment(&mut self, seen: Seen, now: Instant) -> Option<Ailment> {
        let Progress { groups, pieces, is_writing, is_waited_for, lacks_room, reads, is_reading } =
            seen.progress;
        // What may wait for a segment goes on while that is being made.
        let reached = (groups, if is_writing { 0 } else { pieces });
        // What waits for a segment does not wait for an answer of the disk.
        let waits = is_writing || ((is_waited_for || lacks_room) && !seen.lacks_segment);
        // Who did not look, as a process that was paused, cannot tell what was silent.
        let watched = self.looked.replace(now).is_some_and(|at| now - at < DISK_SILENCE / 2);
        // Both look: each has to know what it saw last.
        let silent = self.writes.lasts(waits, reached, watched, now)
            | self.reads.lasts(is_reading, reads, watched, now);
        self.lacking_since = seen.lacks_segment.then(|| self.lacking_since.unwrap_or(now));
        if seen.has_failed {
            Some(Ailment::Failed)
        } else if silent {
            Some(Ailment::Stalled)
        } else if self.lacking_since.is_some_and(|since| now - since >= NO_SEGMENT_PATIENCE) {
            Some(Ailment::NoSegment)
        } else {
            None
        }
    }
}

/// Watches a node until its log has failed, or Raft has stopped. `room` wakes writes
/// that wait for room, so that they are refused.
pub async fn keep<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>, room: Rc<Notify>) {
    let mut course = Course::default();
    let mut unled_since = None;
    // Each attempt to be relieved holds it, too.
    let relief = Rc::new(());
    let mut relieved: Option<Instant> = None;
    loop {
        let now = cores::now();
        let log = replica.log();
        let lacks_segment = status.segment_problem().is_some();
        let has_failed = log.poison().is_some();
        let seen = Seen { progress: log.progress(), has_failed, lacks_segment };
        let (before, ailment) = (replica.ailment(), course.ailment(seen, now));
        let ailment = ailment.filter(|_| !planted!(LeadWithFailedDisk));
        unled_since = (!replica.is_led()).then(|| unled_since.unwrap_or(now));
        let must = unled_since.is_some_and(|since| now - since >= NO_SEGMENT_DEFERENCE);
        replica.set_ailment(ailment, must);
        status.set_refusing(lacks_segment && log.headroom() < ROOM_BYTES_MIN);
        if ailment != before {
            note(&status, before, ailment);
            room.notify_one();
        }
        let leads = replica.leadership() == Leadership::Here;
        if ailment == Some(Ailment::Failed) {
            if leads {
                relieve(&replica, Ailment::Failed).await;
            }
            replica.give_up().await;
            return;
        }
        let is_due = relieved.is_none_or(|at| now - at >= RELIEF_RETRY);
        if let Some(ailment) = ailment
            && leads
            && is_due
            && Rc::strong_count(&relief) == 1
        {
            relieved = Some(now);
            let (replica, relief) = (Rc::clone(&replica), Rc::clone(&relief));
            // The disk is watched meanwhile.
            cores::spawn(async move {
                relieve(&replica, ailment).await;
                drop(relief);
            });
        }
        cores::sleep(HEALTH_LOOK).await;
    }
}

fn note(status: &Status, before: Option<Ailment>, now: Option<Ailment>) {
    if now == Some(Ailment::Failed) {
        status.set_failed();
    }
    let stalled = now == Some(Ailment::Stalled);
    status.set_stalled(stalled);
    if stalled {
        let seconds = DISK_SILENCE.as_secs();
        tracing::warn!(seconds, "the disk does not answer: writes are refused until it does");
    } else if before == Some(Ailment::Stalled) && now != Some(Ailment::Failed) {
        tracing::info!("the disk answers again");
    }
}

/// Has a voter lead that is better off than this node, where there is one.
async fn relieve<D: Disk>(replica: &Replica<D>, ailment: Ailment) {
    let Some(to) = replica.heir(ailment).await else { return };
    if replica.leadership() != Leadership::Here {
        return;
    }
    tracing::warn!(to, reason = %ailment, "leadership is handed over");
    let other = async {
        if replica.transfer(to).await.is_err() {
            return;
        }
        // Raft itself may wait for the disk and tell nothing.
        while replica.leadership() == Leadership::Here {
            cores::sleep(HEALTH_LOOK).await;
        }
    };
    if cores::within(TAKE_OVER, other).await.is_none() {
        tracing::warn!(to, "it did not take over in time");
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
