//! One thread's tasks on virtual time: whoever can run does so in the order in
//! which it was woken, and time passes only when nobody can. The same seed
//! gives the same run.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use super::{
    clock::ProcessClock,
    cores::JoinHandle,
    net::Network,
    task::{Ready, Task, TaskWaker},
};

pub use super::task::Process;

/// The process of the test itself and of the network.
pub const SURROUNDINGS: Process = 0;

/// Where time begins; a moment may be reckoned back from it.
const BEGINNING: Duration = Duration::from_secs(86_400);

/// So many steps without time passing are taken for an endless loop.
const STEPS_MAX: u64 = 2_000_000;

/// The task that [`Executor::block_on`] polls itself.
const MAIN: u64 = 0;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
    /// Executors that are made on this thread are virtual ones, of this seed.
    static CHOSEN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Has executors that `work` makes by [`crate::io::cores::Executor::new`] be
/// virtual ones.
pub fn chosen<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    let before = CHOSEN.replace(Some(seed));
    let result = work();
    CHOSEN.set(before);
    result
}

/// The seed of the executors to be made here, if those are to be virtual.
pub fn chosen_seed() -> Option<u64> {
    CHOSEN.get()
}

/// What a process has beside its tasks.
#[derive(Default)]
struct ProcessState {
    clock: ProcessClock,
    /// Its tasks that were woken while it was paused, in order; none when it is not.
    paused: Option<Vec<u64>>,
    /// Its work off the core does not go on.
    holds_off_core: bool,
}

/// The executor of one run.
pub struct Executor {
    now: Cell<Duration>,
    /// Stands for the beginning of time: only differences to it are ever seen.
    origin: Instant,
    ready: Arc<Ready>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    processes: RefCell<BTreeMap<Process, ProcessState>>,
    /// By their time and then by the order in which they were set.
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    /// Numbers tasks and timers.
    next: Cell<u64>,
    /// Whose task is being polled.
    process: Cell<Process>,
    /// A task is being polled, or one panicked.
    is_polling: Cell<bool>,
    steps: Cell<u64>,
    rng: RefCell<StdRng>,
    network: Network,
}

/// The network's chance is its own, so that its use changes nothing else.
const NETWORK_SEED: u64 = 0x006E_6574_776F_726B;

