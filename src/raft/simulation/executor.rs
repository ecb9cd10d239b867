//! One thread's tasks on virtual time: whoever can run does so in the order in
//! which it was woken, and time passes only when nobody can. The same seed
//! gives the same run.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// The process that a task belongs to: a node by its number, or what surrounds
/// them all.
pub(super) type Process = u64;

/// The process of the test itself and of the network.
pub(super) const SURROUNDINGS: Process = 0;

/// Where time begins; a moment may be reckoned back from it.
const BEGINNING: Duration = Duration::from_secs(86_400);

/// So many steps without time passing are taken for an endless loop.
const STEPS_MAX: u64 = 2_000_000;

/// The task that [`Executor::block_on`] polls itself.
const MAIN: u64 = 0;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

/// The tasks that were woken, in order.
#[derive(Default)]
struct Ready(Mutex<VecDeque<u64>>);

impl Ready {
    fn push(&self, task: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    fn pop(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
    /// It stands among the ready ones already.
    queued: AtomicBool,
}

impl TaskWaker {
    fn new(task: u64, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { task, ready: Arc::clone(ready), queued: AtomicBool::new(false) })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.task);
        }
    }
}

struct Task {
    process: Process,
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Arc<TaskWaker>,
}

/// See the module.
pub(super) struct Executor {
    now: Cell<Duration>,
    ready: Arc<Ready>,
    tasks: RefCell<BTreeMap<u64, Task>>,
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
}

impl Executor {
    pub(super) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(BEGINNING),
            ready: Arc::default(),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            next: Cell::new(MAIN + 1),
            process: Cell::new(SURROUNDINGS),
            is_polling: Cell::new(false),
            steps: Cell::new(0),
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
        })
    }

    /// The executor that polls the caller.
    pub(super) fn current() -> Rc<Self> {
        let current = CURRENT.with_borrow(Option::clone);
        current.expect("only what the executor polls may ask for it")
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
    pub(super) fn block_on<T>(self: &Rc<Self>, future: impl Future<Output = T>) -> T {
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

    /// Adds a task to the process of the one that is running.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.spawn_in(self.process.get(), future);
    }

    /// Adds a task to `process`.
    pub(super) fn spawn_in(&self, process: Process, future: impl Future<Output = ()> + 'static) {
        let number = self.number();
        let waker = TaskWaker::new(number, &self.ready);
        waker.wake_by_ref();
        let task = Task { process, future: Box::pin(future), waker };
        self.tasks.borrow_mut().insert(number, task);
    }

    /// Ends a process at once, wherever its tasks stand.
    pub(super) fn kill(&self, process: Process) {
        assert!(self.process.get() != process, "a process does not kill itself");
        let running = self.process.replace(process);
        self.drop_tasks(|task| task.process == process);
        self.process.set(running);
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

    /// The time since some beginning.
    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    /// The time since the executor began.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.get() - BEGINNING
    }

    /// Wakes `waker` at `at`. The result takes that back.
    pub(super) fn set_timer(&self, at: Duration, waker: Waker) -> (Duration, u64) {
        let key = (at, self.number());
        self.timers.borrow_mut().insert(key, waker);
        key
    }

    pub(super) fn clear_timer(&self, key: (Duration, u64)) {
        let cleared = self.timers.borrow_mut().remove(&key);
        drop(cleared);
    }

    /// A generator of its own.
    pub(super) fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.rng.borrow_mut().next_u64())
    }

    /// Drops all tasks. After a panic they are left alone: what they would say
    /// then hides it.
    pub(super) fn close(self: &Rc<Self>) {
        if self.is_polling.get() {
            std::mem::forget(self.tasks.take());
        } else {
            self.enter(|| self.drop_tasks(|_| true));
        }
    }
}

/// Forgets the timer when it is dropped, also when that is after the end.
pub(super) fn clear_timer(key: (Duration, u64)) {
    let current = CURRENT.try_with(|current| current.try_borrow().ok()?.clone());
    if let Ok(Some(executor)) = current {
        executor.clear_timer(key);
    }
}
