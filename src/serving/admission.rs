//! How many connections a node has, and which go when one too many comes.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{deadlines::Deadlines, waiting::Idle};
use crate::io::cores;

/// Connections of other cores that are asked to make room at once.
const ASKED_MAX: usize = 256;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of all cores together.
    pub connections: usize,
    /// Of each core beyond those that are told so; more are just closed.
    pub refusals: usize,
}

/// The connections of a node, all cores together.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    /// Beyond it, on each core.
    refusals: usize,
    open: AtomicUsize,
    /// Idle ones that a core without any asks the others to close.
    asked: AtomicUsize,
}

impl Connections {
    /// At most so many, but for those that are about to go.
    #[must_use]
    pub fn new(Places { connections, refusals }: Places) -> Self {
        let (open, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { limit: connections, refusals, open, asked }
    }
}

/// Lets connections in on one core.
pub struct Admission {
    connections: Arc<Connections>,
    deadlines: Deadlines,
    refused: Rc<Cell<usize>>,
}

impl Admission {
    /// For the core whose connections have these `deadlines`.
    #[must_use]
    pub fn new(connections: Arc<Connections>, deadlines: Deadlines) -> Self {
        Self { connections, deadlines, refused: Rc::default() }
    }

    /// A place for a connection that was just accepted: within the limit, in
    /// that of the longest idle one, or among those that are refused. Nothing
    /// where there is none.
    #[must_use]
    pub fn admit(&self) -> Option<Place> {
        if let Some(place) = self.enter() {
            return Some(place);
        }
        let now = cores::now();
        if self.close_one(now) {
            // The other one goes within a moment.
            self.connections.open.fetch_add(1, Ordering::Relaxed);
            return Some(Place::Welcome(Arc::clone(&self.connections)));
        }
        let more = |asked| (asked < ASKED_MAX).then_some(asked + 1);
        let _ = self.connections.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if self.refused.get() >= self.connections.refusals
            && !self.deadlines.close_idle(Idle::Refused, now)
        {
            return None;
        }
        Some(self.refuse())
    }

    /// Has a connection close: one that says nothing or does not come to terms under TLS, an idle one, or one that got no
    /// further with a head; whether there is one.
    fn close_one(&self, now: Instant) -> bool {
        let kinds = [Idle::Silent, Idle::Handshake, Idle::Welcome, Idle::Begun];
        kinds.into_iter().any(|kind| self.deadlines.close_idle(kind, now))
    }

    /// A place beyond the limit.
    #[must_use]
    pub fn refuse(&self) -> Place {
        self.refused.set(self.refused.get() + 1);
        Place::Refused(Rc::clone(&self.refused))
    }

    /// A place within the limit, if there is one.
    #[must_use]
    pub fn enter(&self) -> Option<Place> {
        let another = |open| (open < self.connections.limit).then_some(open + 1);
        let open = &self.connections.open;
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).ok()?;
        Some(Place::Welcome(Arc::clone(&self.connections)))
    }

