//! Time and tasks of a core that runs on epoll and threads. For what each is, see
//! [`crate::io::cores`].

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use async_task::FallibleTask;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::core::{Timer, current};
use crate::io::real::poller::Poller;

pub use super::core::is_here;

pub async fn yield_if_needed() {
    if current().is_slice_over() {
        yield_now().await;
    }
}

pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (work, outcome) = told(work);
    current().blocking.run(work);
    done(outcome).await
}

pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    current().blocking.run(work);
}

/// Runs `work` on a thread for files, behind no work that has nothing to do with them.
pub async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (work, outcome) = told(work);
    current().disk.run(work);
    done(outcome).await
}

/// Work that tells what it came to.
fn told<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<T>) {
    let (done, outcome) = oneshot::channel();
    // Nobody may wait for it any more.
    (move || drop(done.send(work())), outcome)
}

async fn done<T>(outcome: oneshot::Receiver<T>) -> T {
    // A panic of the work ends the process.
    outcome.await.expect("work that was begun is done")
}

/// A task that was started. It goes on when this is dropped.
pub struct JoinHandle<T>(RefCell<Stage<T>>);

enum Stage<T> {
    Running(FallibleTask<T>),
    /// It was told to end.
    Ending(LocalBoxFuture<'static, Option<T>>),
    Ended,
}

impl<T: 'static> JoinHandle<T> {
    pub fn cancel(&self) {
        let mut stage = self.0.borrow_mut();
        match std::mem::replace(&mut *stage, Stage::Ended) {
            Stage::Running(task) => {
                let mut ending: LocalBoxFuture<'static, _> = Box::pin(task.cancel());
                // It begins with that.
                match ending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(_) => {}
                    Poll::Pending => *stage = Stage::Ending(ending),
                }
            }
            other => *stage = other,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let stage = self.0.get_mut();
        let outcome = match stage {
            Stage::Running(task) => Pin::new(task).poll(cx),
            Stage::Ending(ending) => ending.as_mut().poll(cx),
            Stage::Ended => return Poll::Ready(None),
        };
        if outcome.is_ready() {
            *stage = Stage::Ended;
        }
        outcome
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Stage::Running(task) = std::mem::replace(self.0.get_mut(), Stage::Ended) {
            task.detach();
        }
    }
}

pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let core = current();
    let task = core.spawn(core.queue(), task);
    JoinHandle(RefCell::new(Stage::Running(task.fallible())))
}

/// Resolves once its time has passed.
pub struct Sleep {
    due: Instant,
    timer: Option<Timer>,
}

pub fn sleep(time: Duration) -> Sleep {
    Sleep { due: Instant::now() + time, timer: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.due {
            self.timer = None;
            return Poll::Ready(());
        }
        match &self.timer {
            Some(timer) => timer.renew(cx.waker()),
            None => self.timer = Some(Timer::new(self.due, cx.waker())),
        }
        Poll::Pending
    }
}

/// The poller of this core.
pub(in crate::io::real) fn poller() -> Rc<Poller> {
    Rc::clone(&current().poller)
}
