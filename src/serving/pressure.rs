//! Who is cut off when connections hold more than they may: those whose clients
//! are too slow for what they make the node hold.

use std::time::{Duration, Instant};

use super::waiting::{Slot, Watched};

/// Who holds less is not worth cutting off.
const CUT_BYTES_MIN: usize = 4 << 10;
/// How long a client is watched before it is judged, and after how long its
/// rate is taken anew.
const WATCH: Duration = Duration::from_secs(1);
const WATCH_AGAIN: Duration = Duration::from_secs(4);
/// At the rate that was seen, what is held must be through within this time.
const DRAIN: Duration = Duration::from_secs(30);

/// Has slow clients cut off, the slowest first, until `excess` bytes are free.
pub(super) fn relieve(slots: &mut [Slot], excess: usize, now: Instant) {
    let mut slow = Vec::new();
    for (n, slot) in slots.iter_mut().enumerate() {
        match watch(slot, excess > 0, now) {
            Some(drain) if drain > DRAIN => slow.push((drain, slot.waiting.held_bytes, n)),
            _ => {}
        }
    }
    slow.sort_unstable();
    let mut freed = 0;
    for (_, held_bytes, n) in slow.into_iter().rev() {
        if freed >= excess {
            break;
        }
        freed += held_bytes;
        let slot = &mut slots[n];
        slot.cut = true;
        slot.wake();
        tracing::debug!(held_bytes, "a slow client is cut off to make room");
    }
}

/// How long what a connection holds will last, once its client has been watched
/// for long enough.
fn watch(slot: &mut Slot, is_tight: bool, now: Instant) -> Option<Duration> {
    let waiting = slot.waiting;
    if !is_tight || slot.cut || waiting.held_bytes < CUT_BYTES_MIN {
        slot.watched = None;
        return None;
    }
    let anew = Watched { at: now, moved_bytes: waiting.moved_bytes };
    // One that has let go of all it held since then is another matter.
    let known = slot.watched.take().filter(|seen| waiting.held_since <= Some(seen.at));
    let seen = slot.watched.insert(known.unwrap_or(anew));
    let time = now.saturating_duration_since(seen.at);
    let moved = waiting.moved_bytes - seen.moved_bytes;
    if waiting.writes {
        // The kernel may have had room for a while without saying so.
        slot.nudged = true;
        slot.wake();
    }
    if time < WATCH {
        return None;
    }
    if time >= WATCH_AGAIN {
        slot.watched = None;
    }
    // Bytes fit 53 bits, and what is far above the bound need not be exact.
    #[expect(clippy::cast_precision_loss, reason = "compared with half a minute")]
    let seconds = waiting.held_bytes as f64 / moved as f64 * time.as_secs_f64();
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::{
        deadlines::{Deadline, Deadlines},
        waiting::Waiting,
    };

    fn holder(deadlines: &Deadlines) -> Deadline {
        deadlines.register()
    }

    fn holds(deadline: &Deadline, since: Instant, held_bytes: usize, moved_bytes: u64) {
        let held_since = Some(since);
        deadline.wait(Waiting { held_bytes, held_since, moved_bytes, ..Waiting::default() });
    }

    #[test]
    fn the_slowest_go_first_and_no_more_than_must() {
        let deadlines = Deadlines::default();
        let start = Instant::now();
        let holders: Vec<_> = (0..4).map(|_| holder(&deadlines)).collect();
        let [stuck, trickle, slow, quick] = &holders[..] else { unreachable!() };
        for one in &holders {
            holds(one, start, 1 << 20, 0);
        }
        deadlines.relieve(1, start);
        let later = start + WATCH;
        // A byte now and then helps nobody.
        holds(trickle, start, 1 << 20, 10);
        holds(slow, start, 1 << 20, 20_000);
        holds(quick, start, 1 << 20, 100_000);
        deadlines.relieve(1, later - Duration::from_millis(1));
        assert!(holders.iter().all(|one| !one.is_cut()), "watched too shortly");
        deadlines.relieve(1 << 20, later);
        assert!(stuck.is_cut() && !trickle.is_cut());
        deadlines.relieve(usize::MAX, later);
        assert!(trickle.is_cut() && slow.is_cut() && !quick.is_cut());
    }

    #[test]
    fn nobody_goes_while_there_is_room_or_for_a_trifle() {
        let deadlines = Deadlines::default();
        let start = Instant::now();
        let (large, small) = (holder(&deadlines), holder(&deadlines));
        holds(&large, start, 1 << 20, 0);
        holds(&small, start, CUT_BYTES_MIN - 1, 0);
        for second in 0..10 {
            deadlines.relieve(0, start + Duration::from_secs(second));
        }
        assert!(!large.is_cut());
        // What was seen while there was room does not count.
        let tight = start + Duration::from_secs(10);
        deadlines.relieve(1, tight);
        assert!(!large.is_cut());
        deadlines.relieve(usize::MAX, tight + WATCH);
        assert!(large.is_cut() && !small.is_cut());
    }

    #[test]
    fn a_new_answer_is_judged_anew() {
        let deadlines = Deadlines::default();
        let start = Instant::now();
        let client = holder(&deadlines);
        holds(&client, start, 1 << 20, 0);
        deadlines.relieve(1, start);
        let later = start + Duration::from_secs(3);
        holds(&client, later, 1 << 20, 100);
        deadlines.relieve(usize::MAX, later);
        assert!(!client.is_cut());
        deadlines.relieve(usize::MAX, later + WATCH);
        assert!(client.is_cut());
    }
}
