//! Time, tasks and chance on the virtual executor. For what each is, see
//! [`crate::io::cores`].

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};
use tokio::sync::oneshot;

use super::{
    executor::{Executor as Virtual, clear_timer},
    task::TaskWaker,
};

/// Blocking work begins and is told of after up to so long each.
const BLOCKING: Duration = Duration::from_micros(500);
/// Now and then it takes up to so long: one time in [`SLOW_RATIO`].
const BLOCKING_SLOW: Duration = Duration::from_millis(50);
const SLOW_RATIO: u32 = 16;
/// Work on a thread of its own is the long one.
const OWN_THREAD: Duration = Duration::from_millis(50);
const OWN_THREAD_SLOW: Duration = Duration::from_secs(1);
/// How often it is looked whether work that does not go on may.
const HELD_LOOK: Duration = Duration::from_millis(20);
/// A task has run long enough one time in so many.
const YIELD_RATIO: u32 = 4;

/// A virtual executor as one that runs a single future, and is closed with it.
pub struct Executor(Rc<Virtual>);

impl Executor {
    pub fn new(seed: u64) -> Self {
        Self(Virtual::new(seed))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Whether the caller runs on a virtual executor.
pub fn is_here() -> bool {
    Virtual::try_current().is_some()
}

pub async fn yield_if_needed() {
    if rng().random_ratio(1, YIELD_RATIO) {
        yield_now().await;
    }
}

pub async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking((BLOCKING, BLOCKING_SLOW), work).await
}

pub async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    Ok(blocking((OWN_THREAD, OWN_THREAD_SLOW), work).await)
}

pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    drop(spawn(blocking((BLOCKING, BLOCKING_SLOW), work)));
}

/// The work is done even when nobody waits for it any more, as on a thread.
async fn blocking<T: 'static>(
    takes: (Duration, Duration),
    work: impl FnOnce() -> T + 'static,
) -> T {
    let done = spawn(async move {
        off_core_time(takes).await;
        let output = work();
        off_core_time(takes).await;
        output
    });
    match done.await {
        Some(output) => output,
        // The process was killed, and with it whoever waits here.
        None => std::future::pending().await,
    }
}

/// The time that a half of some work takes, which may not go on for now.
async fn off_core_time(takes: (Duration, Duration)) {
    sleep(chance_of(takes)).await;
    while Virtual::current().holds_off_core() {
        sleep(HELD_LOOK).await;
    }
}

fn chance_of((usual, slow): (Duration, Duration)) -> Duration {
    let mut rng = rng();
    let limit = if rng.random_ratio(1, SLOW_RATIO) { slow } else { usual };
    rng.random_range(Duration::ZERO..=limit)
}

/// A spawned task: resolves with its output, or with `None` when it was cancelled or
/// its process killed. Dropping it lets the task go on.
pub struct JoinHandle<T> {
    pub(super) outcome: oneshot::Receiver<T>,
    pub(super) waker: Arc<TaskWaker>,
}

impl<T> JoinHandle<T> {
    /// The task is dropped when its turn comes.
    pub fn cancel(&self) {
        self.waker.cancel();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.outcome).poll(cx).map(Result::ok)
    }
}

pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    Virtual::current().spawn(task)
}

/// Resolves once its time has come.
pub struct Sleep {
    /// On the clock of the process that sleeps.
    at: Duration,
    timer: Option<(Duration, u64)>,
}

pub fn sleep(time: Duration) -> Sleep {
    Sleep { at: Virtual::current().now() + time, timer: None }
}

