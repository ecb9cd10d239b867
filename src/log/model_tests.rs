//! Random histories against a model: whatever happens, what is found again is
//! what some prefix of the operations left, and that prefix contains everything
//! that was acknowledged.

use super::{
    Entry, Log, Vote,
    testing::{Harness, Turns, entry, id, options},
};
use crate::base::ids::LogId;
use crate::io::simulated::disk::{Faults, Loss, SimDisk};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

#[derive(Clone, Debug)]
enum Step {
    Entry(Entry),
    Vote(Vote),
    Truncate(Option<u64>),
    Purge(LogId),
    Mark(LogId),
}

/// What a log amounts to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        let last = last.max(self.purged.map(|id| id.index));
        last.map_or(0, |last| last + 1)
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Entry(entry) => {
                self.entries.insert(entry.id.index, entry.clone());
            }
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Truncate(after) => {
                self.entries.retain(|index, _| after.is_some_and(|after| *index <= after));
            }
            Step::Purge(upto) => {
                self.entries.retain(|index, _| *index > upto.index);
                self.purged = Some(*upto);
                self.committed = self.committed.max_by_index(*upto);
            }
            Step::Mark(id) => self.committed = Some(*id),
        }
    }
}

trait MaxByIndex {
    fn max_by_index(self, other: LogId) -> Self;
}

impl MaxByIndex for Option<LogId> {
    fn max_by_index(self, other: LogId) -> Self {
        match self {
            Some(id) if id.index >= other.index => self,
            _ => Some(other),
        }
    }
}

/// The history since the log was opened.
#[derive(Default)]
struct History {
    steps: RefCell<Vec<Step>>,
    /// Steps that are acknowledged: all before this one.
    acknowledged: Cell<usize>,
    failed: Cell<bool>,
}

impl History {
    fn push(&self, step: Step) -> usize {
        self.steps.borrow_mut().push(step);
        self.steps.borrow().len()
    }

    fn outcome(&self, upto: usize, outcome: &std::io::Result<()>) {
        match outcome {
            Ok(()) => {
                self.acknowledged.set(self.acknowledged.get().max(upto));
            }
            Err(_) => self.failed.set(true),
        }
    }
}