impl Executor {
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(BEGINNING),
            origin: Instant::now(),
            ready: Arc::default(),
            tasks: RefCell::default(),
            processes: RefCell::default(),
            timers: RefCell::default(),
            next: Cell::new(MAIN + 1),
            process: Cell::new(SURROUNDINGS),
            is_polling: Cell::new(false),
            steps: Cell::new(0),
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
            network: Network::new(seed ^ NETWORK_SEED),
        })
    }

    /// The executor that polls the caller.
    ///
    /// # Panics
    /// When there is none.
    pub fn current() -> Rc<Self> {
        Self::try_current().expect("only what the executor polls may ask for it")
    }

    /// The executor that polls the caller, if that is a virtual one.
    pub fn try_current() -> Option<Rc<Self>> {
        // While a thread ends there is none.
        CURRENT.try_with(|current| current.try_borrow().ok()?.clone()).ok().flatten()
    }

    /// Makes this the current executor while `work` runs.
    fn enter<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        let outer = CURRENT.replace(Some(Rc::clone(self)));
        let result = work();
        CURRENT.set(outer);
        result
    }

    /// Polls `future`, and the tasks beside it, until it is ready.
    ///
    /// # Panics
    /// When a task does, or when nothing can ever happen again.
    pub fn block_on<T>(self: &Rc<Self>, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let main = TaskWaker::new(MAIN, &self.ready);
        main.wake_by_ref();
        self.enter(|| {
            loop {
                let Some(task) = self.ready.pop() else {
                    self.pass_time();
                    continue;
                };
                self.count_step();
                if task != MAIN {
                    self.run(task);
                } else if let Poll::Ready(output) = self.poll(SURROUNDINGS, &main, future.as_mut())
                {
                    return output;
                }
            }
        })
    }

    fn count_step(&self) {
        self.steps.set(self.steps.get() + 1);
        assert!(self.steps.get() < STEPS_MAX, "tasks run on and time does not pass");
    }

    fn run(&self, number: u64) {
        // It is out of the table while it runs, so that it may spawn others.
        let Some(mut task) = self.tasks.borrow_mut().remove(&number) else { return };
        if self.is_kept(task.process, number) {
            self.tasks.borrow_mut().insert(number, task);
            return;
        }
        if task.waker.is_cancelled.load(Ordering::Relaxed) {
            self.process.set(task.process);
            return drop(task);
        }
        let outcome = self.poll(task.process, &task.waker, task.future.as_mut());
        if outcome.is_pending() {
            self.tasks.borrow_mut().insert(number, task);
        }
    }

    fn poll<T>(
        &self,
        process: Process,
        waker: &Arc<TaskWaker>,
        future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    ) -> Poll<T> {
        waker.queued.store(false, Ordering::Relaxed);
        self.process.set(process);
        self.is_polling.set(true);
        let outcome = future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))));
        self.is_polling.set(false);
        outcome
    }

    /// Goes on to the next timer.
    fn pass_time(&self) {
        let next = self.timers.borrow().first_key_value().map(|(&(at, _), _)| at);
        let next = next.expect("nobody can run, and no timer is set");
        self.now.set(self.now.get().max(next));
        self.steps.set(0);
        loop {
            let timer = {
                let mut timers = self.timers.borrow_mut();
                let first = timers.first_entry().filter(|first| first.key().0 <= next);
                first.map(|first| first.remove())
            };
            let Some(waker) = timer else { return };
            waker.wake();
        }
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Keeps the task of a paused process until that goes on.
    fn is_kept(&self, process: Process, task: u64) -> bool {
        let mut processes = self.processes.borrow_mut();
        let kept = processes.get_mut(&process).and_then(|state| state.paused.as_mut());
        kept.map(|kept| kept.push(task)).is_some()
    }

    /// Adds a task to the process of the one that is running.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.spawn_in(self.process.get(), future)
    }

    /// Adds a task to `process`.
    pub fn spawn_in<T: 'static>(
        &self,
        process: Process,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let (done, outcome) = oneshot::channel();
        let future = async move { drop(done.send(future.await)) };
        let number = self.number();
        let waker = TaskWaker::new(number, &self.ready);
        waker.wake_by_ref();
        let task = Task { process, future: Box::pin(future), waker: Arc::clone(&waker) };
        self.tasks.borrow_mut().insert(number, task);
        JoinHandle { outcome, waker }
    }

    /// Ends a process at once, wherever its tasks stand. The next one of its number
    /// has the same clock.
    pub fn kill(&self, process: Process) {
        assert!(self.process.get() != process, "a process does not kill itself");
        self.resume(process);
        self.hold_off_core(process, false);
        self.network.kill(process);
        let running = self.process.replace(process);
        self.drop_tasks(|task| task.process == process);
        self.process.set(running);
    }

    /// Has no task of a process run until it is resumed. Time goes on.
    pub fn pause(&self, process: Process) {
        assert!(self.process.get() != process, "a process does not pause itself");
        self.change(process, |state| {
            state.paused.get_or_insert_default();
        });
    }

    /// Has a paused process go on.
    pub fn resume(&self, process: Process) {
        let kept = self.change(process, |state| state.paused.take());
        kept.into_iter().flatten().for_each(|task| self.ready.push(task));
    }

    fn change<T>(&self, process: Process, change: impl FnOnce(&mut ProcessState) -> T) -> T {
        change(self.processes.borrow_mut().entry(process).or_default())
    }

    /// What connects the processes.
    pub fn network(&self) -> Network {
        self.network.clone()
    }

    /// Has no work off the core of a process begin or end while `holds`, as when its disk
    /// hangs.
    pub fn hold_off_core(&self, process: Process, holds: bool) {
        self.change(process, |state| state.holds_off_core = holds);
    }

    /// Whether the work off the core of the running process does not go on.
    pub fn holds_off_core(&self) -> bool {
        self.change(self.process(), |state| state.holds_off_core)
    }

    /// The process whose task is running.
    pub fn process(&self) -> Process {
        self.process.get()
    }

    /// Changes the clock of a process.
    pub fn change_clock(&self, process: Process, change: impl FnOnce(&mut ProcessClock, Duration)) {
        let now = self.now.get();
        self.change(process, |state| change(&mut state.clock, now));
    }

    fn clock(&self) -> ProcessClock {
        let processes = self.processes.borrow();
        processes.get(&self.process.get()).map_or_else(ProcessClock::default, |state| state.clock)
    }

    /// Drops those tasks, one after the other, with those that they spawn then.
    fn drop_tasks(&self, of: impl Fn(&Task) -> bool) {
        loop {
            let task = {
                let mut tasks = self.tasks.borrow_mut();
                let number = tasks.iter().find(|(_, task)| of(task)).map(|(&number, _)| number);
                number.and_then(|number| tasks.remove(&number))
            };
            if task.is_none() {
                return;
            }
        }
    }

    /// What the running process takes for the time, since some beginning.
    pub fn now(&self) -> Duration {
        self.clock().at(self.now.get())
    }

    /// The same as a moment.
    pub fn moment(&self) -> Instant {
        self.origin + self.now()
    }

    /// The time of day of the running process.
    pub fn wall_micros(&self) -> u64 {
        let clock = self.clock();
        clock.wall_micros(clock.at(self.now.get()).saturating_sub(BEGINNING))
    }

    /// The time since the run began, whatever clocks show.
    pub fn elapsed(&self) -> Duration {
        self.now.get() - BEGINNING
    }

    /// Wakes `waker` when the clock of the running process shows `at`. The result
    /// takes that back. When its rate changes meanwhile, it is woken too soon or too
    /// late, and looks.
    pub fn set_timer(&self, at: Duration, waker: Waker) -> (Duration, u64) {
        let key = (self.clock().when(at), self.number());
        self.timers.borrow_mut().insert(key, waker);
        key
    }

    pub fn clear_timer(&self, key: (Duration, u64)) {
        let cleared = self.timers.borrow_mut().remove(&key);
        drop(cleared);
    }

    /// A generator of its own.
    pub fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.rng.borrow_mut().next_u64())
    }

    /// Drops all tasks. After a panic they are left alone: what they would say
    /// then hides it.
    pub fn close(self: &Rc<Self>) {
        if self.is_polling.get() {
            std::mem::forget(self.tasks.take());
        } else {
            self.enter(|| self.drop_tasks(|_| true));
        }
    }
}

/// Forgets the timer when it is dropped, also when that is after the end.
pub fn clear_timer(key: (Duration, u64)) {
    if let Some(executor) = Executor::try_current() {
        executor.clear_timer(key);
    }
}

/// Adds a task to `process` of the executor that polls the caller.
pub fn spawn_in<T: 'static>(
    process: Process,
    future: impl Future<Output = T> + 'static,
) -> JoinHandle<T> {
    Executor::current().spawn_in(process, future)
}

/// Runs `future`, and what it starts, on an executor whose chance follows from
/// `seed`.
pub fn run<T>(seed: u64, future: impl Future<Output = T>) -> T {
    let executor = Executor::new(seed);
    let _closed = Closed(&executor);
    executor.block_on(future)
}

struct Closed<'a>(&'a Rc<Executor>);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