    /// Closes idle connections for which other cores have asked. To be called
    /// now and then.
    pub fn make_room(&self, now: Instant) {
        let Connections { limit, open, asked, .. } = &*self.connections;
        while asked.load(Ordering::Relaxed) > 0 {
            if open.load(Ordering::Relaxed) < *limit {
                asked.store(0, Ordering::Relaxed);
                return;
            }
            if !self.close_one(now) {
                return;
            }
            let less = |asked: usize| asked.checked_sub(1);
            let _ = asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// The place of one connection; free again when dropped.
pub enum Place {
    /// It is served.
    Welcome(Arc<Connections>),
    /// It is beyond the limit, and only told so.
    Refused(Rc<Cell<usize>>),
}

impl Place {
    /// Whether it is within the limit.
    #[must_use]
    pub const fn is_welcome(&self) -> bool {
        matches!(self, Self::Welcome(_))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Welcome(connections) => {
                connections.open.fetch_sub(1, Ordering::Relaxed);
            }
            Self::Refused(refused) => refused.set(refused.get() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::{
        deadlines::Deadline,
        waiting::{BEGUN_MIN, IDLE_MIN, Waiting},
    };
    use std::time::Duration;

    fn idle(deadlines: &Deadlines, kind: Idle, until: Instant) -> Deadline {
        let deadline = deadlines.register();
        let since = Instant::now().checked_sub(IDLE_MIN);
        let (until, idle) = (Some(until), Some(kind));
        deadline.wait(Waiting { until, idle, since, ..Waiting::default() });
        deadline
    }

    const REFUSALS: usize = 8;

    fn up_to(connections: usize) -> Connections {
        Connections::new(Places { connections, refusals: REFUSALS })
    }

    #[test]
    fn the_longest_idle_one_makes_room_and_no_other() {
        let deadlines = Deadlines::default();
        let connections = Arc::new(up_to(3));
        let admission = Admission::new(Arc::clone(&connections), deadlines.clone());
        let now = Instant::now();
        let places: Vec<_> = (0..3).map(|_| admission.admit().unwrap()).collect();
        assert!(places.iter().all(Place::is_welcome) && admission.enter().is_none());
        let later = idle(&deadlines, Idle::Welcome, now + Duration::from_secs(2));
        let longest = idle(&deadlines, Idle::Welcome, now + Duration::from_secs(1));
        let busy = deadlines.register();
        busy.wait(Waiting { until: Some(now), ..Waiting::default() });
        let refused = idle(&deadlines, Idle::Refused, now);
        let fresh = deadlines.register();
        let (until, idle) = (Some(now), Some(Idle::Welcome));
        fresh.wait(Waiting { until, idle, since: Some(now), ..Waiting::default() });
        for closed in [&longest, &later] {
            assert!(!closed.is_cut());
            assert!(admission.admit().unwrap().is_welcome());
            assert!(closed.is_cut());
        }
        assert!(!admission.admit().unwrap().is_welcome());
        assert!(!busy.is_cut() && !refused.is_cut() && !fresh.is_cut());
        drop(places);
        assert_eq!(connections.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn half_a_head_keeps_its_place_only_while_it_gets_further_or_others_are_idle() {
        let deadlines = Deadlines::default();
        let admission = Admission::new(Arc::new(up_to(2)), deadlines.clone());
        let _places: Vec<_> = (0..2).map(|_| admission.admit().unwrap()).collect();
        let now = Instant::now();
        let begun = |since: Option<Instant>| {
            let deadline = deadlines.register();
            let (until, idle) = (Some(now), Some(Idle::Begun));
            deadline.wait(Waiting { until, idle, since, ..Waiting::default() });
            deadline
        };
        let stuck = begun(now.checked_sub(BEGUN_MIN));
        let moving = begun(now.checked_sub(BEGUN_MIN / 2));
        let longest = idle(&deadlines, Idle::Welcome, now);
        for (closed, others) in [(&longest, &[&stuck, &moving][..]), (&stuck, &[&moving])] {
            assert!(admission.admit().unwrap().is_welcome());
            assert!(closed.is_cut() && others.iter().all(|other| !other.is_cut()));
        }
        assert!(!admission.admit().unwrap().is_welcome() && !moving.is_cut());
    }

    #[test]
    fn a_core_without_an_idle_connection_asks_the_others() {
        let (one, other) = (Deadlines::default(), Deadlines::default());
        let connections = Arc::new(up_to(1));
        let full = Admission::new(Arc::clone(&connections), one);
        let asked = Admission::new(connections, other.clone());
        let place = asked.admit().unwrap();
        let longest = idle(&other, Idle::Welcome, Instant::now());
        asked.make_room(Instant::now());
        assert!(!longest.is_cut(), "nobody has asked");
        let refused = full.admit().unwrap();
        assert!(!refused.is_welcome());
        asked.make_room(Instant::now());
        assert!(longest.is_cut());
        assert!(full.enter().is_none());
        drop((place, longest));
        assert!(full.enter().is_some_and(|place| place.is_welcome()));
    }

    #[test]
    fn silent_connections_keep_nobody_from_being_told() {
        let deadlines = Deadlines::default();
        let admission = Admission::new(Arc::new(up_to(0)), deadlines.clone());
        let places: Vec<_> = (0..REFUSALS).map(|_| admission.admit().unwrap()).collect();
        assert!(admission.admit().is_none());
        let silent = idle(&deadlines, Idle::Refused, Instant::now());
        assert!(admission.admit().is_some_and(|place| !place.is_welcome()));
        assert!(silent.is_cut());
        drop(places);
    }
}