struct Run {
    rng: StdRng,
    harness: Harness,
    disk: SimDisk,
    /// What was found when the log was opened last.
    base: Model,
    /// The base and every step since.
    now: Model,
    history: Rc<History>,
    term: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let faults = Faults { pending_max: 3, ..Faults::default() };
        Self {
            rng: StdRng::seed_from_u64(seed),
            harness: Harness::new(),
            disk: SimDisk::with_faults(seed, faults),
            base: Model::default(),
            now: Model::default(),
            history: Rc::new(History::default()),
            term: 1,
        }
    }

    /// Opens the log and checks what it finds against the model.
    fn open(&mut self) -> Log<SimDisk> {
        let seed = self.rng.random();
        let (log, replayed) = self.harness.open(&self.disk, options(seed)).unwrap();
        let found = Model {
            entries: self
                .harness
                .run(log.read(log.purged().map_or(0, |id| id.index + 1), u64::MAX, usize::MAX))
                .unwrap()
                .into_iter()
                .map(|entry| (entry.id.index, entry))
                .collect(),
            vote: log.vote(),
            purged: log.purged(),
            committed: log.committed(),
        };
        let steps = self.history.steps.borrow().clone();
        let acknowledged = self.history.acknowledged.get();
        let mut model = self.base.clone();
        let mut matched = None;
        for n in 0..=steps.len() {
            if n > 0 {
                model.apply(&steps[n - 1]);
            }
            let lag = Model { committed: found.committed, ..model.clone() };
            if n >= acknowledged && lag == found {
                matched = Some(model.clone());
            }
        }
        let Some(matched) = matched else {
            panic!("{found:?}\nis no prefix from {acknowledged} of\n{:?}\n{steps:?}", self.base)
        };
        let at = |id: Option<LogId>| id.map(|id| id.index);
        assert!(at(found.committed) <= at(matched.committed), "the mark ran ahead");
        assert!(at(found.committed) >= at(self.base.committed), "the mark went back");
        let committed: Vec<_> = found
            .entries
            .values()
            .filter(|entry| Some(entry.id.index) <= at(found.committed))
            .cloned()
            .collect();
        assert_eq!(replayed, committed, "committed entries are replayed once, in order");
        assert_eq!(log.last().map_or(0, |id| id.index + 1), found.next());
        self.base = found.clone();
        self.now = found;
        self.history = Rc::new(History::default());
        log
    }

    fn report(&self, upto: usize) -> impl FnOnce(std::io::Result<()>) + 'static {
        let history = Rc::clone(&self.history);
        move |outcome| history.outcome(upto, &outcome)
    }

    /// For what is told at the very moment: after a failure nothing is
    /// acknowledged any more.
    fn report_at_once(&self, upto: usize) -> impl FnOnce(std::io::Result<()>) + 'static {
        let history = Rc::clone(&self.history);
        move |outcome| {
            assert!(outcome.is_err() || !history.failed.get(), "acknowledged after a failure");
            history.outcome(upto, &outcome);
        }
    }

    fn step(&mut self, step: Step) -> usize {
        self.now.apply(&step);
        self.history.push(step)
    }

    fn append(&mut self, log: &Log<SimDisk>) {
        let count = self.rng.random_range(1..=6);
        let mut entries = Vec::new();
        let mut upto = 0;
        for _ in 0..count {
            let bytes = match self.rng.random_range(0..20) {
                0 => self.rng.random_range(0..=log.payload_bytes_max()),
                1..5 => self.rng.random_range(0..6000),
                _ => self.rng.random_range(0..100),
            };
            let fill: u8 = self.rng.random_range(0..3);
            let next = entry(self.term, self.now.next(), vec![fill; bytes]);
            upto = self.step(Step::Entry(next.clone()));
            entries.push(next);
        }
        // Refused only when the log failed; then nobody promised anything.
        let _ = log.append(entries, self.report_at_once(upto));
    }

    fn act(&mut self, log: &Log<SimDisk>) {
        match self.rng.random_range(0..20) {
            0..10 => self.append(log),
            10..12 => {
                self.term += 1;
                let vote = Vote { term: self.term, node: 7, committed: self.rng.random() };
                let upto = self.step(Step::Vote(vote));
                let (log, report) = (log.clone(), self.report(upto));
                self.spawn(async move { report(log.save_vote(vote).await) });
            }
            12..15 => {
                let low = self.now.committed.map_or(0, |id| id.index + 1);
                if let Some(index) = self.pick(low) {
                    let id = self.now.entries[&index].id;
                    self.step(Step::Mark(id));
                    log.set_committed(id);
                }
            }
            15..17 => {
                let low = self.now.committed.map_or(0, |id| id.index + 1);
                let Some(index) = self.pick(low) else { return };
                let last = index.checked_sub(1).map(|index| {
                    let known = self.now.entries.get(&index).map(|entry| entry.id);
                    known.unwrap_or(id(0, index))
                });
                self.term += 1;
                let upto = self.step(Step::Truncate(last.map(|id| id.index)));
                let (log, report) = (log.clone(), self.report(upto));
                self.spawn(async move { report(log.truncate_after(last).await) });
            }
            17 => {
                let beyond = self.rng.random_range(0..10) == 0;
                let upto = match (beyond, self.now.committed) {
                    (true, _) => id(self.term, self.now.next() + 5),
                    (false, Some(committed)) => committed,
                    (false, None) => return,
                };
                if self.now.purged.is_some_and(|purged| purged.index >= upto.index) {
                    return;
                }
                let step = self.step(Step::Purge(upto));
                let (log, report) = (log.clone(), self.report(step));
                self.spawn(async move { report(log.purge(upto).await) });
            }
            18 => log.release(self.now.next()),
            _ => {
                let log = log.clone();
                self.spawn(async move {
                    let _ = log.flush_marks().await;
                });
            }
        }
    }

    /// Polls an operation once, so that it is queued, and leaves it running.
    fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        let mut task = Box::pin(task);
        let waker = futures_util::task::noop_waker();
        let mut context = std::task::Context::from_waker(&waker);
        if task.as_mut().poll(&mut context).is_pending() {
            self.harness.spawn(task);
        }
    }

    /// An index of the log, not below `low`.
    fn pick(&mut self, low: u64) -> Option<u64> {
        let first = *self.now.entries.first_key_value()?.0;
        let (low, next) = (low.max(first), self.now.next());
        (low < next).then(|| self.rng.random_range(low..next))
    }

    /// What memory and disk hold is what was appended, at any moment.
    fn check_reads(&mut self, log: &Log<SimDisk>) {
        let Some((&first, _)) = self.now.entries.first_key_value() else { return };
        let from = self.rng.random_range(first..self.now.next());
        let bytes_max = self.rng.random_range(0..20_000);
        let read = self.harness.run(log.read(from, from + 20, bytes_max)).unwrap();
        assert!(!read.is_empty());
        for (n, entry) in read.iter().enumerate() {
            assert_eq!(Some(entry), self.now.entries.get(&(from + n as u64)));
        }
    }

    fn turns(&mut self, most: u32) {
        let turns = self.rng.random_range(0..=most);
        self.harness.run(Turns(turns));
    }

    /// One life of the process, ended in a random way.
    fn live(&mut self) {
        let log = self.open();
        self.harness.start(&log);
        let fails = self.rng.random_range(0..4) == 0;
        let actions = self.rng.random_range(0..40);
        for n in 0..actions {
            if fails && n == actions / 2 {
                self.disk.fail_writes_after(self.rng.random_range(0..6));
            }
            self.act(&log);
            self.turns(4);
            if !fails && self.rng.random_range(0..4) == 0 {
                self.check_reads(&log);
            }
        }
        let ending = self.rng.random_range(0..4);
        self.disk = match ending {
            0 if !fails => {
                self.harness.run(log.close()).unwrap();
                // Those who wait for a vote or a removal hear of it in a moment.
                self.harness.run(Turns(500));
                let told = self.history.acknowledged.get() > 0 || self.history.failed.get();
                assert_eq!(told, self.acknowledges());
                self.disk.kill()
            }
            1 => self.disk.kill(),
            2 => self.disk.crash(Loss::All),
            _ => self.disk.crash(Loss::Random),
        };
        // The tasks of the dead process must not reach the new disk.
        self.harness = Harness::new();
    }

    fn acknowledges(&self) -> bool {
        self.history.steps.borrow().iter().any(|step| !matches!(step, Step::Mark(_)))
    }
}