impl Sleep {
    fn clear(&mut self) {
        if let Some(timer) = self.timer.take() {
            clear_timer(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.clear();
        let executor = Virtual::current();
        if executor.now() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(executor.set_timer(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A generator of its own, which follows from the seed of the run.
pub fn rng() -> StdRng {
    Virtual::current().rng()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        cores,
        simulated::executor::{run, spawn_in},
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_hour_passes_at_once_and_timers_end_in_order() {
        let order = run(1, async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            for minutes in [60, 10, 30] {
                let sender = sender.clone();
                cores::spawn(async move {
                    cores::sleep(60 * minutes * SECOND).await;
                    sender.send((minutes, Virtual::current().elapsed().as_secs())).unwrap();
                });
            }
            drop(sender);
            let mut order = Vec::new();
            while let Some(ended) = receiver.recv().await {
                order.push(ended);
            }
            order
        });
        assert_eq!(order, [(10, 600), (30, 1800), (60, 3600)]);
    }

    #[test]
    fn a_killed_process_runs_no_further_and_the_others_do() {
        run(1, async {
            let one = spawn_in(1, cores::sleep(SECOND));
            // A task belongs to the process of the one that spawned it.
            let child = spawn_in(1, async { cores::spawn(cores::sleep(SECOND)).await });
            let two = spawn_in(2, cores::sleep(SECOND));
            cores::sleep(SECOND / 2).await;
            Virtual::current().kill(1);
            assert!(one.await.is_none() && child.await.is_none());
            assert!(two.await.is_some());
        });
    }

    #[test]
    fn a_cancelled_task_runs_no_further_and_is_gone_before_that_is_told() {
        run(1, async {
            let held = Rc::new(());
            let kept = Rc::clone(&held);
            let task = cores::spawn(async move {
                cores::sleep(SECOND).await;
                drop(kept);
                panic!("it went on");
            });
            let other = cores::spawn(cores::sleep(SECOND));
            cores::sleep(SECOND / 2).await;
            task.cancel();
            assert!(task.await.is_none());
            assert_eq!(Rc::strong_count(&held), 1);
            assert!(other.await.is_some());
        });
    }

    #[test]
    fn a_paused_process_stands_still_while_time_goes_on() {
        run(1, async {
            let ended = |process| {
                spawn_in(process, async {
                    cores::sleep(SECOND).await;
                    Virtual::current().elapsed()
                })
            };
            let (one, two) = (ended(1), ended(2));
            cores::yield_now().await;
            Virtual::current().pause(1);
            cores::sleep(5 * SECOND).await;
            Virtual::current().resume(1);
            assert_eq!(one.await, Some(5 * SECOND));
            assert_eq!(two.await, Some(SECOND));
        });
    }

    #[test]
    fn each_process_has_its_own_clock() {
        run(1, async {
            let executor = Virtual::current();
            executor.change_clock(1, |clock, now| clock.set_drift(now, 1_000_000));
            executor.change_clock(2, |clock, _| clock.step_wall(3_000_000));
            let look = |process| {
                spawn_in(process, async {
                    let (begun, wall) = (cores::now(), cores::wall_micros());
                    cores::sleep(SECOND).await;
                    assert_eq!(cores::elapsed(begun), SECOND);
                    (wall, Virtual::current().elapsed())
                })
            };
            let (one, two) = (look(1), look(2));
            let (one, two) = (one.await.unwrap(), two.await.unwrap());
            assert_eq!(one.1, SECOND / 2);
            assert_eq!(two.1, SECOND);
            assert_eq!(two.0 - one.0, 3_000_000);
        });
    }

    #[test]
    fn blocking_work_takes_time_and_is_done_though_nobody_waits() {
        run(1, async {
            let begun = cores::now();
            assert_eq!(cores::off_core(|| 7).await, 7);
            assert!(cores::elapsed(begun) > Duration::ZERO);
            let (done, outcome) = oneshot::channel();
            let work = cores::off_core(move || done.send(8).unwrap());
            assert_eq!(cores::within(Duration::ZERO, work).await, None);
            assert_eq!(outcome.await, Ok(8));
            assert_eq!(cores::on_own_thread("long", || 9).await.unwrap(), 9);
        });
    }

    #[test]
    fn the_same_seed_gives_the_same_chance() {
        let drawn = |seed| {
            run(seed, async {
                let uuid = cores::uuid();
                (uuid, cores::random::<u64>(), cores::rng().random_range(0..1_000_000))
            })
        };
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
    }

    #[test]
    #[should_panic(expected = "in a task")]
    fn the_panic_of_a_task_ends_the_run() {
        run(1, async {
            drop(cores::spawn(async { panic!("in a task") }));
            cores::sleep(SECOND).await;
        });
    }

    #[test]
    #[should_panic(expected = "no timer is set")]
    fn a_run_in_which_nothing_can_happen_ends() {
        run(1, std::future::pending::<()>());
    }
}
