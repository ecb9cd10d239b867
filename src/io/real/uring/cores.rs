//! Time, tasks and chance of a core that glommio runs. For what each is, see
//! [`crate::io::cores`], which alone calls it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use glommio::timer::Timer;
use rand::rngs::ThreadRng;
use tokio::sync::oneshot;

pub use glommio::task::JoinHandle;

/// One executor on the thread that makes it.
pub struct Executor(glommio::LocalExecutor);

impl Executor {
    /// # Panics
    /// When the system lets none start.
    #[must_use]
    pub fn new() -> Self {
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make();
        Self(executor.expect("an executor starts on this thread"))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.run(future)
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

pub async fn yield_now() {
    glommio::executor().yield_task_queue_now().await;
}

pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(work).await
}

pub async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name(name.into()).spawn(work)?;
    // A panic of the work ends the process.
    outcome.await.map_err(io::Error::other)
}

pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    let executor = glommio::executor();
    glommio::spawn_local(async move { executor.spawn_blocking(work).await }).detach();
}

pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    // A dropped task of glommio is cancelled; the dropped handle of a detached one
    // is not.
    glommio::spawn_local(task).detach()
}

/// Resolves once its time has passed.
///
/// A timer of glommio enters itself in the list of timers each time that it is polled, and leaves
/// it once. So each gets polled once, and another takes its place.
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
        // Leaves the list before another one enters it.
        self.timer = None;
        let left = self.due.saturating_duration_since(Instant::now());
        let timer = self.timer.insert(Timer::new(left));
        Pin::new(timer).poll(cx).map(drop)
    }
}

pub fn wall_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
}

pub fn rng() -> ThreadRng {
    rand::rng()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_sleep_that_is_polled_often_wakes_once() {
        Executor::new().block_on(async {
            let woken = Arc::new(Woken::default());
            let time = Duration::from_millis(20);
            let mut polled = sleep(time);
            for _ in 0..100 {
                let waker = Arc::clone(&woken).into();
                assert!(Pin::new(&mut polled).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            sleep(2 * time).await;
            assert_eq!(woken.0.load(Ordering::Relaxed), 1);
            polled.await;
        });
    }

    #[test]
    fn the_time_of_day_is_in_microseconds() {
        let year_2025_micros = 1_735_689_600_000_000;
        let year_2200_micros = 7_258_118_400_000_000;
        assert!((year_2025_micros..year_2200_micros).contains(&super::wall_micros()));
    }
}