/// A bit of a log at rest flips: what is found is all there was, or nothing is served.
pub(super) fn rots(seed: u64) {
    let mut run = Run::new(seed);
    run.live();
    let log = run.open();
    run.harness.start(&log);
    for _ in 0..20 {
        run.act(&log);
        run.turns(4);
    }
    // A log that rests has a group behind its last data.
    run.harness.run(log.close()).unwrap();
    run.harness.run(Turns(500));
    let acknowledged = run.history.acknowledged.get();
    let unacknowledged = run.history.steps.borrow()[acknowledged..]
        .iter()
        .any(|step| !matches!(step, Step::Mark(_)));
    if unacknowledged || log.shared.get().ends_in_data {
        // There was no segment for it.
        return;
    }
    run.disk = run.disk.kill();
    run.harness = Harness::new();
    run.disk.rot();
    let seed = run.rng.random();
    let Ok((log, _)) = run.harness.open(&run.disk, options(seed)) else { return };
    assert_eq!((log.vote(), log.purged()), (run.now.vote, run.now.purged), "what was there is cut");
    let next = log.last().map_or(0, |id| id.index + 1);
    assert_eq!(next, run.now.next(), "what was there is cut");
}

pub(super) fn lives(seed: u64, count: usize) -> SimDisk {
    let mut run = Run::new(seed);
    for _ in 0..count {
        run.live();
    }
    run.open();
    run.disk
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_is_there_after_anything(seed: u64) {
        lives(seed, 5);
    }

    #[test]
    fn damage_is_found_or_does_no_harm(seed: u64) {
        rots(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(lives(11, 4).snapshot(), lives(11, 4).snapshot());
    assert_ne!(lives(11, 4).snapshot(), lives(12, 4).snapshot());
}
